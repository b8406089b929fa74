"""The executor of every job and asset: in this process or in several, and never past its limit.

It holds for every way of starting a run, which Dagster's own run monitoring does not: that needs a
daemon, reaches no run on the command line, and ends no worker that will not end.
"""

import atexit
import gc
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import dagster as dg

from harmony_pipelines.clients.processes import MARK, identity, module_command
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.endings import job_of, tell_when_over
from harmony_pipelines.last_word import say_last
from harmony_pipelines.launcher import LocalRunLauncher, missing_fences
from harmony_pipelines.runs import (
    LIMIT_TAG,
    MAX_RUNTIME_TAG,
    WORKER_TAG,
    effective_limit,
    origin_tags,
    seconds_left,
)
from harmony_pipelines.settings import Settings, load_settings
from harmony_pipelines.watchdog import DONE, Orders, encoded, in_steps, past_limit

if TYPE_CHECKING:
    from dagster._core.execution.context.system import PlanOrchestrationContext
    from dagster._core.execution.plan.plan import ExecutionPlan

_DEFAULT_LIMIT = 3600
_LAST_SECONDS = 2.0
_WATCHDOG_SECONDS = 10
"""What the watchdog may take, on a busy machine, to say that a run is past its limit."""

_NOT_OVER = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)
_DOGS: list[subprocess.Popen[bytes]] = []
"""Watchdogs that had to act: they outlive their run by moments."""

_NO_FENCE = (
    "This DAGSTER_HOME's dagster.yaml lacks {lacks}. The run is ended at its limit all the same, "
    "but one that dies or stays queued is noticed late or never. Copy these parts from the "
    "project's dagster.yaml, or start with `make dev`."
)


@dg.executor(
    name="deadline_executor",
    config_schema=dg.Field(
        dg.Selector(
            {
                "in_process": dg.in_process_executor.config_schema.as_field(),
                "multiprocess": dg.multiprocess_executor.config_schema.as_field(),
            }
        ),
        default_value={"in_process": {}},
        description="Where the steps run: in the run's own process, or each in one of its own.",
    ),
)
def deadline_executor(init_context: dg.InitExecutorContext) -> dg.Executor:
    """All steps in the run's process, or `multiprocess` in one each, ended at the run's limit."""
    kind, config = next(iter(init_context.executor_config.items()))
    chosen = {
        "in_process": dg.in_process_executor,
        "multiprocess": dg.multiprocess_executor,
    }[kind]
    create = chosen.executor_creation_fn
    assert create is not None
    return DeadlineExecutor(create(_with_config(init_context, config)))


class DeadlineExecutor(dg.Executor):
    """Another executor, with a watchdog process beside it."""

    def __init__(self, inner: dg.Executor) -> None:
        self._inner = inner

    @property
    def retries(self) -> Any:
        """The inner executor's."""
        return self._inner.retries

    @property
    def step_dependency_config(self) -> Any:
        """The inner executor's."""
        return self._inner.step_dependency_config

    def execute(
        self, plan_context: "PlanOrchestrationContext", execution_plan: "ExecutionPlan"
    ) -> "Iterator[dg.DagsterEvent]":
        """Run the steps; the watchdog ends the process if they take longer than the limit."""
        run, instance = plan_context.dagster_run, plan_context.instance
        settings = _settings()
        most = settings.run_max_seconds if settings else _DEFAULT_LIMIT
        limit = effective_limit(run.tags, most)
        tags = {WORKER_TAG: identity(), **_limit_tags(instance, limit), **origin_tags(run)}
        instance.add_run_tags(run.run_id, tags)
        for warning in settings.warnings if settings else ():
            plan_context.log.warning(warning)
        _say_what_the_home_lacks(plan_context)
        orders = Orders(
            run_id=run.run_id,
            job=job_of(run),
            worker=tags[WORKER_TAG],
            limit_s=limit,
            left_s=seconds_left(instance, run.run_id, limit),
            instance=_reference(instance),
        )
        until = time.monotonic() + orders.left_s
        _end_at_once()
        with _watched(orders), _ended_if_interrupted(orders, until, instance):
            events = self._inner.execute(plan_context, execution_plan)
            yield from tell_when_over(run, instance, events, until, plan_context.log)


