import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.claims import ARTWORK, REFRESH
from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import utc_text
from harmony_pipelines.clients.locks import Holder, held
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.definitions import defs
from harmony_pipelines_tests.conftest import Home

SCHEDULES = {
    schedule.name: schedule
    for schedule in defs.schedules or ()
    if isinstance(schedule, dg.ScheduleDefinition)
}
REFRESH_TICK = "refresh_catalogue_schedule"
AT = datetime(2026, 11, 23, 9, 12, tzinfo=UTC)


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """One that a tick can be handed a reference to."""
    with dg.instance_for_test() as instance:
        yield instance


def tick(instance: dg.DagsterInstance, name: str = REFRESH_TICK) -> dg.RunRequest | str:
    """The run that a tick asks for, or why it skips."""
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=AT, repository_def=None
    ) as context:
        found = SCHEDULES[name].evaluate_tick(context)
    return found.run_requests[0] if found.run_requests else str(found.skip_message)


def refreshed(home: Home, instance: dg.DagsterInstance, **artist: Any) -> str:
    artist_id = home.artist("Lumen Tide", **artist)
    home.watch(artist_id)
    assert home.refresh(instance).success
    yesterday = time.time() - 86_400
    os.utime(home.folder / "watchlist.yaml", (yesterday, yesterday))
    return artist_id


def due(home: Home, moment: datetime) -> None:
    with home.store() as store, store.writing() as connection:
        connection.execute(tables.refresh_state.update().values(next_due_at=utc_text(moment)))


def test_all_are_stopped_described_and_at_their_times():
    assert {name: schedule.cron_schedule for name, schedule in SCHEDULES.items()} == {
        "refresh_catalogue_schedule": "12 * * * *",
        "embed_artwork_schedule": "0 4 * * *",
        "apply_retention_schedule": "0 5 1 * *",
    }
    for schedule in SCHEDULES.values():
        assert schedule.default_status is dg.DefaultScheduleStatus.STOPPED
        assert "HARMONY_" in (schedule.description or "")


def test_the_first_tick_starts_and_each_tick_only_once(home: Home, instance):
    home.watch(home.artist("Lumen Tide"))
    first, same = tick(instance), tick(instance)
    assert isinstance(first, dg.RunRequest)
    assert isinstance(same, dg.RunRequest)
    assert first.run_key == same.run_key == AT.isoformat()


def test_a_tick_without_anything_due_says_when_something_is(home: Home, instance):
    refreshed(home, instance)
    soon = datetime.now(UTC) + timedelta(hours=3)
    due(home, soon)
    assert tick(instance) == f"Nothing is due; the next artist is at {utc_text(soon)}."
    due(home, datetime.now(UTC) - timedelta(days=40))
    assert isinstance(tick(instance), dg.RunRequest)


def test_an_edit_of_the_watchlist_is_a_reason_to_start(home: Home, instance):
    artist_id = refreshed(home, instance)
    due(home, datetime.now(UTC) + timedelta(days=1))
    later = time.time() + 5
    home.watch(artist_id, home.artist("Sable Choir"))
    os.utime(home.folder / "watchlist.yaml", (later, later))
    assert isinstance(tick(instance), dg.RunRequest)


def test_a_cooldown_and_a_spent_budget_are_waited_for(home: Home, instance):
    refreshed(home, instance)
    due(home, datetime.now(UTC) - timedelta(days=1))
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="1")
    assert "Budget spent, 1 artists wait." in str(tick(instance))
    with home.store() as store:
        Quota(store.engine, QuotaLimits()).cool_down(time.time() + 3600, "quota_exceeded")
    assert "Cooldown until " in str(tick(instance))


@pytest.mark.parametrize(
    ("name", "work"), [(REFRESH_TICK, REFRESH), ("embed_artwork_schedule", ARTWORK)]
)
def test_a_run_on_the_command_line_that_is_at_it_is_named(home: Home, instance, name, work):
    with held(home.folder / "locks" / f"{work}.lock", Holder("the-first", "")):
        assert tick(instance, name) == "A run is at it already: the-first."
    assert isinstance(tick(instance, name), dg.RunRequest)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_a_run_that_is_at_work_is_not_doubled(home: Home, instance, name):
    job = defs.resolve_job_def(SCHEDULES[name].job_name)
    status = dg.DagsterRunStatus.STARTED
    run_id = instance.create_run_for_job(job, status=status).run_id
    assert tick(instance, name) == f"A run of {job.name} is under way: {run_id}."


def test_wrong_settings_are_said_and_no_run_is_started(home: Home, instance):
    home.set(HARMONY_RUN_MAX_SECONDS="soon", HARMONY_REFRESH_CRON="every day")
    reason = str(tick(instance))
    assert reason.startswith("VALIDATION_ERROR: ")
    assert "HARMONY_RUN_MAX_SECONDS" in reason
    assert "HARMONY_REFRESH_CRON" in reason


def test_a_wrong_time_does_not_keep_the_rest_from_loading(home: Home):
    script = (
        "from harmony_pipelines.definitions import defs\n"
        "print({s.name: (s.cron_schedule, s.execution_timezone) for s in defs.schedules})\n"
    )
    odd = {"HARMONY_EMBED_CRON": "61 4 * * *", "HARMONY_TIMEZONE": "Europe/Berlin"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, **odd, "HARMONY_REFRESH_CRON": "5 */2 * * *"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "('0 4 * * *', 'Europe/Berlin')" in done.stdout
    assert "('5 */2 * * *', 'Europe/Berlin')" in done.stdout


def test_a_tick_over_thousands_of_artists_reads_only_what_it_needs(home: Home, instance):
    with home.store() as store:
        rows = [
            {
                "artist_id": f"{n}",
                "partition_key": f"a-{n}",
                "name": "a",
                "paused": 0,
                "added_at": "",
            }
            for n in range(5000)
        ]
        store.save(tables.watchlist, rows)
    began = time.process_time()
    assert isinstance(tick(instance), dg.RunRequest)
    print(f"{1000 * (time.process_time() - began):.0f} ms of CPU for a tick over 5,000 artists")
    assert home.server.requests == []
