import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import dagster._daemon.daemon  # the scheduler can only be imported after it
import pytest
import time_machine
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import InProcessWorkspaceLoadTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

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
    home.set(HARMONY_TIMEZONE="Asia/Tokyo")
    due(home, datetime(2026, 11, 23, 20, 5, tzinfo=UTC))
    with time_machine.travel(AT):
        assert tick(instance) == "Nothing is due; the next artist is due at Tue 24 Nov 05:05."
    due(home, datetime.now(UTC) - timedelta(days=40))
    assert isinstance(tick(instance), dg.RunRequest)


def test_an_edit_of_the_watchlist_is_a_reason_to_start(home: Home, instance):
    artist_id = refreshed(home, instance)
    due(home, datetime.now(UTC) + timedelta(days=1))
    long_ago = utc_text(datetime.now(UTC) - timedelta(hours=1))
    home.change(tables.refresh_state, last_attempt_at=long_ago)
    home.watch(artist_id, home.artist("Sable Choir"))
    assert isinstance(tick(instance), dg.RunRequest)


def test_an_edit_by_a_clock_that_was_ahead_is_no_reason_for_a_run_each_time(home: Home, instance):
    refreshed(home, instance)
    due(home, datetime.now(UTC) + timedelta(days=1))
    ahead = time.time() + 86_400
    os.utime(home.folder / "watchlist.yaml", (ahead, ahead))
    assert "Nothing is due" in str(tick(instance))


def test_a_cooldown_and_a_spent_budget_are_waited_for(home: Home, instance):
    refreshed(home, instance)
    due(home, datetime.now(UTC) - timedelta(days=1))
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="1")
    assert "Budget spent, 1 artist waits." in str(tick(instance))
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


class Scheduler:
    """Dagster's own, as its daemon asks it, at any moment; runs stay in the queue."""

    def __init__(self, instance: dg.DagsterInstance, context: WorkspaceProcessContext) -> None:
        self.instance = instance
        self._context = context
        [location] = context.create_request_context().code_locations
        self._schedule = location.get_repository("__repository__").get_schedule(REFRESH_TICK)

    def switch_on(self) -> None:
        self.instance.start_schedule(self._schedule)

    def look(self) -> list[str]:
        """Look as a daemon does that has just begun; the runs that wait in the queue."""
        log = logging.getLogger("scheduler")
        faults = [*launch_scheduled_runs(self._context, log, datetime.now(UTC), {})]
        assert not any(faults)
        waiting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
        return [run.run_id for run in self.instance.get_runs(waiting)]

    def last_said(self) -> str | None:
        origin = self._schedule.get_remote_origin_id()
        return self.instance.get_ticks(origin, self._schedule.selector_id)[0].skip_reason


@pytest.fixture
def scheduler() -> Iterator[Scheduler]:
    queue = {
        "module": "dagster._core.run_coordinator.queued_run_coordinator",
        "class": "QueuedRunCoordinator",
    }
    target = LoadableTargetOrigin(module_name="harmony_pipelines.definitions")
    here = InProcessWorkspaceLoadTarget(InProcessCodeLocationOrigin(target, location_name="here"))
    with (
        dg.instance_for_test(overrides={"run_coordinator": queue}) as instance,
        WorkspaceProcessContext(instance, here) as context,
    ):
        yield Scheduler(instance, context)


@pytest.mark.filterwarnings("ignore:Property `ScheduleDefinition:DeprecationWarning")
def test_after_a_month_off_one_run_starts_and_the_budget_is_kept(home: Home, scheduler: Scheduler):
    home.watch(*(home.artist(f"Artist {number}") for number in range(9)))
    with time_machine.travel(AT - timedelta(days=31)):
        scheduler.switch_on()
        assert home.refresh(scheduler.instance).success
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="5")
    with time_machine.travel(AT + timedelta(seconds=5)):
        [run_id] = scheduler.look()
        assert scheduler.look() == [run_id], "of two daemons the second starts nothing"
        scheduler.instance.delete_run(run_id)
        before = home.counts()["artist_albums"]
        assert home.refresh(scheduler.instance).success
        asked = home.counts()["artist_albums"] - before
        assert 0 < asked <= 5
    with time_machine.travel(AT + timedelta(hours=1)):
        assert scheduler.look() == []
        assert f"Budget spent, {9 - asked} artists wait." in str(scheduler.last_said())


@pytest.mark.parametrize("wrong_by", [timedelta(days=400), timedelta(days=-400)])
def test_after_a_clock_that_was_wrong_everybody_is_refreshed_once(
    home: Home, instance, wrong_by: timedelta
):
    with time_machine.travel(AT + wrong_by):
        refreshed(home, instance)
    with time_machine.travel(AT):
        assert isinstance(tick(instance), dg.RunRequest)
        assert home.refresh(instance).success
        assert "Nothing is due" in str(tick(instance))
