import sqlite3
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.runs import (
    ARTIST_TAG,
    LIMIT_TAG,
    MAX_RUNTIME_TAG,
    STARTED_BY_TAG,
    effective_limit,
    origin_tags,
    still_running,
)
from harmony_pipelines_tests.conftest import Home

_OVER = [dg.DagsterRunStatus.CANCELED, dg.DagsterRunStatus.FAILURE]


def ended_meanwhile(instance: dg.DagsterInstance, status: dg.DagsterRunStatus) -> HarmonyError:
    """What a run hears that was at work, and that Dagster then says is over."""
    heard: list[HarmonyError] = []

    @dg.op
    def write(context: dg.OpExecutionContext) -> None:
        check = still_running(context)
        check()
        instance.report_dagster_event(_event(status), context.run.run_id)
        with pytest.raises(HarmonyError) as refused:
            check()
        heard.append(refused.value)

    @dg.job
    def writes() -> None:
        write()

    writes.execute_in_process(instance=instance, raise_on_error=False)
    return heard[0]


def _event(status: dg.DagsterRunStatus) -> dg.DagsterEvent:
    canceled = status is dg.DagsterRunStatus.CANCELED
    kind = dg.DagsterEventType.RUN_CANCELED if canceled else dg.DagsterEventType.RUN_FAILURE
    return dg.DagsterEvent(kind.value, job_name="writes")


def whole(home: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.local_temp(str(home))


def kept_in_memory(home: Path) -> dg.DagsterInstance:
    return dg.DagsterInstance.ephemeral()


def with_runs_elsewhere(home: Path) -> dg.DagsterInstance:
    """Where Dagster kept its runs before lies a file that knows nothing of ours."""
    (home / "history").mkdir()
    sqlite3.connect(home / "history" / "runs.db").close()
    return dg.DagsterInstance.ephemeral(tempdir=str(home))


@pytest.mark.parametrize("status", _OVER)
@pytest.mark.parametrize("made", [whole, kept_in_memory, with_runs_elsewhere])
def test_a_run_hears_at_once_that_it_is_over(
    made: Callable[[Path], dg.DagsterInstance], status: dg.DagsterRunStatus, tmp_path: Path
) -> None:
    with made(tmp_path) as instance:
        error = ended_meanwhile(instance, status)
    assert (error.code, error.reason) == (ErrorCode.CONFLICT, Reason.RUN_OVER)
    assert status.value in error.message


@pytest.mark.parametrize(
    ("tags", "told"),
    [
        ({}, {STARTED_BY_TAG: "command_line"}),
        ({"dagster/schedule_name": "s"}, {STARTED_BY_TAG: "schedule"}),
        ({"dagster/sensor_name": "s"}, {STARTED_BY_TAG: "sensor"}),
        (
            {"dagster/backfill": "b", "dagster/partition": "lumen-tide-1"},
            {STARTED_BY_TAG: "backfill", ARTIST_TAG: "lumen-tide-1"},
        ),
    ],
)
def test_a_run_s_tags_say_what_started_it_and_whom_it_is_about(
    tags: dict[str, str], told: dict[str, str]
) -> None:
    assert origin_tags(dg.DagsterRun(job_name="j", tags=tags)) == told


def test_a_run_that_names_one_artist_is_found_by_it(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.watch(home.artist("Lumen Tide"), home.artist("Salt and Static"))
    assert home.refresh(instance).success
    key = home.rows(tables.watchlist)[0]["partition_key"]
    named = home.refresh(instance, artists=[key])
    wanted = dg.RunsFilter(tags={ARTIST_TAG: key})
    assert [run.run_id for run in instance.get_runs(wanted)] == [named.run_id]


@pytest.mark.parametrize(
    ("tags", "limit"),
    [
        pytest.param({}, 60, id="none of its own"),
        pytest.param({MAX_RUNTIME_TAG: "30"}, 30, id="its own"),
        pytest.param({MAX_RUNTIME_TAG: "90"}, 60, id="more than any may take"),
        pytest.param({MAX_RUNTIME_TAG: "soon"}, 60, id="no number"),
        pytest.param({MAX_RUNTIME_TAG: "0"}, 60, id="nothing"),
        pytest.param({LIMIT_TAG: "30", MAX_RUNTIME_TAG: "40"}, 30, id="Dagster may act later"),
    ],
)
def test_a_run_s_limit_is_the_smaller_of_its_own_and_the_most_that_any_may_take(
    tags: dict[str, str], limit: int
) -> None:
    assert effective_limit(tags, 60) == limit
