"""Killed, or failed by the disk, at any system call: the file is the old one or the new one.

`-s -n 0` prints the table: container, work, fault, points tried, old file, new file, damaged file,
copies left for the next run to sweep.
"""

import contextlib
import json
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from harmony_pipelines.clients.audio_container import Container
from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.clients.safe_write import sweep
from harmony_pipelines_tests.audio_files import a_jpeg, a_png, in_container, replace_front
from harmony_pipelines_tests.lifecycle.forked import DONE, REFUSED, restoring
from harmony_pipelines_tests.small_library import SmallLibrary, picture, put

_WRITES = {"write", "pwrite64", "copy_file_range", "sendfile", "ftruncate"}
_CHANGES = {"openat", "mkdir", "setxattr", "chmod", "fchmod", "fchmodat", "chown", "fchownat"}
_CHANGES |= {"lchown", "utimensat", "fsync", "fdatasync", "link", "linkat", "unlink", "unlinkat"}
_CHANGES |= {"rename", "renameat", "renameat2", *_WRITES}
_FAULTS = {"KILL": "signal=KILL", "ENOSPC": "error=ENOSPC", "EIO": "error=EIO"}
_AMONG = {"ENOSPC": _WRITES | {"openat", "mkdir", "setxattr", "fsync", "rename"}, "EIO": _CHANGES}
_ITS_OWN = {"brk", "mmap", "munmap", "mremap", "madvise", "exit_group"}
_ITS_OWN |= {"mprotect", "futex", "clone", "clone3", "rt_sigprocmask", "sched_yield"}
"""Of these, for memory and threads, each process makes its own."""

_KILLS_AT_LOOKS = 20
"""Of the calls that change nothing, so many a file; those that change something are all tried."""

_POINTS_IN_A_RUN = 60
_WAIT_S = 20.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@dataclass(frozen=True)
class _Point:
    """The n-th call of a kind."""

    call: str
    number: int


class _Workers:
    """The process that forks our workers, and strace at each of them."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._forks = subprocess.Popen(
            [sys.executable, "-B", "-m", "harmony_pipelines_tests.lifecycle.forked"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )

    def close(self) -> None:
        with self._forks:
            self._forks.kill()

    def untraced(self, work: str, bench: Path) -> None:
        self._order(work, bench, untraced=True)
        assert self._answer() == DONE

    def traced(self, work: str, bench: Path, *trace: str) -> int:
        """Work in a process of its own, under strace; its exit status."""
        self._order(work, bench, untraced=False)
        pid = self._answer()
        command = ["strace", "-qq", "-o", str(self._log), *trace, "-p", str(pid)]
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
            try:
                _wait_until_traced(pid, strace)
            finally:
                os.kill(pid, signal.SIGCONT)
            status = self._answer()
            strace.wait(_WAIT_S)
        return status

    def calls(self) -> list[_Point]:
        """The calls that strace logged, in their order."""
        seen: Counter[str] = Counter()
        points: list[_Point] = []
        for call in re.findall(r"^(\w+)\(", self._log.read_text(), re.MULTILINE):
            seen[call] += 1
            points.append(_Point(call, seen[call]))
        return points

    def _order(self, work: str, bench: Path, *, untraced: bool) -> None:
        assert self._forks.stdin
        order = {"work": work, "bench": str(bench), "untraced": untraced}
        self._forks.stdin.write(json.dumps(order) + "\n")
        self._forks.stdin.flush()

    def _answer(self) -> int:
        assert self._forks.stdout
        return json.loads(self._forks.stdout.readline())


def _wait_until_traced(pid: int, strace: subprocess.Popen[str]) -> None:
    end = time.monotonic() + _WAIT_S
    while "TracerPid:\t0\n" in Path(f"/proc/{pid}/status").read_text():
        if strace.poll() is not None or time.monotonic() > end:
            assert strace.stderr
            pytest.skip(f"strace may not trace here: {strace.stderr.read().strip()}")
        time.sleep(0.001)


@dataclass(frozen=True)
class _Bench:
    """A folder with one audio file and a cover, `before` and `after` the work.

    `kept` is a copy of the undo store before it, None where that is empty.
    """

    folder: Path
    file: Path
    before: bytes
    kept: Path | None = None
    after: bytes = b""

    @property
    def undo(self) -> ContentStore:
        return ContentStore(self.folder / "undo")

    def set_up(self) -> None:
        """As it was before the work."""
        self.file.write_bytes(self.before)
        shutil.rmtree(self.folder / "undo", ignore_errors=True)
        if self.kept:
            shutil.copytree(self.kept, self.folder / "undo")

    def outcome(self, at: _Point) -> str:
        found = self.file.read_bytes()
        assert found in (self.before, self.after), f"damaged at {at}"
        return "old" if found == self.before else "new"

    def litter(self) -> int:
        """How many copies were left; the next run's sweep takes them all."""
        self.undo.sweep(0)
        swept = sweep(self.file.parent, now=time.time() + 7200)
        assert [path.name for path in self.file.parent.iterdir()] == [self.file.name]
        return len(swept)


@dataclass(frozen=True)
class _Night:
    """A library with one file that is to get a larger cover, and a copy of all of it."""

    folder: Path
    pristine: Path
    file: Path
    before: bytes
    after: bytes

    def set_up(self) -> None:
        shutil.rmtree(self.folder)
        shutil.copytree(self.pristine, self.folder)

    def undo(self) -> None:
        """What a person does next: have everything of ours undone."""
        store = Catalogue.open(f"sqlite:///{self.folder / 'home' / 'harmony.db'}")
        restoring(self.folder, store, "undo")()
        store.close()
        assert self.file.read_bytes() == self.before
        assert [path.name for path in self.file.parent.iterdir()] == [self.file.name]


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[_Workers]:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    made = _Workers(tmp_path / "calls")
    yield made
    made.close()


