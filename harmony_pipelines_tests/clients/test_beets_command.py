import contextlib
import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from harmony_pipelines.clients.beets_command import BeetsCommand
from harmony_pipelines.clients.beets_config import BeetsConfig
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


@pytest.fixture
def config(tmp_path: Path) -> BeetsConfig:
    return BeetsConfig(tmp_path / "library.db", tmp_path / "music")


def beet(folder: Path, script: str) -> Path:
    """A `beet` of the user's that does what the script says."""
    program = folder / "beet"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def listing(folder: Path, listed: dict[int, list[str]]) -> Path:
    """A `beet` that lists these files of albums and notes what it is asked to do."""
    shown = "".join(f"{album}\t{path}\n" for album, paths in listed.items() for path in paths)
    (folder / "listed").write_text(f"Created a backup of something\n{shown}")
    asked, listed_in = folder / "asked", folder / "listed"
    return beet(folder, f"echo \"$@\" >> '{asked}'; [ \"$5\" = ls ] && cat '{listed_in}'; exit 0")


def asked(folder: Path) -> list[list[str]]:
    """What it was asked to do, without the library."""
    return [line.split()[4:] for line in (folder / "asked").read_text().splitlines()]


def test_only_albums_all_of_whose_files_beets_finds_are_updated(
    tmp_path: Path, config: BeetsConfig
) -> None:
    here = tmp_path / "a track.mp3"
    here.touch()
    files = {1: [str(here)], 2: [str(here), str(tmp_path / "gone.mp3")], 3: ["relative.mp3"]}
    command = BeetsCommand(config, program=listing(tmp_path, files))
    updated = command.update([1, 2, 3, 4], Deadline.after(30))
    assert (updated.albums, updated.left_out) == (1, (2, 3, 4))
    assert asked(tmp_path)[1:] == [["update", "--nomove", "album_id:1"]]


def test_nothing_is_updated_where_beets_finds_nothing(tmp_path: Path, config: BeetsConfig) -> None:
    command = BeetsCommand(config, program=listing(tmp_path, {1: ["/nowhere/1.mp3"]}))
    assert command.update([1], Deadline.after(30)).left_out == (1,)
    assert [words[0] for words in asked(tmp_path)] == ["ls"]


def test_many_albums_are_updated_in_bounded_calls(tmp_path: Path, config: BeetsConfig) -> None:
    (tmp_path / "1.mp3").touch()
    files = {album: [str(tmp_path / "1.mp3")] for album in range(1, 121)}
    updated = BeetsCommand(config, program=listing(tmp_path, files)).update(
        [*files], Deadline.after(60)
    )
    assert updated.albums == 120
    calls = [words for words in asked(tmp_path) if words[0] == "update"]
    assert [sum("album_id" in word for word in words) for words in calls] == [50, 50, 20]
    assert calls[0][2:5] == ["album_id:1", ",", "album_id:2"]


def test_no_album_is_no_call(tmp_path: Path, config: BeetsConfig) -> None:
    nothing = BeetsCommand(config, program=tmp_path / "none").update([], Deadline.after(9))
    assert (nothing.albums, nothing.left_out) == (0, ())


def failure(command: BeetsCommand, deadline: Deadline) -> HarmonyError:
    with pytest.raises(HarmonyError) as failed:
        command.update([1], deadline)
    return failed.value


def test_a_question_gets_no_answer_and_ends_the_command(
    tmp_path: Path, config: BeetsConfig
) -> None:
    program = beet(tmp_path, "read answer || { echo no answer >&2; exit 1; }")
    error = failure(BeetsCommand(config, program=program), Deadline.after(30))
    assert (error.code, error.reason) == (ErrorCode.DEPENDENCY_ERROR, Reason.BEETS_UPDATE)
    assert "no answer" in error.message


def test_what_it_logs_is_told_on_one_bounded_line(tmp_path: Path, config: BeetsConfig) -> None:
    program = beet(tmp_path, "yes 'a line' | head -n 9999 >&2; printf '\\033[1m' >&2; exit 1")
    error = failure(BeetsCommand(config, program=program), Deadline.after(30))
    assert len(error.message) < 900
    assert error.message.isprintable()


@pytest.mark.parametrize("traps", ["", "trap '' TERM;"])
def test_a_command_that_hangs_is_killed_with_its_children(
    tmp_path: Path, config: BeetsConfig, traps: str
) -> None:
    child = tmp_path / "child"
    program = beet(tmp_path, f"{traps} sleep 300 & echo $! > '{child}'; wait; sleep 300")
    began = time.monotonic()
    error = failure(BeetsCommand(config, program=program, seconds=0.5), Deadline.after(60))
    assert time.monotonic() - began < 15
    assert error.reason is Reason.BEETS_UPDATE
    assert "0.5 s" in error.message
    end = time.monotonic() + 5
    while _runs(int(child.read_text())) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _runs(int(child.read_text()))


def test_the_deadline_of_the_run_ends_it(tmp_path: Path, config: BeetsConfig) -> None:
    error = failure(BeetsCommand(config, program=beet(tmp_path, "sleep 300")), Deadline.after(0.5))
    assert error.code is ErrorCode.DEADLINE_EXCEEDED


def test_a_program_that_cannot_be_started_is_said(tmp_path: Path, config: BeetsConfig) -> None:
    error = failure(BeetsCommand(config, program=tmp_path / "no such"), Deadline.after(9))
    assert error.reason is Reason.BEETS_UPDATE


def test_it_is_given_no_secret_of_ours_and_its_own_folder(
    tmp_path: Path, config: BeetsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPOTIPY_CLIENT_SECRET", "s3cret")
    monkeypatch.setenv("HARMONY_DATABASE_URL", "postgresql://u:s3cret@db/x")
    program = beet(tmp_path, f"env > '{tmp_path}/environment'; exit 1")
    failure(BeetsCommand(config, tmp_path / "beets", program=program), Deadline.after(30))
    environment = (tmp_path / "environment").read_text()
    assert "s3cret" not in environment
    assert f"BEETSDIR={tmp_path}/beets" in environment


def test_the_users_own_program_comes_before_the_one_installed_with_us(
    tmp_path: Path, config: BeetsConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    beet(tmp_path, "echo theirs >&2; exit 1")
    ours = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{ours}:{tmp_path}:{os.environ['PATH']}")
    assert "theirs" in failure(BeetsCommand(config), Deadline.after(30)).message


def _runs(pid: int) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
