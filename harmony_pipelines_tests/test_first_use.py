import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import pytest

from harmony_pipelines.first_use import make_tables

MEET = """
import sys, time
from pathlib import Path
import dagster
from harmony_pipelines.first_use import make_tables
home, at = sys.argv[1:]
time.sleep(max(0, float(at) - time.time()))
make_tables(Path(home))
with dagster.DagsterInstance.from_config(home) as instance:
    instance.get_run_records(limit=1)
"""


def test_the_tables_are_made_once(tmp_path: Path) -> None:
    make_tables(tmp_path)
    (tmp_path / "dagster.yaml").write_text("this is no setting of Dagster's: 1")
    make_tables(tmp_path)


def test_a_home_that_dagster_refuses_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("this is no setting of Dagster's: 1")
    with pytest.raises(dg.DagsterError):
        make_tables(tmp_path)
    (tmp_path / "dagster.yaml").unlink()
    make_tables(tmp_path)
    assert (tmp_path / "history" / "runs.db").exists()


@pytest.mark.slow
def test_processes_that_meet_an_empty_home_at_one_moment_do_not_crash_each_other(
    tmp_path: Path,
) -> None:
    at = str(time.time() + 15)
    command = [sys.executable, "-c", MEET, str(tmp_path), at]
    several = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(4)]
    assert [(each.communicate(timeout=60)[1][-500:], each.returncode) for each in several] == [
        ("", 0)
    ] * 4
