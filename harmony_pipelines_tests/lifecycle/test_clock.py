"""The clock of the machine is set back an hour, before a run and in the middle of one."""

import shutil
import subprocess
from pathlib import Path

import pytest

from harmony_pipelines_tests.lifecycle.dev_process import wait_until
from harmony_pipelines_tests.lifecycle.user import User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_SOURCE = Path(__file__).with_name("clock.c")
HOUR = 3600


class Clock:
    """What a user's processes take for the time of day."""

    def __init__(self, user: User, folder: Path) -> None:
        compiler = shutil.which("cc")
        if compiler is None:
            pytest.skip("another clock needs a C compiler")
        library, self._off = folder / "clock.so", folder / "seconds_off"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, _SOURCE, "-ldl"], check=True)
        self.off(0)
        user.environment |= {"LD_PRELOAD": str(library), "CLOCK_OFF": str(self._off)}

    def off(self, seconds: int) -> None:
        """Set it, for those as well who are running."""
        new = self._off.with_suffix(".new")
        new.write_text(str(seconds))
        new.replace(self._off)


@pytest.fixture
def clock(user: User, tmp_path: Path) -> Clock:
    return Clock(user, tmp_path)


def all_refreshed(user: User, job: subprocess.Popen[str]) -> str:
    """What the job says last; it failed nobody and left nobody due."""
    printed, logged = job.communicate(timeout=120)
    assert job.returncode == 0, logged
    assert user.rows("SELECT DISTINCT status FROM refresh_state") == [("complete",)]
    assert user.rows("SELECT count(*) FROM refresh_state WHERE next_due_at < '2001'") == [(0,)]
    return printed.splitlines()[-1]


def test_runs_by_a_clock_that_was_set_back_do_all_that_is_due(user: User, clock: Clock) -> None:
    assert "3 of 3" in all_refreshed(user, user.job("refresh_catalogue"))

    clock.off(-HOUR)
    asked = user.server.count()
    assert "0 of 0 due" in all_refreshed(user, user.job("refresh_catalogue"))
    assert user.server.count() == asked

    user.make_all_due()
    assert "3 of 3 due" in all_refreshed(user, user.job("refresh_catalogue"))
    assert "in 11 files" in all_refreshed(user, user.job("embed_artwork"))

    clock.off(0)
    asked = user.server.count()
    assert "0 of 0 due" in all_refreshed(user, user.job("refresh_catalogue"))
    assert user.server.count() == asked
    assert "in 0 files" in all_refreshed(user, user.job("embed_artwork"))


def test_a_clock_that_is_set_back_in_the_middle_ends_no_run_and_spares_no_artist(
    user: User, clock: Clock
) -> None:
    user.server.latency_s = 0.2
    job = user.job("refresh_catalogue")
    wait_until(lambda: user.server.count() > 10, 60)
    clock.off(-HOUR)
    assert "3 of 3 due" in all_refreshed(user, job)
