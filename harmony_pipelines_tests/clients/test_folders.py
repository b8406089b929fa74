import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.clients.folders import Found, look_at, mtime_of, telling_of
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


def test_files_folders_and_nothing_are_told_apart_in_order(tmp_path):
    here = os.fsencode(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "dangling").symlink_to("nowhere")
    names = [b"file", b"", b"none", b"link", b"dangling", b"a\nb", b"\xff", b"n\0l"]

    found = look_at([here + b"/" + name for name in names], Deadline.after(20))

    assert found == [Found.FILE, Found.OTHER, Found.NOTHING, Found.FILE] + [Found.NOTHING] * 4


def test_looking_at_nothing_finds_nothing():
    assert look_at([], Deadline.after(20)) == []


def test_a_share_that_does_not_answer_is_named(tmp_path):
    with pytest.raises(HarmonyError) as refused:
        look_at([os.fsencode(tmp_path)], Deadline.after(20), seconds=0.001)

    assert refused.value.code is ErrorCode.DEPENDENCY_ERROR
    assert refused.value.reason is Reason.SHARE_HUNG
    assert str(tmp_path) in refused.value.message


def test_the_deadline_of_the_caller_ends_the_look(tmp_path):
    with pytest.raises(HarmonyError) as refused:
        look_at([os.fsencode(tmp_path)], Deadline.after(0.001), seconds=10)

    assert refused.value.code is ErrorCode.DEADLINE_EXCEEDED


def test_of_each_file_size_and_time_of_change_are_told_in_order(tmp_path):
    (tmp_path / "file").write_bytes(b"12345")
    (tmp_path / "empty").touch()
    (tmp_path / "folder").mkdir()
    os.utime(tmp_path / "empty", ns=(0, -7))
    names = [b"file", b"none", b"folder", b"empty", b"n\0l", b"file/beneath"]

    with telling_of(_inside(tmp_path, names), tmp_path, Deadline.after(20)) as told:
        found = told()

    file = (tmp_path / "file").stat()
    assert found[0] == (0, 5, file.st_mtime_ns)
    assert [error for error, _, _ in found] == [0, errno.ENOENT, 0, 0, errno.ENOENT, errno.ENOTDIR]
    assert [size for _, size, _ in found] == [5, -1, -1, 0, -1, -1]
    assert found[3][2] == -7
    assert sorted(tmp_path.iterdir()) == sorted(tmp_path / n for n in ("file", "empty", "folder"))


def test_nothing_is_told_of_no_files(tmp_path):
    with telling_of([], tmp_path, Deadline.after(20)) as told:
        assert told() == []


@pytest.mark.parametrize("year", [1500, 2400])
def test_a_file_of_a_time_that_no_database_holds_has_the_nearest_that_one_does(tmp_path, year):
    at = (year - 1970) * 31_556_952
    (tmp_path / "file").touch()
    os.utime(tmp_path / "file", (at, at))
    found = (tmp_path / "file").stat()
    if found.st_mtime != at:
        pytest.skip("this file system has no such time")

    with telling_of([os.fsencode(tmp_path / "file")], tmp_path, Deadline.after(20)) as told:
        [(_, _, mtime)] = told()

    assert mtime == mtime_of(found) == (2**63 - 1 if at > 0 else 1 - 2**63)


def test_a_share_that_tells_nothing_for_too_long_is_named(tmp_path):
    with (
        pytest.raises(HarmonyError) as refused,
        telling_of([os.fsencode(tmp_path)], tmp_path, Deadline.after(20), seconds=0.001) as told,
    ):
        told()

    assert refused.value.reason is Reason.SHARE_HUNG
    assert refused.value.details["path"] == str(tmp_path)


def test_the_deadline_of_the_caller_ends_the_telling(tmp_path):
    with (
        pytest.raises(HarmonyError) as refused,
        telling_of([os.fsencode(tmp_path)], tmp_path, Deadline.after(0.001)) as told,
    ):
        told()

    assert refused.value.code is ErrorCode.DEADLINE_EXCEEDED


def test_a_child_that_was_killed_has_not_told_all(tmp_path):
    paths = [os.fsencode(tmp_path / f"{number}") for number in range(200_000)]

    with telling_of(paths, tmp_path, Deadline.after(20)) as told:
        [child] = _children()
        os.kill(child, signal.SIGKILL)
        with pytest.raises(HarmonyError) as refused:
            told()

    assert (refused.value.code, refused.value.reason) == (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.IO_ERROR,
    )


def test_no_child_and_no_file_outlives_who_gave_up(tmp_path):
    paths = [os.fsencode(tmp_path)] * 200_000

    with pytest.raises(ZeroDivisionError), telling_of(paths, tmp_path, Deadline.after(20)):
        _ = 1 / 0

    assert _children() == []
    assert list(tmp_path.iterdir()) == []


def test_a_question_for_which_the_disk_has_no_room_is_refused_by_name():
    code = """
import os, resource, signal
from pathlib import Path
from harmony_pipelines.clients.folders import telling_of
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    with telling_of([b"/x"] * 1000, Path("."), Deadline.after(20)):
        print("asked")
except HarmonyError as error:
    print(error.code, error.reason)
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split()[0] == ErrorCode.DEPENDENCY_ERROR


@given(st.lists(st.binary(max_size=20), max_size=30))
def test_as_many_answers_come_as_paths_were_asked_about_whatever_they_are(paths):
    with telling_of(paths, Path(tempfile.gettempdir()), Deadline.after(20)) as told:
        found = told()

    assert len(found) == len(paths)
    for path, (_, size, _) in zip(paths, found, strict=True):
        assert (size >= 0) == (b"\0" not in path and Path(os.fsdecode(path)).is_file())


def _inside(folder, names):
    return [os.fsencode(folder) + b"/" + name for name in names]


def _children():
    listed = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="], capture_output=True, text=True
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "struct" in line]
