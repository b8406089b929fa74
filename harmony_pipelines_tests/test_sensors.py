import json
import os
import sqlite3
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from harmony_pipelines.claims import ARTWORK, REFRESH
from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import utc_text
from harmony_pipelines.clients.locks import Holder, held
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.partitions import in_flight, register, watched_artists
from harmony_pipelines.runs import RETRY_TAG
from harmony_pipelines.steps import send
from harmony_pipelines_tests.conftest import Home
from harmony_pipelines_tests.lifecycle.dev_process import wait_until
from harmony_pipelines_tests.webhook import Webhook, webhook

SENSORS = {sensor.name: sensor for sensor in defs.sensors or ()}
WATCHLIST, LIBRARY, RETRIES = "watchlist_sensor", "beets_library_sensor", "failed_artists_sensor"
FAILED_RUNS = "run_failure_sensor"
REFRESH_JOB = "refresh_catalogue"


@pytest.fixture(autouse=True)
def what_a_tick_began_ends() -> Iterator[None]:
    yield
    for process in send.BEGUN:
        process.wait(30)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One that a tick can be handed a reference to."""
    with dg.instance_for_test() as instance:
        yield instance


class Ticks:
    """One sensor, ticking as a daemon lets it: each tick is told the last one's cursor."""

    def __init__(self, instance: dg.DagsterInstance, name: str) -> None:
        self.instance = instance
        self.sensor = SENSORS[name]
        self.cursor: str | None = None

    def tick(self) -> dg.RunRequest | str:
        """The run that a tick asks for, or why it skips; partitions change as it says."""
        with dg.build_sensor_context(instance=self.instance, cursor=self.cursor) as context:
            found = self.sensor.evaluate_tick(context)
        self.cursor = found.cursor
        for change in found.dynamic_partitions_requests or ():
            assert isinstance(change, dg.DeleteDynamicPartitionsRequest)
            for key in change.partition_keys:
                self.instance.delete_dynamic_partition("artists", key)
        if not found.run_requests:
            return str(found.skip_message)
        [request] = found.run_requests
        return request


def started(found: dg.RunRequest | str) -> dg.RunRequest:
    assert isinstance(found, dg.RunRequest), found
    return found


def partitions(instance: dg.DagsterInstance) -> list[str]:
    return list(watched_artists.get_partition_keys(dynamic_partitions_store=instance))


def keys(home: Home) -> list[str]:
    return [row["partition_key"] for row in home.rows(tables.watchlist)]


def cool_down(home: Home, seconds: float = 3600) -> None:
    with home.store() as store:
        Quota(store.engine, QuotaLimits()).cool_down(time.time() + seconds, "quota_exceeded")


def test_all_are_stopped_described_and_look_once_a_minute() -> None:
    assert {WATCHLIST, LIBRARY, RETRIES} <= SENSORS.keys()
    for name in (WATCHLIST, LIBRARY, RETRIES):
        sensor = SENSORS[name]
        assert sensor.default_status is dg.DefaultSensorStatus.STOPPED
        assert sensor.minimum_interval_seconds == 60
        assert sensor.description


@pytest.mark.parametrize("name", [WATCHLIST, LIBRARY, RETRIES])
def test_wrong_settings_are_said_and_no_run_is_started(home: Home, instance, name):
    home.set(HARMONY_RUN_MAX_SECONDS="soon")
    reason = str(Ticks(instance, name).tick())
    assert reason.startswith("VALIDATION_ERROR: HARMONY_RUN_MAX_SECONDS")


# The watchlist


def test_an_edit_starts_one_run_for_all_new_lines(home: Home, instance):
    ticks = Ticks(instance, WATCHLIST)
    home.watch(home.artist("Lumen Tide"))
    first = started(ticks.tick())
    assert not first.run_config
    assert ticks.tick() == "Watchlist unchanged."
    home.watch(home.artist("Lumen Tide"), home.artist("Sable Choir"), home.artist("Kestrel"))
    second = started(ticks.tick())
    assert first.run_key != second.run_key
    assert ticks.tick() == "Watchlist unchanged."


