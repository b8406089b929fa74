"""Ctrl-C and SIGTERM end a run within seconds, whatever it waits for, and leave nothing behind."""

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time

import dagster as dg
import pytest

from harmony_pipelines.clients.safe_write import album_lock
from harmony_pipelines.demo import faults
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines_tests.lifecycle.dev_process import Dev, dev, wait_until
from harmony_pipelines_tests.lifecycle.place import left_of
from harmony_pipelines_tests.lifecycle.user import DEFINITIONS

SOON = 5
"""Seconds."""

LARGE_FILE_BYTES = 4 << 30
"""Far more than is copied in the moment that it takes to say stop; as good as nothing on disk."""

LARGE_LIBRARY_TRACKS = 150_000

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@contextlib.contextmanager
def a_slow_spotify(user):
    user.server.faults.add("/v1/artists/*/albums*", faults.hang(), times=None)
    yield lambda: user.server.count("artist_albums")
    user.server.faults.clear()


@contextlib.contextmanager
def told_to_wait(user):
    user.server.faults.add("/v1/artists/*/albums*", faults.rate_limited(30), times=9)
    yield lambda: user.server.count("artist_albums")
    user.server.faults.clear()


@contextlib.contextmanager
def a_database_in_use(user):
    with contextlib.closing(sqlite3.connect(user.home.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield lambda: is_at_work(user)
        other.execute("ROLLBACK")


@contextlib.contextmanager
def a_slow_download(user):
    user.server.latency_s = 30
    yield lambda: step_of(user) == "embedded_artwork.download_covers"
    user.server.latency_s = 0


@contextlib.contextmanager
def an_album_in_use(user):
    with contextlib.ExitStack() as stack:
        for (album,) in user.rows("select beets_album_id from beets_albums"):
            locks = user.home.database.parent / "locks"
            stack.enter_context(album_lock(locks, str(album), Deadline.after(9)))
        yield lambda: step_of(user) == "embedded_artwork.embed_covers"


@contextlib.contextmanager
def a_large_file(user):
    """The file of an album that the run comes to first is large; it is being copied."""
    file = user.home.music / "Lumen Tide" / "Night Ferry" / "01 Harbour Lights.flac"
    size = file.stat().st_size
    os.truncate(file, LARGE_FILE_BYTES)
    yield lambda: any(copy.stat().st_size > size for copy in file.parent.glob(".harmony-*"))
    assert file.stat().st_size == LARGE_FILE_BYTES
    os.truncate(file, size)


@contextlib.contextmanager
def a_large_library(user):
    """The library's tracks are being written, all in one transaction."""
    with contextlib.closing(sqlite3.connect(user.home.library)) as library, library:
        columns = [row[1] for row in library.execute("pragma table_info(items)")]
        copied = ", ".join(name for name in columns if name not in ("id", "album_id"))
        library.execute(
            f"with recursive n(i) as (values (1000) union all select i + 1 from n where i < ?) "
            f"insert into items (id, album_id, {copied}) "
            f"select i, null, {copied} from n, items where items.id = 1",
            [1000 + LARGE_LIBRARY_TRACKS],
        )
    yield lambda: step_of(user) == "snapshot_library" and is_being_written(user.home.database)
    with contextlib.closing(sqlite3.connect(user.home.library)) as library, library:
        library.execute("delete from items where id >= 1000")


def is_being_written(database):
    with contextlib.closing(sqlite3.connect(database, timeout=0, isolation_level=None)) as other:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return True
        other.execute("ROLLBACK")
        return False


def is_at_work(user):
    return user.records()[0].start_time is not None


def step_of(user):
    record = user.records()[0]
    with user.instance() as instance:
        stats = instance.get_run_step_stats(record.dagster_run.run_id)
    return next((s.step_key for s in stats if s.start_time and not s.end_time), None)


@pytest.mark.parametrize(
    ("job", "moment"),
    [
        ("refresh_catalogue", a_slow_spotify),
        ("refresh_catalogue", told_to_wait),
        ("refresh_catalogue", a_database_in_use),
        ("embed_artwork", a_slow_download),
        ("embed_artwork", an_album_in_use),
        ("embed_artwork", a_large_file),
        ("embed_artwork", a_large_library),
    ],
)
def test_ctrl_c_ends_a_run_within_seconds_and_the_next_one_does_the_rest(user, job, moment):
    if moment not in (a_slow_spotify, told_to_wait):
        user.job("refresh_catalogue").communicate(timeout=120)
    with moment(user) as is_reached:
        runs = len(user.records())
        process = user.job(job)
        wait_until(lambda: len(user.records()) > runs and is_reached(), 120)
        time.sleep(0.5)

        told = time.monotonic()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        took = time.monotonic() - told

    run = user.records()[0].dagster_run
    assert process.returncode != 0
    assert (run.status, took < SOON) == (dg.DagsterRunStatus.CANCELED, True), took
    assert (left_of(run), user.locks_held()) == ([], [])
    code, _, printed = user.dagster("job", "execute", *DEFINITIONS, "-j", job)
    assert code == 0, printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_command_that_a_script_left_in_the_background_is_stopped_too(user, number):
    user.server.faults.add("/v1/artists/*/albums*", faults.hang(), times=None)
    arguments = ["job", "execute", *DEFINITIONS, "-j", "refresh_catalogue"]
    process = subprocess.Popen(
        ["sh", "-c", "trap '' INT; exec \"$@\"", "sh", sys.executable, "-m", "dagster", *arguments],
        cwd=user.home.folder,
        env=user.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: user.server.count("artist_albums"), 60)

    told = time.monotonic()
    process.send_signal(number)
    process.wait(60)

    assert time.monotonic() - told < SOON
    assert user.records()[0].dagster_run.status is dg.DagsterRunStatus.CANCELED


@pytest.fixture
def served(user):
    user.job("refresh_catalogue").communicate(timeout=120)
    with dev(user.environment) as served:
        yield served


def ended_by(terminate, user, served: Dev, moment) -> None:
    """Cancel a run of embed_artwork in the moment; it is over soon, and leaves nothing.

    `terminate` returns when it said so.
    """
    with moment(user) as is_reached:
        run_id = served.launch("embed_artwork")
        wait_until(lambda: served.runs()[run_id] == "STARTED" and is_reached(), 120)
        told = terminate(run_id)
        wait_until(lambda: served.runs()[run_id] == "CANCELED", 30)
        took = time.monotonic() - told
        wait_until(lambda: not (left_of(user.records()[0].dagster_run) or user.locks_held()), SOON)

    assert took < SOON, (moment, took)


def ended_well(served: Dev, job: str) -> bool:
    run_id = served.launch(job)
    wait_until(lambda: served.runs()[run_id] in ("SUCCESS", "FAILURE", "CANCELED"), 120)
    return served.runs()[run_id] == "SUCCESS"


@pytest.mark.parametrize("moment", [a_large_file, a_large_library, a_slow_download])
def test_terminate_ends_a_run_within_seconds_and_the_next_one_does_the_rest(user, served, moment):
    def terminate(run_id: str) -> float:
        told = time.monotonic()
        served.terminate(run_id)
        return told

    ended_by(terminate, user, served, moment)

    assert ended_well(served, "embed_artwork")
    assert copies_left(user) == []
    assert user.rows("select count(*) from artwork_results where status = 'embedded'") == [(11,)]


def copies_left(user):
    return list(user.home.music.rglob(".harmony-*"))
