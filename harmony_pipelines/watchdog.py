"""The process that holds a run's time limit: it waits beside the worker and ends what will not end.

A thread of the worker could not: a loop in C that holds the interpreter's lock starves it. Started
by the executor, told its `Orders` and the word `DONE` through its standard input.
"""

import json
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from harmony_pipelines.clients import processes

if TYPE_CHECKING:
    import dagster as dg
    import psutil

    from harmony_pipelines.settings import Settings

TOLD_TAG = "harmony/told"
"""On a failed run of which the user was told already."""

DONE = b"done\n"
"""What the worker says when the run's steps are over."""

GRACE_SECONDS = 3.0
"""How long a worker is given to end by itself once it is told to."""

_BY_FORCE = "Its process did not end when it was asked to, so it was killed."
_POLL_SECONDS = 1.0
_REPORT_SECONDS = 3.0
_READY_SECONDS = 30.0
"""How long before the limit Dagster is imported, which takes a while on a busy machine."""


@dataclass(frozen=True)
class Orders:
    """What is watched: the run, its worker's identity, its limit, and the seconds left of it."""

    run_id: str
    job: str
    worker: str
    limit_s: float
    left_s: float
    instance: str | None
    """Dagster's instance as its own serialised reference; None if it ends with the process."""


def main() -> None:
    """Watch as ordered until the run or its worker is over."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    orders = sys.stdin.buffer.readline()
    if orders:
        Watchdog(Orders(**json.loads(orders))).watch()


def encoded(orders: Orders) -> bytes:
    """The orders as one line of the watchdog's input."""
    return json.dumps(asdict(orders)).encode() + b"\n"


def past_limit(limit_s: float, where: str) -> str:
    """What a run that was ended at its limit says."""
    return (
        f"DEADLINE_EXCEEDED: the run took longer than its limit of {limit_s:.0f} s{where}. "
        "It was ended; what it had committed is kept."
    )


def steps_at_work(instance: "dg.DagsterInstance", run_id: str) -> list[str]:
    """The steps that a run has begun and not ended; those whose process still starts are begun."""
    import dagster as dg

    stats = {step.step_key: step for step in instance.get_run_step_stats(run_id)}
    starting = instance.all_logs(run_id, of_type={dg.DagsterEventType.STEP_WORKER_STARTING})
    begun = [key for key, step in stats.items() if step.start_time]
    begun += [entry.step_key for entry in starting if entry.step_key]
    return [key for key in dict.fromkeys(begun) if key not in stats or not stats[key].end_time]


def in_steps(steps: list[str]) -> str:
    """Steps as words of a message."""
    return f" in step {', '.join(steps)}" if steps else ""


