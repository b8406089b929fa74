from pathlib import Path

import pytest

from harmony_pipelines.clients import file_system_probe
from harmony_pipelines.clients.file_system_probe import NEEDED, probe


def test_a_folder_is_tried_and_left_as_it_was(tmp_path: Path) -> None:
    tmp_path.joinpath("a.flac").write_text("x")
    can = probe(tmp_path)
    assert can
    assert can.refused is None
    assert can.works >= NEEDED | {"owner", "hard links", "folder sync", "mode"}
    assert can.free > 0
    assert [path.name for path in tmp_path.iterdir()] == ["a.flac"]


def test_a_folder_that_refuses_says_why(tmp_path: Path) -> None:
    can = probe(Path("/proc/self"))
    assert can
    assert can.refused
    assert can.works == frozenset()


def test_a_folder_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    assert probe(tmp_path, seconds=0.0001) is None


@pytest.mark.parametrize("ability", ["hard links", "attributes"])
def test_what_fails_is_told_by_its_word(
    tmp_path: Path, ability: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise OSError(95, "not supported")

    monkeypatch.setattr(file_system_probe.os, "setxattr", refused)
    monkeypatch.setattr(Path, "hardlink_to", refused)
    tried = file_system_probe._tried(tmp_path)
    assert tried[ability] == "not supported"
    assert tried["rename"] is None
    assert not list(tmp_path.iterdir())
