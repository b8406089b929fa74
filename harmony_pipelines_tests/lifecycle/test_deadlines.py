"""A run that hangs ends at its limit, however it hangs and however it was started."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from harmony_pipelines.clients.processes import MARK
from harmony_pipelines.domain.errors import ErrorCode
from harmony_pipelines.runs import MAX_RUNTIME_TAG
from harmony_pipelines_tests.lifecycle.dev_process import (
    Dev,
    free_port,
    nobodys_environment,
    wait_until,
)
from harmony_pipelines_tests.lifecycle.hanging import HANGS, LIMIT_SECONDS

MODULE = "harmony_pipelines_tests.lifecycle.hanging"
PROJECT = Path(__file__).parents[2]
KINDS = [hang.__name__ for hang in HANGS]
WORST = ["threads", "children", "c_loop", "stopped"]
STOCK = "run_monitoring: {enabled: true, poll_interval_seconds: 2}\ntelemetry: {enabled: false}\n"
SLACK_SECONDS = 10
IN_SEVERAL = "execution: {config: {multiprocess: {}}}"
SWITCH_ON = """
mutation($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


class Place:
    """A DAGSTER_HOME, and what happens in it."""

    def __init__(self, folder: Path, dagster_yaml: str | None) -> None:
        self.home = folder / "dagster"
        self.home.mkdir()
        if dagster_yaml is not None:
            (self.home / "dagster.yaml").write_text(dagster_yaml, encoding="utf-8")
        self.environment = {
            **nobodys_environment(),
            "DAGSTER_HOME": str(self.home),
            "HARMONY_HOME": str(folder / "harmony"),
        }
        with self.instance() as instance:
            instance.get_run_records(limit=1)
            instance.all_instigator_state()

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home))

    def begin(self, *arguments: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, "-m", "dagster", *arguments],
            cwd=PROJECT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def execute(self, job: str, *more: str) -> "subprocess.Popen[str]":
        return self.begin("job", "execute", "-m", MODULE, "-j", job, *more)

    def records(self) -> list[dg.RunRecord]:
        with self.instance() as instance:
            return list(instance.get_run_records())

    def failure(self, run_id: str) -> str:
        with self.instance() as instance:
            events = [entry.dagster_event for entry in instance.all_logs(run_id)]
        return " ".join(e.message or "" for e in events if e and e.is_job_failure)

    def assert_ended_at_its_limit(self, record: dg.RunRecord) -> None:
        run = record.dagster_run
        said = self.failure(run.run_id)
        assert run.status is dg.DagsterRunStatus.FAILURE, (run.job_name, run.status)
        assert record.start_time and record.end_time
        assert record.end_time - record.start_time < LIMIT_SECONDS + SLACK_SECONDS, run.job_name
        assert f"limit of {LIMIT_SECONDS} s" in said, said
        wait_until(lambda: not left_of(run.run_id), SLACK_SECONDS)

    @contextlib.contextmanager
    def dev(self) -> Iterator[Dev]:
        port = free_port()
        process = self.begin("dev", "-m", MODULE, "-p", str(port), "--log-level", "error")
        begun = Dev(process, port, MODULE)
        try:
            wait_until(begun.is_loaded, 90)
            yield begun
        finally:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=30)
            process.kill()
            assert process.stdout is not None
            process.stdout.close()


