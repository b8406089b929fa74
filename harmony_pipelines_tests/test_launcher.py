"""What the run launcher thinks of a worker."""

import time

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent
from dagster._core.launcher.base import WorkerStatus

from harmony_pipelines.clients.processes import identity
from harmony_pipelines.launcher import LocalRunLauncher
from harmony_pipelines.runs import WORKER_TAG


@dg.job
def nothing():
    pass


@pytest.fixture
def instance():
    with dg.instance_for_test(
        overrides={
            "run_launcher": {"module": "harmony_pipelines.launcher", "class": "LocalRunLauncher"}
        }
    ) as made:
        yield made


def started(instance: dg.DagsterInstance, seconds_ago: float, **tags: str) -> dg.DagsterRun:
    """A run that logged its start so many seconds ago, and nothing after it."""
    run = instance.create_run_for_job(nothing, tags=tags)
    instance.handle_new_event(
        dg.EventLogEntry(
            error_info=None,
            level=20,
            user_message="",
            run_id=run.run_id,
            timestamp=time.time() - seconds_ago,
            dagster_event=DagsterEvent(dg.DagsterEventType.RUN_START.value, run.job_name),
        )
    )
    return run


def health(instance: dg.DagsterInstance, run: dg.DagsterRun) -> WorkerStatus:
    launcher = instance.run_launcher
    assert isinstance(launcher, LocalRunLauncher)
    return launcher.check_run_worker_health(run).status


def test_a_run_that_has_just_begun_is_at_work(instance):
    assert health(instance, started(instance, seconds_ago=1)) is WorkerStatus.RUNNING


def test_a_run_of_which_nothing_came_after_its_start_is_dead(instance):
    assert health(instance, started(instance, seconds_ago=11)) is WorkerStatus.FAILED


def test_a_run_of_another_project_that_logs_is_not_ours_to_judge(instance):
    run = started(instance, seconds_ago=500)
    instance.report_engine_event("Executing steps in another way", run)
    assert health(instance, run) is WorkerStatus.RUNNING


def test_a_run_is_at_work_while_its_process_lives(instance):
    run = started(instance, seconds_ago=500, **{WORKER_TAG: identity()})
    assert health(instance, run) is WorkerStatus.RUNNING


def test_a_run_is_dead_when_its_process_is_another_that_has_its_pid(instance):
    host_and_pid, _, created = identity().rpartition(":")
    before = f"{host_and_pid}:{float(created) - 100:.2f}"
    run = started(instance, seconds_ago=500, **{WORKER_TAG: before})
    assert health(instance, run) is WorkerStatus.FAILED