def test_the_first_look_starts_nothing_for_what_was_refreshed_already(home: Home, instance):
    home.watch(home.artist("Lumen Tide"))
    assert home.refresh(instance).success
    an_hour_ago = time.time() - 3600
    os.utime(home.folder / "watchlist.yaml", (an_hour_ago, an_hour_ago))
    assert Ticks(instance, WATCHLIST).tick() == "Watchlist unchanged."


def test_a_file_whose_time_goes_backwards_is_an_edit_too(home: Home, instance):
    ticks = Ticks(instance, WATCHLIST)
    home.watch(home.artist("Lumen Tide"))
    started(ticks.tick())
    home.watch(home.artist("Sable Choir"))
    os.utime(home.folder / "watchlist.yaml", (1, 1))
    started(ticks.tick())


@pytest.mark.parametrize(
    ("text", "place"),
    [("artists:\n  - Lumen Tide\n  - {artist: [\n", "line "), ("", ""), ("artists: []\n", "")],
)
def test_an_unreadable_file_changes_nothing_and_says_where_it_is_wrong(
    home: Home, instance, text: str, place: str
):
    ticks = Ticks(instance, WATCHLIST)
    home.watch(home.artist("Lumen Tide"))
    assert home.refresh(instance).success
    ticks.tick()
    home.watch(text=text or "\n")
    for _ in range(2):
        reason = str(ticks.tick())
        assert reason.startswith("VALIDATION_ERROR: ")
        assert "watchlist.yaml" in reason
        assert place in reason
    assert partitions(instance) == keys(home) != []
    home.watch(home.artist("Lumen Tide"), home.artist("Sable Choir"))
    started(ticks.tick())


def test_a_file_that_is_gone_drops_nobody(home: Home, instance):
    ticks = Ticks(instance, WATCHLIST)
    home.watch(home.artist("Lumen Tide"))
    assert home.refresh(instance).success
    (home.folder / "watchlist.yaml").unlink()
    assert "everybody stays" in str(ticks.tick())
    assert partitions(instance) == keys(home) != []


def test_a_removed_artist_goes_and_comes_back(home: Home, instance):
    ticks = Ticks(instance, WATCHLIST)
    one, other = home.artist("Lumen Tide"), home.artist("Sable Choir")
    home.watch(one, other)
    assert home.refresh(instance).success
    before = partitions(instance)
    home.watch(one)
    started(ticks.tick())
    assert partitions(instance) == before, "the run has not been yet"
    assert home.refresh(instance).success
    ticks.tick()
    assert partitions(instance) == keys(home) != before
    home.watch(one, other)
    started(ticks.tick())
    assert home.refresh(instance).success
    assert sorted(partitions(instance)) == sorted(before)


@pytest.mark.parametrize(
    "tags",
    [
        {"dagster/partition": "b-2"},
        {
            "dagster/asset_partition_range_start": "a-1",
            "dagster/asset_partition_range_end": "b-2",
        },
    ],
)
def test_a_removed_artist_with_a_run_in_flight_stays_until_it_ends(home: Home, instance, tags):
    ticks = Ticks(instance, WATCHLIST)
    home.watch(home.artist("Lumen Tide"))
    assert home.refresh(instance).success
    register(instance, ["a-1", "b-2", "c-3"])
    job = defs.resolve_job_def("embed_artwork")
    run = instance.create_run_for_job(job, tags=tags, status=dg.DagsterRunStatus.STARTED)
    ticks.tick()
    kept = partitions(instance)
    assert "b-2" in kept
    assert "c-3" not in kept
    instance.report_run_failed(run)
    ticks.tick()
    assert partitions(instance) == keys(home)


def test_a_removed_artist_stays_while_a_backfill_has_still_to_make_its_runs(home: Home, instance):
    ticks = Ticks(instance, WATCHLIST)
    home.watch(home.artist("Lumen Tide"))
    assert home.refresh(instance).success
    register(instance, ["a-1"])
    asked = PartitionBackfill(
        "backfill",
        BulkActionStatus.REQUESTED,
        from_failure=False,
        tags=None,
        backfill_timestamp=time.time(),
    )
    instance.add_backfill(asked)
    ticks.tick()
    assert "a-1" in partitions(instance)
    instance.update_backfill(asked.with_status(BulkActionStatus.COMPLETED_SUCCESS))
    ticks.tick()
    assert partitions(instance) == keys(home)


