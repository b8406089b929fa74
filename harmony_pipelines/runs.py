"""What a run of Dagster's is allowed: how long it has, and whether it is still the one at work."""

import sqlite3
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import dagster as dg

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.settings import Settings

JOB_TAG = "harmony/job"
"""The name of the job, by which the queue lets one at a time run."""

RETRY_TAG = "harmony/retry"
"""On a run that refreshes only the artists whose last refresh failed and is due again."""

MAX_RUNTIME_TAG = "dagster/max_runtime"
LIMIT_TAG = "harmony/limit"
"""The limit of a run whose `dagster/max_runtime` says when Dagster may act too: later."""

WORKER_TAG = "harmony/worker"
"""The identity of the process in which a run is at work."""

ARTIST_TAG = "harmony/artist"
"""The partition key of the one artist that a run is about."""

STARTED_BY_TAG = "harmony/started_by"
"""What started a run: `schedule`, `sensor`, `backfill`, `ui` or `command_line`."""

_LAST_WORDS_SHARE, _LAST_WORDS_SECONDS = 0.1, 5.0
"""How much before its limit a run ends itself, so that nothing has to end it."""

_RUNNING = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING)

AT_WORK = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""The states of a run that has not ended."""

Context = dg.OpExecutionContext | dg.AssetExecutionContext


def origin_tags(run: dg.DagsterRun) -> dict[str, str]:
    """Tags of ours by which a run is found: what started it, and the artist it is about."""
    starters = {
        "dagster/schedule_name": "schedule",
        "dagster/sensor_name": "sensor",
        "dagster/backfill": "backfill",
    }
    by_itself = [starter for tag, starter in starters.items() if tag in run.tags]
    by_hand = "ui" if run.remote_job_origin else "command_line"
    partition = run.tags.get("dagster/partition")
    about = {ARTIST_TAG: partition} if partition else {}
    return {STARTED_BY_TAG: next(iter(by_itself), by_hand), **about}


def run_limit(context: Context, settings: Settings) -> int:
    """The seconds that the run may take: the smaller of its tag and HARMONY_RUN_MAX_SECONDS."""
    return effective_limit(context.run.tags, settings.run_max_seconds)


def effective_limit(tags: Mapping[str, str], most: int) -> int:
    """The smaller of the limit in a run's tags and the most that any run may take, in seconds."""
    with suppress(ValueError):
        tagged = int(float(tags.get(LIMIT_TAG) or tags.get(MAX_RUNTIME_TAG, "")))
        return min(most, tagged) if tagged > 0 else most
    return most


def seconds_left(instance: dg.DagsterInstance, run_id: str, limit: float) -> float:
    """What is left of a run's limit, counted from its start."""
    record = instance.get_run_record_by_id(run_id)
    started = record.start_time if record and record.start_time else time.time()
    return limit - max(0.0, time.time() - started)


def run_deadline(context: Context, settings: Settings, share: float = 1.0) -> Deadline:
    """The deadline of the run, counted from its start, or of the first `share` of its time."""
    whole = run_limit(context, settings)
    limit = share * (whole - min(_LAST_WORDS_SECONDS, _LAST_WORDS_SHARE * whole))
    left = seconds_left(context.instance, context.run.run_id, limit)
    return Deadline.after(left, f"the run ({whole:.0f} s)")


def still_running(context: Context) -> Callable[[], None]:
    """A check for right before each commit and rename: CONFLICT once Dagster gave the run up."""
    run_id, status_now = context.run.run_id, _status_of(context.instance, context.run.run_id)

    def check() -> None:
        status = status_now()
        if status is not None and status not in _RUNNING:
            raise HarmonyError(
                ErrorCode.CONFLICT,
                Reason.RUN_OVER,
                f"Dagster ended this run ({status.value}); nothing more is written.",
                run_id=run_id,
            )

    return check


def _status_of(
    instance: dg.DagsterInstance, run_id: str
) -> Callable[[], dg.DagsterRunStatus | None]:
    """A question for the run's status now, which is asked before every rename.

    Dagster opens its SQLite file anew each time, which takes as long as embedding a cover; so the
    file is asked over one connection, and Dagster only where its runs are elsewhere.
    """

    def by_dagster() -> dg.DagsterRunStatus | None:
        run = instance.get_run_by_id(run_id)
        return run and run.status

    database = Path(instance.storage_directory()).parent / "history" / "runs.db"
    try:
        connection = sqlite3.connect(
            f"{database.absolute().as_uri()}?mode=rw",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
        )
    except (sqlite3.Error, ValueError):
        return by_dagster

    def status() -> dg.DagsterRunStatus | None:
        with suppress(sqlite3.Error, ValueError):
            row = connection.execute("SELECT status FROM runs WHERE run_id = ?", (run_id,))
            for (found,) in row:
                return dg.DagsterRunStatus(found)
        return by_dagster()

    weakref.finalize(status, connection.close)
    return status


def under_way(instance: dg.DagsterInstance, job: str) -> str | None:
    """Which run of the job has not ended, as the reason of a tick that waits; None: none."""
    found = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=AT_WORK), limit=1)
    return f"A run of {job} is under way: {found[0].dagster_run.run_id}." if found else None


def configured(context: Context, *path: str) -> Any:
    """What the run was configured with at this path, also for another op; None if nothing."""
    found: Any = context.run.run_config
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