def left_of(run_id: str) -> list[str]:
    """The command lines of processes that a run started and that still run."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == run_id and process.status() != "zombie":
                found.append(" ".join(process.cmdline()))
    return found


def is_over(dev: Dev, run_id: str) -> bool:
    return dev.runs()[run_id] in ("SUCCESS", "FAILURE", "CANCELED")


@pytest.fixture
def place(tmp_path) -> Place:
    return Place(tmp_path, (PROJECT / "dagster.yaml").read_text("utf-8"))


@pytest.mark.parametrize("several", [False, True], ids=["in_process", "multiprocess"])
def test_every_kind_of_hang_ends_on_the_command_line_without_a_daemon(place, several):
    kinds = WORST if several else KINDS
    in_several = place.home / "several.yaml"
    in_several.write_text(IN_SEVERAL)
    config = ("-c", str(in_several)) if several else ()

    commands = {kind: place.execute(kind, *config) for kind in kinds}
    for command in commands.values():
        command.communicate(timeout=120)

    assert all(command.returncode for command in commands.values())
    records = place.records()
    assert sorted(r.dagster_run.job_name for r in records) == sorted(kinds)
    for record in records:
        place.assert_ended_at_its_limit(record)
        if not several:  # there a step may still be starting
            step = f"op_{record.dagster_run.job_name}"
            assert step in place.failure(record.dagster_run.run_id)
    assert place.execute("healthy").communicate(timeout=60)
    assert place.records()[0].dagster_run.is_success


def test_without_a_dagster_home_a_run_that_hangs_ends_too_and_says_why(place):
    del place.environment["DAGSTER_HOME"]

    commands = [place.execute(kind) for kind in ("c_loop", "swallow")]

    for command in commands:
        said, _ = command.communicate(timeout=60)
        assert command.returncode
        assert f"{ErrorCode.DEADLINE_EXCEEDED}: the run took longer than its limit" in said


def test_an_asset_materialised_on_the_command_line_ends_at_the_limit_of_the_settings(place):
    place.environment["HARMONY_RUN_MAX_SECONDS"] = str(LIMIT_SECONDS)

    command = place.begin("asset", "materialize", "-m", MODULE, "--select", "hanging_asset")
    command.communicate(timeout=60)

    assert command.returncode
    (record,) = place.records()
    assert record.dagster_run.tags[MAX_RUNTIME_TAG] == str(LIMIT_SECONDS)
    place.assert_ended_at_its_limit(record)


def test_what_a_run_leaves_behind_goes_with_it(place):
    command = place.execute("leaves_children")
    command.communicate(timeout=60)

    (record,) = place.records()
    assert command.returncode == 0
    assert left_of(record.dagster_run.run_id) == []


def test_a_killed_worker_is_a_failed_run_also_without_a_daemon(place):
    command = place.execute("children")
    wait_until(lambda: any(r.start_time for r in place.records()), 30)
    time.sleep(1)

    command.kill()
    command.communicate(timeout=20)

    run_id = place.records()[0].dagster_run.run_id
    wait_until(lambda: place.records()[0].dagster_run.is_finished, 20)
    assert "died" in place.failure(run_id)
    assert left_of(run_id) == []


def test_ctrl_c_ends_a_run_on_the_command_line_and_its_watchdog(place):
    command = place.execute("children")
    wait_until(lambda: any(r.start_time for r in place.records()), 30)
    time.sleep(1)
    watchdogs = [child for child in psutil.Process(command.pid).children() if is_watchdog(child)]

    command.send_signal(signal.SIGINT)
    command.communicate(timeout=5)

    assert command.returncode
    assert len(watchdogs) == 1
    assert psutil.wait_procs(watchdogs, 5)[1] == []
    assert place.records()[0].dagster_run.is_finished
    assert left_of(place.records()[0].dagster_run.run_id) == []


def is_watchdog(process: psutil.Process) -> bool:
    return "harmony_pipelines.watchdog" in process.cmdline()


def test_every_kind_of_hang_ends_under_a_daemon_and_the_next_run_works(place):
    with place.dev() as dev:
        runs = [dev.launch(kind) for kind in KINDS]
        wait_until(lambda: all(is_over(dev, run_id) for run_id in runs), 120)
        for record in place.records():
            place.assert_ended_at_its_limit(record)

        healthy = dev.launch("healthy")
        wait_until(lambda: is_over(dev, healthy), 60)
        assert dev.runs()[healthy] == "SUCCESS"


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
            wait_until(lambda run=run_id: not left_of(run), 3)

        healthy = dev.launch("healthy")
        wait_until(lambda: is_over(dev, healthy), 60)
        assert dev.runs()[healthy] == "SUCCESS"


def test_the_watchdog_alone_holds_where_dagster_yaml_is_not_ours(tmp_path):
    place = Place(tmp_path, STOCK)
    with place.dev() as dev:
        runs = [dev.launch(kind) for kind in ("c_loop", "stopped", "threads")]
        wait_until(lambda: all(is_over(dev, run_id) for run_id in runs), 90)
        for run_id in runs:
            wait_until(lambda run=run_id: not left_of(run), SLACK_SECONDS)
            assert dev.runs()[run_id] == "FAILURE"

        healthy = dev.launch("healthy")
        wait_until(lambda: is_over(dev, healthy), 60)
        assert dev.runs()[healthy] == "SUCCESS"
        with place.instance() as instance:
            said = [entry.user_message for entry in instance.all_logs(healthy)]
        assert any("lacks our run_launcher" in line for line in said)


def test_a_scheduled_run_that_hangs_and_a_queued_one_end_too(place):
    with place.dev() as dev:
        selector = {
            "repositoryLocationName": MODULE,
            "repositoryName": "__repository__",
            "scheduleName": "c_loop_schedule",
        }
        dev.ask(SWITCH_ON, s=selector)
        workspace = place.home / "workspace.yaml"
        workspace.write_text(
            f"load_from:\n  - python_module: {{module_name: {MODULE}, working_directory: .}}\n"
        )
        launched = place.begin("job", "launch", "-w", str(workspace), "-j", "stopped")
        said, _ = launched.communicate(timeout=60)
        assert launched.returncode == 0, said

        jobs = {"c_loop", "stopped"}
        wait_until(
            lambda: (
                {r.dagster_run.job_name for r in place.records() if r.dagster_run.is_finished}
                >= jobs
            ),
            120,
        )
        for record in place.records():
            if record.dagster_run.is_finished:
                place.assert_ended_at_its_limit(record)


def test_a_worker_killed_under_a_daemon_is_a_failed_run_within_two_polls(place):
    with place.dev() as dev:
        run_id = dev.launch("sleep")
        wait_until(lambda: dev.runs()[run_id] == "STARTED", 60)
        wait_until(lambda: place.records()[0].dagster_run.tags.get("harmony/worker"), 10)
        pid = int(place.records()[0].dagster_run.tags["harmony/worker"].split(":")[-2])

        os.kill(pid, signal.SIGKILL)

        wait_until(lambda: is_over(dev, run_id), 11)
        assert dev.runs()[run_id] == "FAILURE"
