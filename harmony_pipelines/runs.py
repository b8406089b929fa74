"""What a run of Dagster's is allowed: how long it has, and whether it is still the one at work."""

import time
from collections.abc import Callable, Mapping
from typing import Any

import dagster as dg

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.settings import Settings

MAX_RUNTIME_TAG = "dagster/max_runtime"
_RUNNING = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING)

Context = dg.OpExecutionContext | dg.AssetExecutionContext


def run_limit(context: Context, settings: Settings) -> int:
    """The seconds that the run may take: the smaller of its tag and HARMONY_RUN_MAX_SECONDS."""
    tag = context.run.tags.get(MAX_RUNTIME_TAG, "")
    return min(settings.run_max_seconds, int(tag)) if tag.isdigit() else settings.run_max_seconds


def run_deadline(context: Context, settings: Settings, share: float = 1.0) -> Deadline:
    """The deadline of the run, counted from its start, or of the first `share` of its time."""
    limit = share * run_limit(context, settings)
    record = context.instance.get_run_record_by_id(context.run.run_id)
    started = record.start_time if record and record.start_time else time.time()
    return Deadline.after(limit - max(0.0, time.time() - started), f"the run ({limit:.0f} s)")


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
