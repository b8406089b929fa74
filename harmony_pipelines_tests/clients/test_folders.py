import os

import pytest

from harmony_pipelines.clients.folders import Found, look_at
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