def test_while_a_refresh_is_at_work_nobody_is_dropped_and_the_edit_waits(home: Home, instance):
    ticks = Ticks(instance, WATCHLIST)
    home.watch(home.artist("Lumen Tide"))
    assert home.refresh(instance).success
    register(instance, ["a-1"])
    home.watch(home.artist("Sable Choir"))
    job = defs.resolve_job_def(REFRESH_JOB)
    run = instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED)
    assert in_flight(instance, ["a-1"]) == {"a-1"}
    assert str(ticks.tick()).startswith(f"A run of {REFRESH_JOB} is under way: {run.run_id}.")
    assert "a-1" in partitions(instance)
    instance.report_run_failed(run)
    started(ticks.tick())
    assert "a-1" not in partitions(instance)


def test_an_edit_waits_for_the_end_of_a_cooldown_and_of_a_run_elsewhere(home: Home, instance):
    ticks = Ticks(instance, WATCHLIST)
    home.watch(home.artist("Lumen Tide"))
    with held(home.folder / "locks" / f"{REFRESH}.lock", Holder("the-first", "")):
        assert str(ticks.tick()).startswith("A run is at it already: the-first.")
    cool_down(home)
    assert str(ticks.tick()).startswith("Cooldown until ")
    with home.store() as store, store.writing() as connection:
        connection.execute(tables.spotify_state.delete())
    started(ticks.tick())


@pytest.mark.parametrize("cursor", ["", "nonsense", "[]", '{"of": "another version"}'])
def test_a_cursor_that_nobody_wrote_is_as_good_as_none(home: Home, instance, cursor: str):
    home.watch(home.artist("Lumen Tide"))
    for name in (WATCHLIST, LIBRARY, RETRIES):
        ticks = Ticks(instance, name)
        ticks.cursor = cursor
        ticks.tick()


def test_a_tick_over_thousands_of_artists_takes_moments_and_calls_nobody(home: Home, instance):
    failed = {"status": "failed", "attempts": 1, "next_due_at": "2020-01-01T00:00:00Z"}
    with home.store() as store:
        artists = [
            {
                "artist_id": f"{n}",
                "partition_key": f"a-{n}",
                "name": "a",
                "paused": 0,
                "added_at": "",
            }
            for n in range(5000)
        ]
        store.save(tables.watchlist, artists)
        states = [
            {"artist_id": f"{n}", "bodies_pending": 0, "requests": 0, **failed} for n in range(5000)
        ]
        store.save(tables.refresh_state, states)
    register(instance, [f"a-{n}" for n in range(5000)])
    home.watch(*(f"Artist {n}" for n in range(5000)))
    for name in (WATCHLIST, RETRIES):
        ticks, began = Ticks(instance, name), time.process_time()
        started(ticks.tick())
        print(f"{name}: {1000 * (time.process_time() - began):.0f} ms of CPU, 5,000 artists")
    assert len(partitions(instance)) == 5000
    assert home.server.requests == []


# The library


@pytest.fixture
def library(home: Home) -> Path:
    make_library(home.demo.library.parent)
    return home.demo.library


def retitle(library: Path, title: str) -> None:
    with sqlite3.connect(library) as connection:
        connection.execute("UPDATE items SET title = ? WHERE id = 1", (title,))
    connection.close()


def test_an_import_starts_a_run_once_nobody_writes_any_more(home: Home, instance, library: Path):
    ticks = Ticks(instance, LIBRARY)
    assert "was noted" in str(ticks.tick())
    assert ticks.tick() == "Library unchanged."
    for title in ("A", "B"):
        retitle(library, title)
        assert "waiting until nobody writes" in str(ticks.tick())
    first = started(ticks.tick())
    assert first.run_key
    assert ticks.tick() == "Library unchanged."


