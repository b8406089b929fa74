import errno
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.clients.library_files import telling_of
from harmony_pipelines.clients.telling import mtime_of
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.library import LibraryPaths

SELECTED = "SELECT path FROM items ORDER BY id"


class Library:
    """A private copy of a beets library whose items have these paths, and their folder."""

    def __init__(self, folder, stored, *path_map):
        self.stored, self.items = stored, len(stored)
        self.paths = LibraryPaths(os.fsencode(folder), path_map)
        self.copy = folder / "library.db"
        with closing(sqlite3.connect(self.copy)) as connection, connection:
            connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, path BLOB)")
            added = ((path,) for path in stored)
            connection.executemany("INSERT INTO items (path) VALUES (?)", added)

    def telling(self, deadline=None, seconds=10.0):
        deadline = deadline or Deadline.after(20)
        return telling_of(self.copy, SELECTED, self.paths, deadline, seconds)

    def told(self, **limits):
        with self.telling(**limits) as told:
            return told([self.paths.here(path) for path in self.stored])


def test_of_each_file_size_and_time_of_change_are_told_in_order(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    os.utime(tmp_path / "empty", ns=(0, -7))
    names = [b"file", b"none", b"folder", b"empty", b"n\0l", b"file/beneath", b""]
    before = {tmp_path / "library.db", *tmp_path.iterdir()}

    found = Library(tmp_path, names).told()

    told = [errno.ENOENT, 0, 0, errno.ENOENT, errno.ENOTDIR, errno.ENOENT]
    assert found[0] == (0, 5, (tmp_path / "file").stat().st_mtime_ns)
    assert [error for error, _, _ in found] == [0, *told]
    assert [size for _, size, _ in found] == [5, -1, -1, 0, -1, -1, -1]
    assert found[3][2] == -7
    assert set(tmp_path.iterdir()) == before


def test_a_file_is_looked_for_where_the_path_map_has_it_whatever_bytes_name_it(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / os.fsdecode(b"\xff")).write_bytes(b"123")
    folders = os.fsencode(tmp_path / "here"), os.fsencode(tmp_path)

    there, relative = Library(
        tmp_path, [b"/music/\xff", b"/n/here/\xff"], (b"/music", folders[0]), (b"/n", folders[1])
    ).told()

    assert there[:2] == relative[:2] == (0, 3)


def test_nothing_is_told_of_no_files_however_slow_the_child(tmp_path):
    assert Library(tmp_path, []).told(seconds=0.001) == []


def test_a_folder_that_no_system_has_holds_no_files(tmp_path):
    library = Library(tmp_path, [b"file"])
    library.paths = LibraryPaths(b"/n\0l")

    assert library.told() == [(errno.ENOENT, -1, 0)]


def test_a_copy_with_a_log_is_read_by_both_at_once(tmp_path):
    library = Library(tmp_path, [b"file"] * 1000)
    with closing(sqlite3.connect(library.copy)) as ours:
        ours.execute("PRAGMA journal_mode = WAL")
        with ours:
            ours.execute("UPDATE items SET path = x'6c6962726172792e6462'")  # library.db

        assert {size for _, size, _ in library.told()} == {library.copy.stat().st_size}


@pytest.mark.parametrize("year", [1500, 2400])
def test_a_file_of_a_time_that_no_database_holds_has_the_nearest_that_one_does(tmp_path, year):
    at = (year - 1970) * 31_556_952
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (at, at))
    found = (tmp_path / "file").stat()
    if found.st_mtime != at:
        pytest.skip("this file system has no such time")

    [(_, _, mtime)] = Library(tmp_path, [b"file"]).told()

    assert mtime == mtime_of(found) == (2**63 - 1 if at > 0 else 1 - 2**63)


@pytest.mark.parametrize("nanoseconds", [-(2**63), 1 - 2**63, -7, 0, 2**63 - 1, 2**63, 10**20])
def test_a_time_of_change_is_the_nearest_that_a_database_holds(nanoseconds):
    found = os.stat_result((0,) * 10, {"st_mtime_ns": nanoseconds})

    assert mtime_of(found) == min(max(nanoseconds, 1 - 2**63), 2**63 - 1)


def test_a_share_that_tells_nothing_for_too_long_is_named(tmp_path):
    with pytest.raises(HarmonyError) as refused:
        Library(tmp_path, [b"file"]).told(seconds=0.001)

    assert refused.value.reason is Reason.SHARE_HUNG
    assert refused.value.details["path"] == str(tmp_path / "file")


def test_the_deadline_of_the_caller_ends_the_telling(tmp_path):
    with pytest.raises(HarmonyError) as refused:
        Library(tmp_path, [b"file"]).told(deadline=Deadline.after(0.001))

    assert refused.value.code is ErrorCode.DEADLINE_EXCEEDED


def test_a_child_that_was_killed_has_not_told_all(tmp_path):
    library = Library(tmp_path, [b"none"] * 200_000)

    with library.telling() as told:
        [child] = _children()
        os.kill(child, signal.SIGKILL)
        with pytest.raises(HarmonyError) as refused:
            told([b""] * library.items)

    assert (refused.value.code, refused.value.reason) == (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.IO_ERROR,
    )


def test_no_child_and_no_file_outlives_who_gave_up(tmp_path):
    library = Library(tmp_path, [b"none"] * 200_000)

    with pytest.raises(ZeroDivisionError), library.telling():
        _ = 1 / 0

    assert _children() == []
    assert list(tmp_path.iterdir()) == [library.copy]


def test_answers_for_which_the_disk_has_no_room_are_refused_by_name(tmp_path):
    library = Library(tmp_path, [b"none"] * 1000)
    code = f"""
import os, resource, signal
from pathlib import Path
from harmony_pipelines.clients.library_files import telling_of
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.domain.library import LibraryPaths
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    copy, paths = Path({str(library.copy)!r}), LibraryPaths(b"/")
    with telling_of(copy, {SELECTED!r}, paths, Deadline.after(20)) as told:
        told([b"none"] * 1000)
except HarmonyError as error:
    print(error.code, error.reason)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == [ErrorCode.DEPENDENCY_ERROR, Reason.DISK_FULL]


@given(st.lists(st.binary(max_size=20), max_size=30))
def test_as_many_answers_come_as_there_are_items_whatever_their_paths(stored):
    with tempfile.TemporaryDirectory() as folder:
        library = Library(Path(folder), stored)

        found = library.told()

        assert len(found) == len(stored)
        for path, (_, size, _) in zip(map(library.paths.here, stored), found, strict=True):
            assert (size >= 0) == (b"\0" not in path and Path(os.fsdecode(path)).is_file())


def _children():
    listed = subprocess.run(
        ["ps", "-ww", "--ppid", str(os.getpid()), "-o", "pid=,args="],
        capture_output=True,
        text=True,
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "telling" in line]
