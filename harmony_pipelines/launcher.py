"""A run launcher for one machine: it ends a run, and sees that one is dead, by its process.

Dagster's own ends runs through the code server, which a worker that is frozen makes refuse every
run after it, and reaches no run that was started on the command line.
"""

import sys
import time
from typing import TYPE_CHECKING

from dagster import (
    DagsterEventType,
    DagsterInstance,
    DagsterRun,
    DagsterRunStatus,
    DefaultRunLauncher,
)

from harmony_pipelines.runs import WORKER_TAG, effective_limit, seconds_left
from harmony_pipelines.watchdog import in_steps, past_limit, steps_at_work

if TYPE_CHECKING:
    from dagster._core.launcher.base import CheckRunHealthResult

GRACE_SECONDS = 3.0
"""How long a run is given to end by itself once it is cancelled."""

_NO_LIMIT = sys.maxsize
_BEGIN_SECONDS = 10.0
"""How long after its start a run may log nothing; every executor logs within moments."""
_LONGEST_POLL = 30
"""The seconds between two looks of run monitoring; a dead run is noticed in two of them."""

_LONGEST_WAIT = 600


def missing_fences(instance: DagsterInstance) -> list[str]:
    """What a `dagster.yaml` that is not ours lacks of the fences around a run, by its names."""
    monitoring = _missing_in_monitoring(instance) if instance.run_monitoring_enabled else None
    there = {
        "our run_launcher": isinstance(instance.run_launcher, LocalRunLauncher),
        "run_monitoring": monitoring is not None,
        "run_retries: {enabled: false}": not instance.run_retries_enabled,
    }
    return [*(name for name, is_there in there.items() if not is_there), *(monitoring or ())]


def _missing_in_monitoring(instance: DagsterInstance) -> list[str]:
    """What run monitoring that is on lacks; Dagster has a default for some of it, 0 for others."""
    free_after = instance.run_monitoring_settings.get("free_slots_after_run_end_seconds", 0)
    limits = {
        "poll_interval_seconds": (instance.run_monitoring_poll_interval_seconds, _LONGEST_POLL),
        "start_timeout_seconds": (instance.run_monitoring_start_timeout_seconds, _LONGEST_WAIT),
        "cancel_timeout_seconds": (instance.run_monitoring_cancel_timeout_seconds, _LONGEST_WAIT),
        "max_runtime_seconds": (instance.run_monitoring_max_runtime_seconds, _NO_LIMIT),
        "free_slots_after_run_end_seconds": (free_after, _LONGEST_WAIT),
    }
    return [
        f"run_monitoring: {name}" + (f" (at most {most})" if most < _NO_LIMIT else "")
        for name, (seconds, most) in limits.items()
        if not 0 < seconds <= most
    ]


class LocalRunLauncher(DefaultRunLauncher):
    """Launches as Dagster does by default; terminates and checks by the process's identity."""

    def terminate(self, run_id: str) -> bool:
        """End the run: asked as Ctrl-C asks, then by force with all that it started."""
        from harmony_pipelines.clients import processes

        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        name = run.tags.get(WORKER_TAG, "")
        if not processes.is_of_this_machine(name):
            return super().terminate(run_id)
        self._instance.report_run_canceling(run)
        worker = processes.find(name)
        ended = worker is not None and processes.interrupt(worker, GRACE_SECONDS)
        self._say_how_it_ended(run_id)  # before the kill: who sees a dead worker calls it failed
        if not ended:
            left = processes.family(worker, run_id)
            processes.kill([*left, worker] if worker else left)
        return True

    def _say_how_it_ended(self, run_id: str) -> None:
        """What the worker would have said had it ended by itself."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.status is not DagsterRunStatus.CANCELING:
            return
        limit = effective_limit(run.tags, _NO_LIMIT)
        if seconds_left(self._instance, run_id, limit) > 0:
            self._instance.report_run_canceled(run)
            return
        where = in_steps(steps_at_work(self._instance, run_id))  # run monitoring ends it, no user
        self._instance.report_run_failed(run, past_limit(limit, where))

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring asks us."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> "CheckRunHealthResult":
        """Whether the run's process lives; one that runs elsewhere is not ours to judge."""
        from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus

        from harmony_pipelines.clients import processes

        name = run.tags.get(WORKER_TAG, "")
        if not name and self._died_at_once(run.run_id):
            return CheckRunHealthResult(
                WorkerStatus.FAILED, "its process died before its first step; the next run does it"
            )
        if not processes.is_of_this_machine(name) or processes.find(name):
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        processes.kill(processes.family(None, run.run_id))  # its watchdog may be dead as well
        pid = name.split(":")[-2]
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"its process, pid {pid}, died; the next run does the rest"
        )

    def _died_at_once(self, run_id: str) -> bool:
        """Whether nothing came of a run but its start, from before it could say who it is."""
        newest = self._instance.get_records_for_run(run_id, limit=1, ascending=False).records
        if not newest:
            return False
        entry = newest[0].event_log_entry
        began = entry.dagster_event_type is DagsterEventType.RUN_START
        return began and time.time() - entry.timestamp > _BEGIN_SECONDS
