import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from harmony_pipelines.clients.cover_file import (
    NewFile,
    covers_in,
    name_for,
    place,
    put_over,
    remove,
    sha256_in,
)
from harmony_pipelines.clients.safe_write import sweep
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

OLD, NEW = b"an old cover" * 1000, b"a new cover" * 1000


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def nothing() -> None:
    """The run is still at work."""


@pytest.fixture
def track(tmp_path: Path) -> Path:
    file = tmp_path / "album" / "1.mp3"
    file.parent.mkdir()
    file.write_bytes(b"audio")
    return file


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def refused(work: Callable[[], object]) -> HarmonyError:
    with pytest.raises(HarmonyError) as caught:
        work()
    return caught.value


def test_a_file_that_comes_in_the_last_moment_is_not_replaced(track: Path) -> None:
    cover = track.with_name("cover.jpg")

    def theirs() -> None:
        cover.write_bytes(b"theirs")

    error = refused(lambda: place(cover, NewFile(NEW, track, theirs)))
    assert (error.code, error.reason) == (ErrorCode.CONFLICT, Reason.NOT_OURS)
    assert (cover.read_bytes(), names(track.parent)) == (b"theirs", ["1.mp3", "cover.jpg"])


def test_ours_that_changes_in_the_last_moment_is_not_replaced(track: Path) -> None:
    cover = track.with_name("cover.jpg")
    cover.write_bytes(OLD)

    def theirs() -> None:
        cover.write_bytes(b"theirs")

    error = refused(lambda: put_over(cover, sha256(OLD), NewFile(NEW, track, theirs)))
    assert error.reason is Reason.NOT_OURS
    assert (cover.read_bytes(), names(track.parent)) == (b"theirs", ["1.mp3", "cover.jpg"])


def test_only_what_is_ours_is_removed(track: Path) -> None:
    cover = track.with_name("cover.jpg")
    assert remove(cover, sha256(OLD), nothing) is False
    cover.write_bytes(b"theirs")
    assert refused(lambda: remove(cover, sha256(OLD), nothing)).reason is Reason.NOT_OURS
    assert cover.exists()
    cover.write_bytes(OLD)
    assert remove(cover, sha256(OLD), nothing) is True
    assert names(track.parent) == ["1.mp3"]


@pytest.mark.parametrize("what", ["link", "folder", "pipe", "nothing"])
def test_what_is_no_regular_file_is_never_ours(track: Path, what: str) -> None:
    cover = track.with_name("cover.jpg")
    if what == "link":
        track.with_name("scan").write_bytes(OLD)
        cover.symlink_to("scan")
    elif what == "folder":
        cover.mkdir()
    elif what == "pipe":
        os.mkfifo(cover)
    assert sha256_in(cover) == (None if what == "nothing" else "")


def test_a_folder_that_is_gone_is_a_missing_file(track: Path) -> None:
    shutil.rmtree(track.parent)
    cover = track.with_name("cover.jpg")
    assert refused(lambda: covers_in(track.parent)).reason is Reason.FILE_MISSING
    new = NewFile(NEW, track, nothing)
    assert refused(lambda: place(cover, new)).reason is Reason.FILE_MISSING


def test_covers_are_known_by_their_usual_names(track: Path) -> None:
    for name in ("Folder.JPG", "cover.webp", "front.png", "back.jpg", "cover.txt", "uncover.jpg"):
        track.with_name(name).touch()
    assert [file.name for file in covers_in(track.parent)] == [
        "Folder.JPG",
        "cover.webp",
        "front.png",
    ]


def test_only_a_jpeg_or_a_png_becomes_a_cover_file(track: Path) -> None:
    assert name_for("image/png", track.parent) == "cover.png"
    error = refused(lambda: name_for("image/bmp", track.parent))
    assert (error.code, error.reason) == (ErrorCode.UNSUPPORTED_MEDIA, Reason.IMAGE_FORMAT)


_WORK = """
import sys
from pathlib import Path
from harmony_pipelines.clients.cover_file import NewFile, place, put_over
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines_tests.clients.test_cover_file import NEW, OLD, nothing, sha256

track = Path(sys.argv[1])
new, cover = NewFile(NEW, track, nothing), track.with_name("cover.jpg")
try:
    put_over(cover, sha256(OLD), new) if cover.exists() else place(cover, new)
except HarmonyError as error:
    print(error.reason)
"""
_CALLS = "write,fchmod,fchown,fsync,link,linkat,rename,renameat,renameat2,unlink,unlinkat"


def traced(track: Path, log: Path, *inject: str) -> str:
    """What the work prints, under strace; empty if it was killed."""
    command = ["strace", "-qq", "-o", str(log), "-e", f"trace={_CALLS}", *inject]
    command += [sys.executable, "-B", "-c", _WORK, str(track)]
    ran = subprocess.run(
        command,
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout.strip()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace kills at a system call")
@pytest.mark.parametrize("before", [None, OLD])
def test_killed_at_any_call_the_file_is_there_whole_or_as_it_was(
    track: Path, tmp_path: Path, before: bytes | None
) -> None:
    cover, log = track.with_name("cover.jpg"), tmp_path / "calls"

    def set_up() -> None:
        cover.unlink(missing_ok=True)
        if before is not None:
            cover.write_bytes(before)

    set_up()
    assert traced(track, log) == ""
    assert cover.read_bytes() == NEW
    made = re.findall(r"^(\w+)\(", log.read_text(), re.MULTILINE)
    points = [(call, made[: at + 1].count(call)) for at, call in enumerate(made)]
    assert {"fsync", "fchmod"} < set(made)
    outcomes: set[bytes | None] = set()
    for call, number in points:
        set_up()
        traced(track, log, "-e", f"inject={call}:signal=KILL:when={number}")
        found = cover.read_bytes() if cover.exists() else None
        assert found in (before, NEW), f"damaged at {call} {number}"
        outcomes.add(found)
        sweep(track.parent, now=cover.parent.stat().st_mtime + 7200)
        assert set(names(track.parent)) <= {"1.mp3", "cover.jpg"}
    assert outcomes == {before, NEW}


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace fails a system call")
@pytest.mark.parametrize(
    ("fails", "reason"),
    [
        ("link,linkat:error=EPERM", "no_links"),
        ("link,linkat:error=EOPNOTSUPP", "no_links"),
        ("write:error=ENOSPC:when=1", "disk_full"),
        ("fsync:error=EIO:when=1", "io_error"),
        ("link,linkat:error=EROFS", "read_only"),
        ("fchown:error=EPERM", ""),
        ("fchmod:error=EPERM", ""),
    ],
)
def test_a_disk_that_refuses_is_told_with_its_reason(
    track: Path, tmp_path: Path, fails: str, reason: str
) -> None:
    assert traced(track, tmp_path / "calls", "-e", f"inject={fails}") == reason
    assert names(track.parent) == (["1.mp3"] if reason else ["1.mp3", "cover.jpg"])