def test_nothing_is_written_beside_the_library(home: Home, instance, library: Path):
    before = {path: path.stat().st_mtime_ns for path in library.parent.iterdir()}
    ticks = Ticks(instance, LIBRARY)
    for _ in range(3):
        ticks.tick()
    assert {path: path.stat().st_mtime_ns for path in library.parent.iterdir()} == before


def test_it_looks_while_another_program_holds_the_library_locked(
    home: Home, instance, library: Path
):
    ticks = Ticks(instance, LIBRARY)
    other = sqlite3.connect(library, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    ticks.tick()
    assert ticks.tick() == "Library unchanged."
    other.execute("UPDATE items SET title = 'C'")
    other.execute("COMMIT")
    other.close()
    ticks.tick()
    started(ticks.tick())


def test_what_beets_notes_of_our_own_work_starts_nothing(home: Home, instance, library: Path):
    ticks = Ticks(instance, LIBRARY)
    ticks.tick()
    with sqlite3.connect(library) as connection:
        connection.execute("UPDATE items SET mtime = mtime + 1")
    connection.close()
    ticks.tick()
    assert "our own work" in str(ticks.tick())
    assert ticks.tick() == "Library unchanged."


def test_a_change_waits_for_the_run_that_is_at_the_files(home: Home, instance, library: Path):
    ticks = Ticks(instance, LIBRARY)
    ticks.tick()
    retitle(library, "D")
    ticks.tick()
    with held(home.folder / "locks" / f"{ARTWORK}.lock", Holder("the-first", "")):
        assert str(ticks.tick()).startswith("A run is at it already: the-first.")
    started(ticks.tick())


def test_without_a_library_nothing_is_started(home: Home, instance):
    assert "no beets library" in str(Ticks(instance, LIBRARY).tick())


def test_a_file_that_is_no_library_is_named(home: Home, instance):
    home.demo.library.parent.mkdir(parents=True, exist_ok=True)
    home.demo.library.write_bytes(b"nothing that beets wrote")
    assert str(Ticks(instance, LIBRARY).tick()).startswith("DEPENDENCY_ERROR: ")


# Artists that failed


def failing(home: Home, **state: Any) -> str:
    """A watched artist in this state of refresh."""
    artist_id = home.artist(f"Artist {len(home.server.catalogue.artists)}")
    row = {
        "artist_id": artist_id,
        "status": "failed",
        "code": "DEPENDENCY_ERROR",
        "reason": "server_error",
        "message": "",
        "attempts": 1,
        "next_due_at": utc_text(datetime.now(UTC) - timedelta(minutes=1)),
        "groups": "[]",
        "bodies_pending": 0,
        "requests": 0,
    }
    watched = {
        "artist_id": artist_id,
        "partition_key": f"a-{artist_id}",
        "name": "a",
        "groups": '["album", "single"]',
        "paused": 0,
        "added_at": "",
    }
    with home.store() as store:
        store.save(tables.watchlist, [watched])
        store.save(tables.refresh_state, [row | state])
    return artist_id


def test_what_is_due_for_another_try_starts_a_run_for_just_that(home: Home, instance):
    ticks = Ticks(instance, RETRIES)
    assert ticks.tick() == "No artist waits for another try."
    failing(home)
    request = started(ticks.tick())
    assert RETRY_TAG in request.tags
    assert not request.run_config, "to name artists would spend what is kept for the user"


@pytest.mark.parametrize(
    "state",
    [
        {"code": "VALIDATION_ERROR"},
        {"code": "NOT_FOUND"},
        {"status": "gone", "code": "NOT_FOUND", "next_due_at": None},
        {"status": "complete", "code": None},
        {"status": "deferred", "code": "RATE_LIMITED"},
    ],
)
def test_what_another_try_cannot_mend_is_not_tried(home: Home, instance, state: dict[str, Any]):
    failing(home, **state)
    assert Ticks(instance, RETRIES).tick() == "No artist waits for another try."


def test_a_try_that_is_not_due_is_announced(home: Home, instance):
    failing(home, next_due_at=utc_text(datetime.now(UTC) + timedelta(minutes=30)))
    assert "1 artist failed; the next try is at " in str(Ticks(instance, RETRIES).tick())


def test_a_time_that_only_a_clock_set_back_explains_is_due(home: Home, instance):
    failing(home, next_due_at=utc_text(datetime.now(UTC) + timedelta(days=400)))
    started(Ticks(instance, RETRIES).tick())


def test_neither_in_a_cooldown_nor_without_budget_nor_beside_another_run(home: Home, instance):
    ticks = Ticks(instance, RETRIES)
    failing(home)
    run = instance.create_run_for_job(
        defs.resolve_job_def(REFRESH_JOB), status=dg.DagsterRunStatus.STARTED
    )
    assert run.run_id in str(ticks.tick())
    instance.report_run_failed(run)
    with home.store() as store:
        quota = Quota(store.engine, QuotaLimits())
        for _ in range(400):
            with store.writing() as connection:
                connection.execute(
                    tables.spotify_calls.insert().values(
                        family="artist_albums", called_at=quota.clock()
                    )
                )
    assert str(ticks.tick()).startswith("Budget spent, 1 artist waits.")
    cool_down(home, 100 * 3600)
    assert str(ticks.tick()).startswith("Cooldown until ")


def test_a_run_that_tried_nobody_is_started_again_after_growing_gaps(home: Home, instance):
    from harmony_pipelines.steps.changes import look_at_retries

    now, cursor, gaps, last = 1_000_000.0, "", [], 1_000_000.0
    for _ in range(3000):
        look = look_at_retries(3, cursor, None, now)
        cursor = look.cursor
        if look.why_not is None:
            gaps.append(now - last)
            last = now
        now += 60
    assert gaps[:5] == [0, 120, 240, 480, 960]
    assert max(gaps) == 6 * 3600
    assert look_at_retries(4, cursor, None, now).why_not is None, "somebody was tried meanwhile"
    assert look_at_retries(3, cursor, None, 5.0).why_not is None, "the clock was set back"


def test_the_run_refreshes_just_those_that_failed(home: Home, instance):
    failed, mended = failing(home), failing(home, code="NOT_FOUND")
    due = failing(home, status="complete", code=None)
    home.watch(failed, mended, due)
    done = defs.get_job_def(REFRESH_JOB).execute_in_process(
        instance=instance, tags={RETRY_TAG: "failed artists"}, raise_on_error=False
    )
    assert done.success
    asked = {
        request.path.split("/artists/")[1].split("/")[0]
        for request in home.server.requests
        if request.family == "artist_albums"
    }
    assert asked == {failed}
    states = {row["artist_id"]: row["status"] for row in home.rows(tables.refresh_state)}
    assert states[failed] == "complete"


def test_what_a_tick_notes_survives_as_text(home: Home, instance):
    home.watch(home.artist("Lumen Tide"))
    ticks = Ticks(instance, WATCHLIST)
    ticks.tick()
    assert json.loads(ticks.cursor or "").keys() == {"done", "read", "fault"}


# Failed runs


def failed_run(instance: dg.DagsterInstance, why: str, **tags: str) -> dg.DagsterRun:
    job = defs.resolve_job_def(REFRESH_JOB)
    run = instance.create_run_for_job(job, tags={"harmony/job": REFRESH_JOB, **tags})
    instance.report_run_failed(run, why)
    return run


@pytest.fixture
def hook(home: Home) -> Iterator[Webhook]:
    with webhook() as hook:
        home.set(HARMONY_NOTIFY_URLS=hook.url())
        yield hook


def test_the_sensor_of_failed_runs_is_on_unless_switched_off() -> None:
    assert SENSORS[FAILED_RUNS].default_status is dg.DefaultSensorStatus.RUNNING
    assert SENSORS[FAILED_RUNS].description


def test_a_run_that_could_not_tell_of_its_failure_is_told_of_once(home: Home, instance, hook):
    ticks = Ticks(instance, FAILED_RUNS)
    assert ticks.tick() == "No more run failed. Messages that wait to be sent: 0."
    run = failed_run(instance, "DEPENDENCY_ERROR: the run's process (pid 1) died.")
    said = str(ticks.tick())
    assert f"Failed: {REFRESH_JOB} ({run.run_id[:8]}): DEPENDENCY_ERROR: the run's" in said
    wait_until(lambda: hook.messages, 30)
    assert hook.events() == [("failure", "DEPENDENCY_ERROR")]
    assert hook.messages[0]["run_id"] == run.run_id
    failed_run(instance, "DEPENDENCY_ERROR: the run's process (pid 2) died.")
    assert "Failed: " in str(ticks.tick())
    assert "No more run failed" in str(ticks.tick())
    assert home.rows(tables.problems)[0]["subject"] == REFRESH_JOB
    wait_until(lambda: not home.rows(tables.outbox), 30)
    assert len(hook.messages) == 1


def test_a_run_whose_process_was_found_dead_is_told_of_as_such(home: Home, instance):
    job = defs.resolve_job_def(REFRESH_JOB)
    run = instance.create_run_for_job(job, tags={"harmony/job": REFRESH_JOB})
    instance.report_run_failed(run)
    said = str(Ticks(instance, FAILED_RUNS).tick())
    assert "DEPENDENCY_ERROR: The run's process ended without a word" in said


def test_a_run_that_told_of_it_itself_is_only_listed(home: Home, instance, hook):
    failed_run(instance, "DEADLINE_EXCEEDED: too long.", **{"harmony/told": "yes"})
    assert "DEADLINE_EXCEEDED" in str(Ticks(instance, FAILED_RUNS).tick())
    assert home.rows(tables.problems) == []


def test_a_failure_before_a_success_is_not_told_of(home: Home, instance, hook):
    job = defs.resolve_job_def(REFRESH_JOB)
    failed_run(instance, "DEPENDENCY_ERROR: it died.")
    time.sleep(0.01)
    instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS)
    Ticks(instance, FAILED_RUNS).tick()
    assert home.rows(tables.problems) == []


