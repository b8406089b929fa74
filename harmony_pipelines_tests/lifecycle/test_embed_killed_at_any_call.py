"""Killed, or refused by the disk, at every system call that writes: the old file or the new one."""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from harmony_pipelines.clients.safe_write import sweep
from harmony_pipelines_tests.audio_files import a_jpeg, sample

_CALLS = (
    "write",
    "pwrite64",
    "copy_file_range",
    "sendfile",
    "ftruncate",
    "fsync",
    "rename",
    "renameat",
    "renameat2",
    "chmod",
    "fchmodat",
    "chown",
    "fchownat",
    "utimensat",
    "setxattr",
    "unlink",
    "unlinkat",
)
_FILLS_THE_DISK = ("write", "pwrite64", "copy_file_range", "sendfile", "setxattr")
_FAILS_ON_THE_DISK = ("write", "fsync", "rename", "chmod", "chown")
_MOST_POINTS = 60
_EMBED = """
import sys
from pathlib import Path
from harmony_pipelines.clients.embedding import EmbedOptions, embed_front
from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.clients.safe_write import WriteOptions

path, cover = Path(sys.argv[1]), Path(sys.argv[2])
options = EmbedOptions(WriteOptions((path.parent,), room=0), lambda: None, lambda old: None)
embed_front(path, NewCover(cover.read_bytes(), "image/jpeg", 600, 500), options)
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class _Bench:
    """A folder with one audio file, and the same file with the cover in it."""

    file: Path
    cover: Path
    old: bytes
    new: bytes

    def embed(self, *trace: str) -> int:
        """Embed in a process of its own, under strace; its exit status."""
        self.file.write_bytes(self.old)
        command = [sys.executable, "-B", "-c", _EMBED, str(self.file), str(self.cover)]
        calls = ",".join(f"?{call}" for call in _CALLS)
        return subprocess.run(
            ["strace", "-f", "-qq", "-e", f"trace={calls}", *trace, *command],
            check=False,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).parents[2],
        ).returncode


def _bench(name: str, tmp_path: Path) -> tuple[_Bench, Counter[str]]:
    folder = tmp_path / "album"
    folder.mkdir()
    file = sample(name, folder)
    if file.suffix == ".mp3":
        file.write_bytes(file.read_bytes() * 250)  # long enough to be moved in several pieces
    with contextlib.suppress(OSError):  # not every file system has them
        os.setxattr(file, "user.mood", b"calm")
    cover = tmp_path / "cover.jpg"
    cover.write_bytes(a_jpeg(200_000).data)
    bench = _Bench(file, cover, file.read_bytes(), b"")
    log = tmp_path / "calls"
    assert bench.embed("-o", str(log)) == 0
    calls = Counter(re.findall(r"^\d+ +(\w+)\(", log.read_text(), re.MULTILINE))
    return _Bench(file, cover, bench.old, file.read_bytes()), calls


def _strace_fault() -> str | None:
    if shutil.which("strace") is None:
        return "strace is not installed"
    tried = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", "true"],
        check=False,
        capture_output=True,
        text=True,
    )
    return f"strace may not trace here: {tried.stderr.strip()}" if tried.returncode else None


@pytest.fixture(autouse=True)
def _needs_strace() -> None:
    if fault := _strace_fault():
        pytest.skip(fault)


_FORMATS = pytest.mark.parametrize(
    "name", ["tone.mp3", "tone.flac", "tone.m4a", "tone.ogg", "tone.opus"]
)


@_FORMATS
def test_a_kill_at_any_call_leaves_the_old_file_or_the_new_one(name: str, tmp_path: Path) -> None:
    bench, calls = _bench(name, tmp_path)
    assert calls["fsync"] == 2
    assert bench.new != bench.old
    outcomes: Counter[str] = Counter()
    for call, at in _points(calls, _CALLS):
        status = bench.embed("-e", f"inject={call}:signal=KILL:when={at}")
        assert status != 0, (call, at)
        outcomes[_outcome(bench, call, at)] += 1
        outcomes["swept"] += len(sweep(bench.file.parent, now=time.time() + 7200))
        assert [path.name for path in bench.file.parent.iterdir()] == [name]
    assert outcomes["old"] > 0
    assert outcomes["new"] > 0


@_FORMATS
def test_a_full_disk_at_any_call_leaves_the_old_file_and_no_copy(name: str, tmp_path: Path) -> None:
    bench, calls = _bench(name, tmp_path)
    for call, at in _points(calls, _FILLS_THE_DISK):
        bench.embed("-e", f"inject={call}:error=ENOSPC:when={at}+")
        assert _outcome(bench, call, at) == "old"
        assert [path.name for path in bench.file.parent.iterdir()] == [name]


@_FORMATS
def test_a_disk_error_at_any_call_leaves_a_whole_file_and_no_copy(
    name: str, tmp_path: Path
) -> None:
    bench, calls = _bench(name, tmp_path)
    for call, at in _points(calls, _FAILS_ON_THE_DISK):
        assert bench.embed("-e", f"inject={call}:error=EIO:when={at}") != 0
        assert _outcome(bench, call, at) in ("old", "new")
        assert [path.name for path in bench.file.parent.iterdir()] == [name]


def _points(calls: Counter[str], wanted: tuple[str, ...]) -> list[tuple[str, int]]:
    points = [(call, at) for call in wanted for at in range(1, calls[call] + 1)]
    assert 0 < len(points) <= _MOST_POINTS, calls
    return points


def _outcome(bench: _Bench, call: str, at: int) -> str:
    found = bench.file.read_bytes()
    assert found in (bench.old, bench.new), f"damaged by {call} number {at}"
    return "old" if found == bench.old else "new"
