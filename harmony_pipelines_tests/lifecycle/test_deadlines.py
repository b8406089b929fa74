"""A run that hangs ends at its limit, however it hangs and however it was started."""

import json
import os
import signal
import time

import dagster as dg
import psutil
import pytest

from harmony_pipelines.domain.errors import ErrorCode
from harmony_pipelines.runs import LIMIT_TAG, MAX_RUNTIME_TAG, WORKER_TAG
from harmony_pipelines_tests.lifecycle.dev_process import Dev, wait_until
from harmony_pipelines_tests.lifecycle.hang_matrix import (
    CELLS,
    SLACK_SECONDS,
    STOCK,
    covering_pairs,
    pairs,
)
from harmony_pipelines_tests.lifecycle.hanging import (
    EXECUTORS,
    HANGS,
    LIMIT_SECONDS,
    in_executor,
    schedule_name,
)
from harmony_pipelines_tests.lifecycle.place import MODULE, OURS, Place, left_of

KINDS = [hang.__name__ for hang in HANGS]
WORST = ["threads", "children", "c_loop", "stopped"]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def is_over(dev: Dev, run_id: str) -> bool:
    return dev.runs()[run_id] in ("SUCCESS", "FAILURE", "CANCELED")


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path, OURS)


def test_few_cells_of_the_matrix_hold_every_pair_of_values():
    chosen = covering_pairs(CELLS)

    assert set().union(*map(pairs, chosen)) == set().union(*map(pairs, CELLS))
    assert len(chosen) < len(CELLS) / 6


@pytest.mark.parametrize("executor", EXECUTORS)
def test_every_kind_of_hang_ends_on_the_command_line_without_a_daemon(place, executor):
    kinds = KINDS if executor == "in_process" else WORST
    config = place.home / "executor.yaml"
    config.write_text(json.dumps(in_executor(executor)))

    commands = [place.execute(kind, "-c", str(config)) for kind in kinds]
    for command in commands:
        command.ended(120)

    assert all(command.returncode for command in commands)
    records = place.records()
    assert sorted(r.dagster_run.job_name for r in records) == sorted(kinds)
    for record in records:
        assert_ended_at_its_limit(place, record)
    assert place.execute("healthy").ended(60)
    assert place.records()[0].dagster_run.is_success


def test_an_asset_materialised_on_the_command_line_ends_at_the_limit_of_the_settings(place):
    place.environment["HARMONY_RUN_MAX_SECONDS"] = str(LIMIT_SECONDS)

    command = place.begin("asset", "materialize", "-m", MODULE, "--select", "asset_sleep")
    command.ended(60)

    assert command.returncode
    (record,) = place.records()
    assert record.dagster_run.tags[MAX_RUNTIME_TAG] == str(LIMIT_SECONDS)
    assert_ended_at_its_limit(place, record)


def test_every_kind_of_hang_ends_under_a_daemon_and_the_next_run_works(place):
    with place.dev() as dev:
        runs = [dev.launch(kind) for kind in KINDS]
        wait_until(lambda: all(is_over(dev, run_id) for run_id in runs), 150)
        for record in place.records():
            assert_ended_at_its_limit(place, record)

        healthy = dev.launch("healthy")
        wait_until(lambda: is_over(dev, healthy), 60)
        assert dev.runs()[healthy] == "SUCCESS"


def test_the_watchdog_alone_holds_where_dagster_yaml_is_not_ours(tmp_path):
    place = Place(tmp_path, STOCK)
    with place.dev() as dev:
        runs = [dev.launch(kind) for kind in ("c_loop", "stopped", "threads")]
        wait_until(lambda: all(is_over(dev, run_id) for run_id in runs), 150)
        for record in place.records():
            wait_until(lambda run=record.dagster_run: not left_of(run), SLACK_SECONDS)
            assert record.dagster_run.status is dg.DagsterRunStatus.FAILURE
            assert_dagster_comes_after_the_watchdog(record.dagster_run)

        healthy = dev.launch("healthy")
        wait_until(lambda: is_over(dev, healthy), 120)
        assert dev.runs()[healthy] == "SUCCESS"


def assert_dagster_comes_after_the_watchdog(run: dg.DagsterRun) -> None:
    """Its own launcher would wedge the code server over a worker that is frozen."""
    assert run.tags[LIMIT_TAG] == str(LIMIT_SECONDS)
    assert int(run.tags[MAX_RUNTIME_TAG]) > LIMIT_SECONDS


def test_a_scheduled_run_that_hangs_and_a_queued_one_end_too(place):
    with place.dev() as dev:
        dev.switch_on(schedule_name("c_loop", "in_process"))
        workspace = place.home / "workspace.yaml"
        workspace.write_text(
            f"load_from:\n  - python_module: {{module_name: {MODULE}, working_directory: .}}\n"
        )
        launched = place.begin("job", "launch", "-w", str(workspace), "-j", "stopped")
        said = launched.ended(60)
        assert launched.returncode == 0, said

        def ended() -> set[str]:
            return {r.dagster_run.job_name for r in place.records() if r.end_time}

        wait_until(lambda: ended() == {"c_loop", "stopped"}, 150)
        for record in place.records():
            assert_ended_at_its_limit(place, record)