def test_runs_of_other_projects_are_none_of_ours(home: Home, instance):
    @dg.job
    def somebody_else_s() -> None: ...

    run = instance.create_run_for_job(somebody_else_s)
    instance.report_run_failed(run, "It died.")
    assert str(Ticks(instance, FAILED_RUNS).tick()).startswith("No more run failed.")


def test_without_anybody_to_tell_the_failed_runs_are_listed(home: Home, instance):
    failed_run(instance, "DEPENDENCY_ERROR: it died.")
    said = str(Ticks(instance, FAILED_RUNS).tick())
    assert "it died" in said
    assert said.endswith("Nobody is told: HARMONY_NOTIFY_URLS is not set.")


def test_a_cursor_from_a_clock_that_ran_ahead_sees_later_failures(home: Home, instance):
    ticks = Ticks(instance, FAILED_RUNS)
    ticks.cursor = json.dumps({"after": time.time() + 400 * 86_400, "seen": []})
    failed_run(instance, "DEPENDENCY_ERROR: it died.")
    assert "it died" in str(ticks.tick())


def test_an_unreadable_watchlist_is_told_of_and_so_is_its_mending(home: Home, instance, hook):
    ticks = Ticks(instance, WATCHLIST)
    home.watch(text="artists: [\n")
    for _ in range(2):
        ticks.tick()
    [problem] = home.rows(tables.problems)
    assert (problem["code"], problem["subject"]) == ("VALIDATION_ERROR", "watchlist.yaml")
    home.watch(home.artist("Lumen Tide"))
    ticks.tick()
    assert home.rows(tables.problems) == []
    wait_until(lambda: len(hook.messages) == 2 or home.rows(tables.outbox) == [], 30)


def test_a_skip_that_is_as_it_should_be_beats_the_heart(home: Home, instance):
    with webhook() as hook:
        home.set(HARMONY_HEARTBEAT_URL=hook.heartbeat_url)
        home.watch(text="artists: [\n")
        Ticks(instance, WATCHLIST).tick()
        assert home.rows(tables.outbox) == []
        Ticks(instance, RETRIES).tick()
        wait_until(lambda: hook.beats, 30)
        assert hook.beats == 1
