"""What a run of Dagster's is allowed: how long it has, and whether it is still the one at work."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import dagster as dg

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.settings import Settings

JOB_TAG = "harmony/job"
"""The name of the job, by which the queue lets one at a time run."""

MAX_RUNTIME_TAG = "dagster/max_runtime"
WORKER_TAG = "harmony/worker"
"""The identity of the process in which a run is at work."""

_LAST_WORDS_SHARE, _LAST_WORDS_SECONDS = 0.1, 5.0
"""How much before its limit a run ends itself, so that nothing has to end it."""

_RUNNING = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING)

Context = dg.OpExecutionContext | dg.AssetExecutionContext


def run_limit(context: Context, settings: Settings) -> int:
    """The seconds that the run may take: the smaller of its tag and HARMONY_RUN_MAX_SECONDS."""
    return effective_limit(context.run.tags, settings.run_max_seconds)


def effective_limit(tags: Mapping[str, str], most: int) -> int:
    """The smaller of the limit in a run's tags and the most that any run may take, in seconds."""
    with suppress(ValueError):
        tagged = int(float(tags.get(MAX_RUNTIME_TAG, "")))
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
    instance, run_id = context.instance, context.run.run_id

    def check() -> None:
        run = instance.get_run_by_id(run_id)
        if run is not None and run.status not in _RUNNING:
            raise HarmonyError(
                ErrorCode.CONFLICT,
                Reason.RUN_OVER,
                f"Dagster ended this run ({run.status.value}); nothing more is written.",
                run_id=run_id,
            )

    return check


def configured(context: Context, *path: str) -> Any:
    """What the run was configured with at this path, also for another op; None if nothing."""
    found: Any = context.run.run_config
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
