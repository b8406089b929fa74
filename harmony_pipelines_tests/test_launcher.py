"""What is noticed of a `dagster.yaml` that is not ours, and what is thought of a run's worker."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.events import DagsterEvent
from dagster._core.launcher.base import WorkerStatus

from harmony_pipelines.clients.processes import identity
from harmony_pipelines.launcher import LocalRunLauncher, missing_fences
from harmony_pipelines.runs import WORKER_TAG

OURS = Path(__file__).parents[1] / "dagster.yaml"


def lacks(home: Path, **changed: Any) -> list[str]:
    """What our `dagster.yaml` lacks once these of its parts are changed."""
    whole = yaml.safe_load(OURS.read_text("utf-8"))
    for part, values in changed.items():
        whole[part] = {**whole[part], **values}
    (home / "dagster.yaml").write_text(yaml.safe_dump(whole))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        return missing_fences(instance)


def test_our_dagster_yaml_lacks_nothing(tmp_path: Path) -> None:
    assert lacks(tmp_path) == []


def test_dagsters_own_defaults_lack_the_launcher_and_the_monitoring(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert missing_fences(instance) == ["our run_launcher", "run_monitoring"]


def test_monitoring_that_is_only_switched_on_lacks_what_dagster_gives_no_good_default(
    tmp_path: Path,
) -> None:
    (tmp_path / "dagster.yaml").write_text("run_monitoring: {enabled: true}\n")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert missing_fences(instance) == [
            "our run_launcher",
            "run_monitoring: poll_interval_seconds (at most 30)",
            "run_monitoring: max_runtime_seconds",
            "run_monitoring: free_slots_after_run_end_seconds (at most 600)",
        ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("poll_interval_seconds", 120, "poll_interval_seconds (at most 30)"),
        ("start_timeout_seconds", 0, "start_timeout_seconds (at most 600)"),
        ("start_timeout_seconds", 3600, "start_timeout_seconds (at most 600)"),
        ("cancel_timeout_seconds", 0, "cancel_timeout_seconds (at most 600)"),
        ("max_runtime_seconds", 0, "max_runtime_seconds"),
        ("free_slots_after_run_end_seconds", 0, "free_slots_after_run_end_seconds (at most 600)"),
    ],
)
def test_each_part_of_the_monitoring_that_is_off_or_too_slow_is_named(
    name: str, value: int, said: str, tmp_path: Path
) -> None:
    assert lacks(tmp_path, run_monitoring={name: value}) == [f"run_monitoring: {said}"]


def test_monitoring_that_is_off_is_one_fault_and_not_six(tmp_path: Path) -> None:
    assert lacks(tmp_path, run_monitoring={"enabled": False}) == ["run_monitoring"]


def test_run_retries_that_are_on_are_named(tmp_path: Path) -> None:
    assert lacks(tmp_path, run_retries={"enabled": True}) == ["run_retries: {enabled: false}"]


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
