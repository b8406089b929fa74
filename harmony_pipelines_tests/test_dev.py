import subprocess
import sys
from pathlib import Path

import pytest

from harmony_pipelines import dev
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError


def test_a_dagster_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.write_text("")
    with pytest.raises(HarmonyError) as caught:
        dev._prepare_dagster_home(home)
    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert f"DAGSTER_HOME {home}" in caught.value.message


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