def _limit_tags(instance: dg.DagsterInstance, limit: int) -> dict[str, str]:
    """The limit in the run's tags.

    Dagster's own launcher has the code server end a run. A worker that is frozen never answers, and
    then that server starts no run any more; so there Dagster comes after the watchdog.
    """
    if isinstance(instance.run_launcher, LocalRunLauncher):
        return {MAX_RUNTIME_TAG: str(limit)}
    return {LIMIT_TAG: str(limit), MAX_RUNTIME_TAG: str(limit + _WATCHDOG_SECONDS)}


def _end_at_once() -> None:
    """Let the process go when its work is over, also one that Ctrl-C ended.

    Python would first look through all that was ever imported for cycles: more than a second, and
    on a busy machine several, in which the run is over and its command is not.
    """
    atexit.unregister(gc.freeze)
    atexit.register(gc.freeze)


def _with_config(init_context: dg.InitExecutorContext, config: Any) -> dg.InitExecutorContext:
    return init_context._replace(executor_config=config)


def _settings() -> Settings | None:
    """The settings; None where they are wrong, which is for the run itself to say."""
    try:
        return load_settings()
    except HarmonyError:
        return None


def _reference(instance: dg.DagsterInstance) -> str | None:
    from dagster._serdes import serialize_value  # no public way to hand an instance on

    return None if instance.is_ephemeral else serialize_value(instance.get_ref())


def _say_what_the_home_lacks(plan_context: "PlanOrchestrationContext") -> None:
    instance = plan_context.instance
    lacks = [] if instance.is_ephemeral else missing_fences(instance)
    if lacks:
        plan_context.log.warning(_NO_FENCE.format(lacks=", ".join(lacks)))


@contextmanager
def _ended_if_interrupted(
    orders: Orders, until: float, instance: dg.DagsterInstance
) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM cancel a run, as Terminate does; Dagster would call it failed.

    At the limit it is the watchdog that interrupts; then the command's last line says so.
    """
    try:
        yield
    except (KeyboardInterrupt, dg.DagsterExecutionInterruptedError):
        run = instance.get_run_by_id(orders.run_id)
        if time.monotonic() >= until:
            message = _why_failed(instance, orders)
            say_last(f"Failed: {message}")
            # Run monitoring, if it was the first to see the limit, has called this a cancellation.
            if run is not None and run.status in _NOT_OVER:
                instance.report_run_failed(run, message)
        elif run is not None and run.status is dg.DagsterRunStatus.STARTED:
            instance.report_run_canceling(run, "Interrupted from outside; cancelling.")
        raise


def _why_failed(instance: dg.DagsterInstance, orders: Orders) -> str:
    """What the watchdog said of a run past its limit, or would have said."""
    kinds = {dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.STEP_FAILURE}
    entries = instance.all_logs(orders.run_id, of_type=kinds)
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    said = [event.message for event in events if event.is_job_failure and event.message]
    interrupted = [event.step_key for event in events if event.step_key]
    return said[-1] if said else past_limit(orders.limit_s, in_steps(interrupted[-1:]))


@contextmanager
def _watched(orders: Orders) -> Iterator[None]:
    """Have a watchdog beside this process; what the run starts in here carries the run's mark."""
    dog, until = _begin(orders), time.monotonic() + orders.left_s
    before = os.environ.get(MARK)
    os.environ[MARK] = orders.run_id
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(MARK, None)
        else:
            os.environ[MARK] = before
        _dismiss(dog, until)


def _begin(orders: Orders) -> subprocess.Popen[bytes]:
    command, environment = module_command("harmony_pipelines.watchdog")
    dog = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # a Ctrl-C at the terminal is not for it
    )
    assert dog.stdin is not None
    dog.stdin.write(encoded(orders))
    dog.stdin.flush()
    return dog


def _dismiss(dog: subprocess.Popen[bytes], until: float) -> None:
    assert dog.stdin is not None
    with suppress(OSError):
        dog.stdin.write(DONE)
        dog.stdin.close()
    try:
        dog.wait(_LAST_SECONDS if time.monotonic() < until else 0)
    except subprocess.TimeoutExpired:  # it is about to end this process
        _DOGS.append(dog)
