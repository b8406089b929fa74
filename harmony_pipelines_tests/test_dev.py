import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from harmony_pipelines import dev
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError


def test_a_dagster_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.write_text("")
    with pytest.raises(HarmonyError) as caught, dev._held(home):
        pass
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert f"DAGSTER_HOME {home}" in caught.value.message


def test_a_dagster_home_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    with dev._held(tmp_path), pytest.raises(HarmonyError) as caught, dev._held(tmp_path):
        pass
    assert caught.value.code is ErrorCode.CONFLICT
    assert f"process {os.getpid()}" in caught.value.message
    with dev._held(tmp_path):
        pass


def test_an_empty_dagster_home_gets_our_limits(tmp_path: Path) -> None:
    assert not [said for said in dev._prepare_dagster_home(tmp_path) if "dagster.yaml" in said]
    assert (tmp_path / "dagster.yaml").read_bytes() == (dev.PROJECT / "dagster.yaml").read_bytes()


def test_what_is_stopped_is_said() -> None:
    @dg.job
    def work() -> None: ...

    nightly = dg.ScheduleDefinition(name="nightly", job=work, cron_schedule="0 4 * * *")
    hourly = dg.ScheduleDefinition(
        name="hourly",
        job=work,
        cron_schedule="0 * * * *",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    defs = dg.Definitions(jobs=[work], schedules=[nightly, hourly])
    with dg.instance_for_test() as instance:
        [said] = dev._stopped(instance, defs)
        assert said.startswith("Stopped: nightly. ")
        assert dev._stopped(instance, dg.Definitions(schedules=[hourly])) == []


def test_a_dagster_yaml_without_run_monitoring_stays_and_is_said(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    said = "".join(dev._prepare_dagster_home(tmp_path))
    assert "lacks run_monitoring" in said
    assert "lacks our run_launcher" in said
    assert (tmp_path / "dagster.yaml").read_text() == "telemetry: {enabled: false}\n"


def test_a_dagster_yaml_that_limits_no_ad_hoc_run_and_retries_runs_is_said(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(
        "run_monitoring: {enabled: true}\nrun_retries: {enabled: true}\n"
    )
    said = "".join(dev._prepare_dagster_home(tmp_path))
    assert "lacks run_monitoring: max_runtime_seconds" in said
    assert "lacks run_retries: {enabled: false}" in said


@pytest.mark.parametrize("text", ["nonsense: 1\n", "a: [\n"])
def test_a_dagster_yaml_that_dagster_refuses_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(text)
    with pytest.raises(HarmonyError) as caught:
        dev._prepare_dagster_home(tmp_path)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert str(tmp_path / "dagster.yaml") in caught.value.message


@pytest.mark.slow
def test_a_dot_env_that_is_no_text_is_named_without_a_traceback(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfeHARMONY_UI_PORT=1\n")
    program = (
        "import sys, pathlib, harmony_pipelines.dev as dev;"
        "dev.PROJECT = pathlib.Path(sys.argv.pop());"
        "sys.exit(dev.main())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("VALIDATION_ERROR: ")
    assert ".env" in ended.stderr
    assert "Traceback" not in ended.stderr
