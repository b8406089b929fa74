"""The machine fails under real runs: what it was is said, nothing is lost, the next run goes on."""

import contextlib
import hashlib
import sqlite3
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients.database import BUSY_SECONDS
from harmony_pipelines.definitions import defs
from harmony_pipelines_tests.conftest import failure_in
from harmony_pipelines_tests.lifecycle.dev_process import wait_until
from harmony_pipelines_tests.lifecycle.mounts import (
    disk,
    fill,
    read_only,
    silent_share,
    unmounted,
)
from harmony_pipelines_tests.lifecycle.user import DEFINITIONS, User

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

_KEPT = (
    "watchlist",
    "watchlist_review",
    "spotify_artists",
    "spotify_albums",
    "spotify_tracks",
    "new_releases",
    "beets_albums",
    "beets_tracks",
    "album_matches",
    "missing_from_library",
    "artwork_results",
)


class Here:
    """A user whose jobs run in this process, on this machine's real file systems."""

    def __init__(self, user: User, instance: dg.DagsterInstance) -> None:
        self.home, self.server, self._instance = user.home, user.server, instance
        self._rows = user.rows

    def run(self, job: str = "refresh_catalogue") -> Mapping[str, Any] | None:
        """How it failed, None if it did not."""
        result = defs.resolve_job_def(job).execute_in_process(
            instance=self._instance, raise_on_error=False
        )
        return None if result.success else failure_in(result)

    def fails(self, code: str, reason: str, job: str = "refresh_catalogue") -> str:
        """Its message."""
        told = self.run(job)
        assert told is not None
        assert (told["code"], told["details"]["reason"]) == (code, reason)
        return told["message"]

    def works(self, *jobs: str) -> None:
        for job in jobs or ("refresh_catalogue",):
            assert self.run(job) is None

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that is in the catalogue."""
        return {name: self._rows(f"SELECT * FROM {name} ORDER BY 1, 2, 3") for name in _KEPT}

    def keys(self) -> set[tuple[Any, ...]]:
        """What the catalogue knows of, by table and key."""
        return {(name, *row[:2]) for name, rows in self.rows().items() for row in rows}

    def music(self) -> dict[Path, str]:
        found = sorted(path for path in self.home.music.rglob("*") if path.is_file())
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}

    def refreshes_all(self) -> None:
        """The next run finds all artists due and refreshes them."""
        assert self._rows("SELECT DISTINCT status FROM refresh_state") == [("complete",)]
        self.works()
        due = self._rows("SELECT min(next_due_at) FROM refresh_state")
        assert due > [("2001",)]


@pytest.fixture
def here(user: User, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> Here:
    for name, value in user.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DAGSTER_HOME")
    here = Here(user, instance)
    here.works()
    user.make_all_due()
    return here


@pytest.mark.parametrize("left", [0, 20_000, 40_000])
def test_a_full_disk_under_the_catalogue_costs_no_row_and_no_artist(here: Here, left: int) -> None:
    before = here.keys()
    with disk(here.home.database.parent, "6m"):
        ballast = fill(here.home.database.parent, left)

        here.fails("DEPENDENCY_ERROR", "disk_full")

        ballast.unlink()
        assert here.keys() == before
        here.refreshes_all()


def test_a_full_disk_under_the_library_changes_no_file(here: Here) -> None:
    before = here.music()
    with disk(here.home.music, "48m"):
        ballast = fill(here.home.music)

        assert "full" in here.fails("DEPENDENCY_ERROR", "disk_full", "embed_artwork")

        ballast.unlink()
        assert here.music() == before
        here.works("embed_artwork")
        assert here.music() != before


def test_a_read_only_library_is_left_alone(here: Here) -> None:
    before = here.music()
    with read_only(here.home.music):
        here.works("embed_artwork")
        statuses = here.rows()["artwork_results"]
        assert {"read_only"} <= {str(each) for row in statuses for each in row}
    assert here.music() == before
    here.works("embed_artwork")
    assert here.music() != before


def test_an_unmounted_share_changes_nothing_downstream(here: Here) -> None:
    here.works("embed_artwork")
    rows, files = here.rows(), here.music()
    with unmounted(here.home.music):
        here.fails("VALIDATION_ERROR", "path_not_mapped", "embed_artwork")
    assert (here.rows(), here.music()) == (rows, files)
    here.works("embed_artwork")
    assert here.music() == files


def test_a_silent_share_is_named_in_time_and_a_dead_one_too(here: Here) -> None:
    here.works("embed_artwork")
    rows, files = here.rows(), here.music()
    with silent_share(here.home.music) as share:
        began = time.monotonic()
        here.fails("DEPENDENCY_ERROR", "share_hung", "embed_artwork")
        here.fails("DEPENDENCY_ERROR", "share_hung", "check_setup")
        assert time.monotonic() - began < 90
        share.die()
        here.fails("DEPENDENCY_ERROR", "share_stale", "embed_artwork")
        here.fails("DEPENDENCY_ERROR", "share_stale", "check_setup")
    assert (here.rows(), here.music()) == (rows, files)
    here.works("embed_artwork")
    assert here.music() == files


def test_a_database_that_another_program_locks_is_a_conflict_after_the_limit(here: Here) -> None:
    before = here.rows()
    with contextlib.closing(sqlite3.connect(here.home.database)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        assert "another program" in here.fails("CONFLICT", "locked")
        assert BUSY_SECONDS <= time.monotonic() - began < 3 * BUSY_SECONDS
    assert here.rows() == before
    here.refreshes_all()


@pytest.mark.parametrize("job", ["refresh_catalogue", "embed_artwork", "apply_retention"])
def test_a_home_that_may_not_be_written_is_read_only(here: Here, job: str) -> None:
    before = here.rows()
    with read_only(here.home.database.parent):
        here.fails("DEPENDENCY_ERROR", "read_only", job)
    assert here.rows() == before
    here.refreshes_all()


def command(user: User, *before: str) -> tuple[int, str]:
    """Exit code and all that is printed."""
    dagster = [sys.executable, "-m", "dagster", "job", "execute", *DEFINITIONS]
    done = subprocess.run(
        [*before, *dagster, "-j", "refresh_catalogue"],
        cwd=user.home.folder,
        env=user.environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def test_a_home_on_a_network_file_system_is_refused_also_one_that_is_silent(user: User) -> None:
    user.environment["HARMONY_RUN_MAX_SECONDS"] = "60"
    with silent_share(user.home.database.parent):
        code, printed = command(user)
    assert code == 1
    assert "Failed: VALIDATION_ERROR: HARMONY_HOME" in printed
    assert "network file system (fuse.sshfs)" in printed
    assert command(user)[0] == 0


@pytest.mark.parametrize("left", [0, 60_000])
def test_a_full_disk_under_dagster_is_told_without_a_traceback(user: User, left: int) -> None:
    with disk(user.home.dagster_home, "8m"):
        ballast = fill(user.home.dagster_home, left)
        code, printed = command(user)
        assert code == 1
        assert printed.startswith("Failed: DEPENDENCY_ERROR: Dagster's own storage")
        assert "disk is full" in printed
        assert "Traceback" not in printed
        assert user.server.count() == 0

        ballast.unlink()
        code, printed = command(user)
        assert code == 0, printed
        assert user.rows("SELECT DISTINCT status FROM refresh_state") == [("complete",)]


def test_a_disk_that_fills_up_under_dagster_in_mid_run_is_told_and_the_next_run_works(
    user: User,
) -> None:
    user.server.latency_s = 0.2
    with disk(user.home.dagster_home, "12m"):
        job = user.job("refresh_catalogue")
        wait_until(lambda: user.server.count() >= 5, 60)
        ballast = fill(user.home.dagster_home)
        printed, _ = job.communicate(timeout=120)
        assert job.returncode == 1
        assert printed.startswith("Failed: DEPENDENCY_ERROR: Dagster's own storage")
        assert "the disk is full" in printed

        ballast.unlink()
        user.server.latency_s = 0.0
        code, printed = command(user)
        assert code == 0, printed
        assert user.rows("SELECT DISTINCT status FROM refresh_state") == [("complete",)]


def test_a_dagster_home_that_may_not_be_written_is_told_without_a_traceback(user: User) -> None:
    with read_only(user.home.dagster_home):
        code, printed = command(user)
    assert code == 1
    assert printed.startswith("Failed: DEPENDENCY_ERROR: Dagster's own storage")
    assert "Traceback" not in printed


def test_a_process_without_descriptors_says_so_and_loses_nothing(user: User) -> None:
    code, printed = command(user, "sh", "-c", 'ulimit -n 20; exec "$@"', "sh")
    assert code == 1
    assert "raise the limit (`ulimit -n`)" in printed
    assert "Stack Trace" not in printed
    code, printed = command(user)
    assert code == 0, printed
    assert user.rows("SELECT DISTINCT status FROM refresh_state") == [("complete",)]