class Watchdog:
    """Watches one run."""

    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._worker = processes.find(orders.worker)
        self._until = time.monotonic() + orders.left_s
        self._instance: dg.DagsterInstance | None = None

    def watch(self) -> None:
        """Wait for the end of the run, of its worker, or of its time, and do what each asks for."""
        while True:
            left = self._until - time.monotonic()
            if _was_told(max(0.0, min(left - _READY_SECONDS, _POLL_SECONDS))):
                processes.kill(self._family())
                return
            self._worker = processes.find(self._orders.worker)
            if self._worker is None:
                self._worker_died()
                return
            if left <= _READY_SECONDS and self._ended_while_ready():
                return

    def _ended_while_ready(self) -> bool:
        """Wait for the last seconds with Dagster at hand; False if there is more to watch."""
        self._open()
        left = self._until - time.monotonic()
        if left <= 0:
            self._time_is_up()
            return True
        if _was_told(min(left, _POLL_SECONDS)):
            processes.kill(self._family())
            return True
        return False

    def _time_is_up(self) -> None:
        message = past_limit(self._orders.limit_s, self._where())
        print(message, file=sys.stderr, flush=True)
        told = threading.Thread(target=self._fail, args=(message,), daemon=True)
        told.start()
        told.join(_REPORT_SECONDS)  # a worker stopped inside a write holds Dagster's database
        family = self._family()
        if self._worker is not None and not processes.interrupt(self._worker, GRACE_SECONDS):
            print(f"Failed: {message} {_BY_FORCE}", file=sys.stderr, flush=True)
            family = [*self._family(), self._worker]
        self._say_stuck(processes.kill([*family, *self._family()]))
        told.join(_REPORT_SECONDS)
        self._fail(message)  # a step that swallows everything may have said success meanwhile
        self._tell(message)

    def _worker_died(self) -> None:
        processes.kill(self._family())
        self._open()
        run = self._run()
        if run is not None and run.is_finished:
            return
        pid = self._orders.worker.split(":")[-2]
        message = (
            f"DEPENDENCY_ERROR: the run's process (pid {pid}) died{self._where()}. What it had "
            "committed is kept; the next run does the rest."
        )
        if run is not None and self._instance is not None:
            if run.status.value == "CANCELING" and time.monotonic() < self._until:
                self._instance.report_run_canceled(run, f"The run's process (pid {pid}) was ended.")
                return
            if run.status.value == "CANCELING":
                message = past_limit(self._orders.limit_s, self._where())
            self._instance.report_run_failed(run, message)
        self._tell(message)

    def _tell(self, message: str) -> None:
        """Tell of a run that cannot do so any more, also where Dagster keeps nothing of it."""
        from harmony_pipelines.domain.errors import HarmonyError
        from harmony_pipelines.settings import load_settings

        with suppress(HarmonyError):
            settings = load_settings()
            if settings.notify_urls:
                tell_of_death(settings, self._orders.run_id, self._orders.job, message)
                if self._instance is not None:
                    self._instance.add_run_tags(self._orders.run_id, {TOLD_TAG: "yes"})

    def _family(self) -> "list[psutil.Process]":
        return processes.family(self._worker, self._orders.run_id)

    def _open(self) -> None:
        if self._instance is None and self._orders.instance:
            import dagster as dg
            from dagster._serdes import deserialize_value  # no public way to hand an instance on

            reference = deserialize_value(self._orders.instance)
            self._instance = dg.DagsterInstance.from_ref(reference)  # type: ignore[arg-type]

    def _run(self) -> "dg.DagsterRun | None":
        return self._instance.get_run_by_id(self._orders.run_id) if self._instance else None

    def _fail(self, message: str) -> None:
        run = self._run()
        if run is not None and self._instance is not None and run.status.value != "FAILURE":
            self._instance.report_run_failed(run, message)

    def _where(self) -> str:
        """The steps that were at work, as words of a message."""
        found: list[str] = []
        reading = threading.Thread(target=_kept(found, self._steps), daemon=True)
        reading.start()
        reading.join(_REPORT_SECONDS)
        return in_steps(found)

    def _steps(self) -> list[str]:
        return steps_at_work(self._instance, self._orders.run_id) if self._instance else []

    def _say_stuck(self, stuck: "list[psutil.Process]") -> None:
        run = self._run()
        for process in stuck:
            message = f"Cannot be ended, it waits in the kernel: {processes.stuck_at(process)}."
            print(message, file=sys.stderr, flush=True)
            if run is not None and self._instance is not None:
                self._instance.report_engine_event(message, run)


def tell_of_death(settings: "Settings", run_id: str, job: str, message: str) -> None:
    """Note what to tell of the run, and send it."""
    from datetime import UTC, datetime

    from harmony_pipelines.steps import notify, send

    settings.prepare_home()
    end = notify.RunEnd(run_id, job, (notify.failure_told(message),))
    if notify.run_ended(settings, end, datetime.now(UTC)).is_due:
        send.send()


def _kept(found: list[str], find: Callable[[], list[str]]) -> Callable[[], None]:
    return lambda: found.extend(find())


def _was_told(seconds: float) -> bool:
    """Wait for the worker's word; False if it was not said, also when the worker is gone."""
    readable, _, _ = select.select([0], [], [], seconds)
    if not readable:
        return False
    with suppress(OSError):
        said = os.read(0, len(DONE))
        if said:
            return True
    time.sleep(min(seconds, _POLL_SECONDS))  # the pipe is closed, so it cannot be waited for
    return False


if __name__ == "__main__":
    main()