@pytest.mark.parametrize("work", ["embed", "restore"])
@pytest.mark.parametrize("container", list(Container))
def test_the_file_is_the_old_one_or_the_new_one(
    container: Container, work: str, workers: _Workers, tmp_path: Path
) -> None:
    bench = _prepared(container, work, workers, tmp_path)
    bench.set_up()
    assert workers.traced(work, bench.folder) == DONE
    bench = replace(bench, after=bench.file.read_bytes())
    assert bench.after != bench.before
    calls = workers.calls()
    for fault in _FAULTS:
        outcomes = _try(fault, _points(fault, calls), partial(workers.traced, work), bench)
        _tell(f"{container} | {work} | {fault}", outcomes)


@pytest.mark.parametrize("fault", list(_FAULTS))
@pytest.mark.parametrize("work", ["night", "undo"])
def test_whatever_happens_in_a_run_undo_gives_the_file_back_byte_for_byte(
    work: str, fault: str, workers: _Workers, tmp_path: Path
) -> None:
    night = _a_night(work, workers, tmp_path)
    workers.untraced(work, night.folder)
    assert (night.file.read_bytes() == night.before) == (work == "undo")
    night.set_up()
    assert workers.traced(work, night.folder) == DONE
    points = [point for point in workers.calls() if point.call in _AMONG.get(fault, _CHANGES)]
    outcomes: Counter[str] = Counter()
    for point in random.Random(fault).sample(points, min(len(points), _POINTS_IN_A_RUN)):
        night.set_up()
        inject = f"inject={point.call}:{_FAULTS[fault]}:when={point.number}"
        status = workers.traced(work, night.folder, "-e", inject)
        assert status in ((-signal.SIGKILL,) if fault == "KILL" else (DONE, REFUSED)), point
        found = night.file.read_bytes()
        assert found in (night.before, night.after), f"damaged at {point}"
        is_old = (found == night.before) == (work == "night")
        outcomes["old" if is_old else "new"] += 1
        outcomes["litter"] += len(list(night.file.parent.glob(".harmony-*")))
        night.undo()
    _tell(f"a run over flac | {work} | {fault}", outcomes)


def _a_night(work: str, workers: _Workers, tmp_path: Path) -> _Night:
    """A library before a night's embedding, or before that is undone."""
    (tmp_path / "library").mkdir()
    library = SmallLibrary(tmp_path / "library")
    [file] = library.album("tone.flac", artpath=str(tmp_path / "scan.png"))
    (tmp_path / "scan.png").write_bytes(picture(edge=640, image_format="PNG"))
    put(file, picture())
    before = file.read_bytes()
    library.covers = {"1": str(tmp_path / "scan.png")}
    plan = library.plan()
    found = library.find(plan)
    (library.folder / "plan").write_bytes(pickle.dumps((plan.albums, found)))
    library.close()
    pristine = tmp_path / "pristine"
    shutil.copytree(library.folder, pristine)
    workers.untraced("night", library.folder)
    night = _Night(library.folder, pristine, file, before, file.read_bytes())
    if work == "undo":
        shutil.rmtree(pristine)
        shutil.copytree(library.folder, pristine)
    else:
        night.set_up()
    return night


def _tell(what: str, outcomes: Counter[str]) -> None:
    old, new, litter = (outcomes[name] for name in ("old", "new", "litter"))
    print(f"| {what} | {old + new} | {old} | {new} | 0 | {litter} |")


def _prepared(container: Container, work: str, workers: _Workers, tmp_path: Path) -> _Bench:
    """A bench before the work."""
    folder = tmp_path / "bench"
    music = folder / "music"
    music.mkdir(parents=True)
    file = in_container(container, music)
    replace_front(file, a_png(3000))
    with contextlib.suppress(OSError):  # not every file system has them
        os.setxattr(file, "user.mood", b"calm")
    (folder / "cover.jpg").write_bytes(a_jpeg(100_000).data)
    bench = _Bench(folder, file, file.read_bytes())
    workers.untraced("embed", folder)
    kept = tmp_path / "kept"
    shutil.copytree(folder / "undo", kept)
    embedded = replace(bench, before=file.read_bytes(), kept=kept)
    workers.untraced("restore", folder)
    assert file.read_bytes() == bench.before
    return bench if work == "embed" else embedded


def _points(fault: str, calls: list[_Point]) -> list[_Point]:
    """Every call that changes something and may fail so; and for kills some that only look."""
    changes = [point for point in calls if point.call in _AMONG.get(fault, _CHANGES)]
    assert {"write", "fsync", "rename"} <= {point.call for point in changes}
    if fault != "KILL":
        return changes
    looks = [point for point in calls if point.call not in _CHANGES | _ITS_OWN]
    return changes + random.Random(fault).sample(looks, _KILLS_AT_LOOKS)


def _try(
    fault: str, points: list[_Point], traced: Callable[..., int], bench: _Bench
) -> Counter[str]:
    outcomes: Counter[str] = Counter()
    for point in points:
        bench.set_up()
        lasting = "+" if fault == "ENOSPC" and point.call in _WRITES else ""
        inject = f"inject={point.call}:{_FAULTS[fault]}:when={point.number}{lasting}"
        status = traced(bench.folder, "-e", inject)
        assert status in ((-signal.SIGKILL,) if fault == "KILL" else (DONE, REFUSED)), point
        became = bench.outcome(point)
        assert status != DONE or became == "new", point
        assert status != REFUSED or became == "old", point
        outcomes[became] += 1
        outcomes["litter"] += bench.litter()
    return outcomes