def assert_ended_at_its_limit(place: Place, record: dg.RunRecord) -> None:
    run = record.dagster_run
    said = place.failure(run.run_id)
    assert run.status is dg.DagsterRunStatus.FAILURE, (run.job_name, run.status)
    assert record.start_time and record.end_time
    assert record.end_time - record.start_time < LIMIT_SECONDS + SLACK_SECONDS, run.job_name
    assert f"limit of {LIMIT_SECONDS} s" in said, said
    wait_until(lambda: not left_of(run), SLACK_SECONDS)


def test_without_a_dagster_home_a_run_that_hangs_ends_too_and_says_why(place):
    del place.environment["DAGSTER_HOME"]

    commands = [place.execute(kind) for kind in ("c_loop", "swallow")]

    for command in commands:
        said = command.ended(60)
        assert command.returncode
        assert f"{ErrorCode.DEADLINE_EXCEEDED}: the run took longer than its limit" in said


def test_what_a_run_leaves_behind_goes_with_it(place):
    command = place.execute("leaves_children")
    command.wait(60)

    (record,) = place.records()
    assert command.returncode == 0
    assert left_of(record.dagster_run) == []


def test_a_killed_worker_is_a_failed_run_also_without_a_daemon(place):
    command = place.execute("children")
    wait_until(lambda: any(r.start_time for r in place.records()), 30)
    time.sleep(1)

    command.kill()
    command.wait(20)

    run = wait_until(lambda: [r.dagster_run for r in place.records() if r.end_time], 20)[0]
    assert "died" in place.failure(run.run_id)
    wait_until(lambda: not left_of(run), 5)


def test_ctrl_c_ends_a_run_on_the_command_line_and_its_watchdog(place):
    command = place.execute("children")
    wait_until(lambda: any(r.start_time for r in place.records()), 30)
    time.sleep(1)
    watchdogs = [child for child in psutil.Process(command.pid).children() if is_watchdog(child)]

    command.send_signal(signal.SIGINT)
    command.wait(5)

    assert command.returncode
    assert len(watchdogs) == 1
    wait_until(lambda: not any(is_alive(each) for each in watchdogs), 5)
    assert place.records()[0].dagster_run.is_finished
    assert left_of(place.records()[0].dagster_run) == []


def is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def is_watchdog(process: psutil.Process) -> bool:
    return "harmony_pipelines.watchdog" in process.cmdline()


def test_a_hung_run_is_cancelled_within_seconds_and_the_next_run_works(place):
    with place.dev() as dev:
        for kind in ("threads", "swallow", "children", "c_loop", "stopped"):
            run_id = dev.launch(kind)
            wait_until(lambda run=run_id: dev.runs()[run] == "STARTED", 60)
            time.sleep(1)
            began = time.monotonic()
            dev.terminate(run_id)
            wait_until(lambda run=run_id: is_over(dev, run), 20)
            took = time.monotonic() - began
            assert (kind, dev.runs()[run_id]) == (kind, "CANCELED")
            assert took < 6, kind
            wait_until(lambda: not left_of(place.records()[0].dagster_run), 3)

        healthy = dev.launch("healthy")
        wait_until(lambda: is_over(dev, healthy), 60)
        assert dev.runs()[healthy] == "SUCCESS"


def test_the_outer_fence_alone_fails_a_run_at_its_limit_and_calls_it_no_cancellation(place):
    with place.dev() as dev:
        run_id = dev.launch("sleep")
        wait_until(lambda: dev.runs()[run_id] == "STARTED", 60)
        worker = wait_until(lambda: place.records()[0].dagster_run.tags.get(WORKER_TAG), 10)
        process = psutil.Process(int(worker.split(":")[-2]))
        [watchdog] = wait_until(lambda: [c for c in process.children() if is_watchdog(c)], 10)

        watchdog.kill()

        wait_until(lambda: is_over(dev, run_id), LIMIT_SECONDS + 15)
        assert dev.runs()[run_id] == "FAILURE"
        assert f"limit of {LIMIT_SECONDS} s in step op_sleep" in place.failure(run_id)
        wait_until(lambda: not left_of(place.records()[0].dagster_run), 5)


def test_a_run_says_what_the_dagster_yaml_around_it_lacks(tmp_path):
    place = Place(tmp_path, STOCK)

    place.execute("healthy").ended(60)

    with place.instance() as instance:
        [run] = instance.get_runs()
        said = [entry.user_message for entry in instance.all_logs(run.run_id)]
    [warning] = [line for line in said if "lacks" in line]
    assert "our run_launcher, run_monitoring: max_runtime_seconds" in warning


def test_a_worker_killed_under_a_daemon_is_a_failed_run_within_two_polls(place):
    with place.dev() as dev:
        run_id = dev.launch("sleep")
        wait_until(lambda: dev.runs()[run_id] == "STARTED", 60)
        wait_until(lambda: place.records()[0].dagster_run.tags.get("harmony/worker"), 10)
        pid = int(place.records()[0].dagster_run.tags["harmony/worker"].split(":")[-2])

        os.kill(pid, signal.SIGKILL)

        wait_until(lambda: is_over(dev, run_id), 11)
        assert dev.runs()[run_id] == "FAILURE"
