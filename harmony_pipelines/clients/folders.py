"""Looks at files that may lie on a dead share, without hanging with it."""

import errno
import os
import struct
import subprocess
import sys
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from enum import StrEnum
from functools import partial
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from harmony_pipelines.clients.file_errors import STALE, file_error, speaking_of
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.paths import path_text

_REAP_SECONDS = 1.0
_LOOK = f"""
import os, stat, sys
for line in sys.stdin:
    try:
        kind = b"f" if stat.S_ISREG(os.stat(bytes.fromhex(line)).st_mode) else b"o"
    except OSError as error:
        kind = b"s" if error.errno in {STALE} else b"-"
    except ValueError:  # a NUL byte within
        kind = b"-"
    os.write(1, kind)
"""
_FINGERPRINT = """
import os, sys
for line in sys.stdin:
    try:
        with open(bytes.fromhex(line), "rb") as file:
            told = os.fstat(file.fileno())
            print(told.st_ino, told.st_size, told.st_mtime_ns, file.read(100).hex())
    except FileNotFoundError:
        print("-")
    except OSError as error:
        print("?", error.strerror)
"""
_TOLD = struct.Struct("3q")
_UNTOLD = b"\xff" * _TOLD.size
_LATEST = 2**63 - 1
_TELL = f"""
import mmap, os, stat, struct, sys
paths = sys.stdin.buffer.read().split(b"\\0")[:-1]
answers, tell = paths and mmap.mmap(1, 0), struct.Struct("{_TOLD.format}").pack_into
for at, path in zip(range(0, {_TOLD.size} * len(paths), {_TOLD.size}), paths):
    try:
        found = os.stat(path)
        size = found.st_size if stat.S_ISREG(found.st_mode) else -1
        mtime = found.st_mtime_ns
        if not -{_LATEST} <= mtime <= {_LATEST}:
            mtime = {_LATEST} if mtime > 0 else -{_LATEST}
        tell(answers, at, 0, size, mtime)
    except OSError as error:
        tell(answers, at, error.errno, -1, 0)
"""

Told = tuple[int, int, int]
"""The number of an error or 0, then a file's size in bytes, or -1, and its mtime in nanoseconds."""


class Found(StrEnum):
    """What is at a path."""

    FILE = "f"
    OTHER = "o"
    NOTHING = "-"
    STALE = "s"


def look_at(paths: Sequence[bytes], deadline: Deadline, seconds: float = 10.0) -> list[Found]:
    """What is at each of the paths, looked at by a child process that is killed after `seconds`.

    A system call on a dead share never returns and cannot be interrupted; so it is not made here.
    """
    answers = _asked(_LOOK, paths, deadline, seconds)
    if len(answers) != len(paths):
        raise _ended_early()
    found = [Found(chr(answer)) for answer in answers]
    if Found.STALE in found:
        stale = Path(os.fsdecode(paths[found.index(Found.STALE)]))
        raise file_error(stale, OSError(errno.ESTALE, os.strerror(errno.ESTALE)))
    return found


def mtime_of(found: os.stat_result) -> int:
    """When the file was changed, in nanoseconds; no further from 1970 than a database can hold."""
    return max(-_LATEST, min(found.st_mtime_ns, _LATEST))


@contextmanager
def telling_of(
    paths: Sequence[bytes], folder: Path, deadline: Deadline, seconds: float = 10.0
) -> Iterator[Callable[[], list[Told]]]:
    """Have the system asked of many files meanwhile; what is given waits for all that it told.

    As in `look_at` a child process asks, and is killed once nothing was told for `seconds`. Its
    question and its answers are files in `folder` while it works; it has them in its memory, as
    there are many.
    """
    made = partial(TemporaryFile, buffering=0, dir=folder)
    with made() as question, made() as answers:
        with speaking_of(folder):
            _write(question, _separated_by_nul(paths))
            _write(answers, _UNTOLD * len(paths))
        process = subprocess.Popen(
            _child(_TELL), stdin=question, stdout=answers, stderr=subprocess.PIPE
        )
        try:
            yield partial(_all_told, process, answers, paths, deadline, seconds)
        finally:
            _end(process)


def _all_told(
    process: subprocess.Popen[bytes],
    answers: BinaryIO,
    paths: Sequence[bytes],
    deadline: Deadline,
    seconds: float,
) -> list[Told]:
    told = 0
    while process.returncode is None:
        try:
            process.communicate(timeout=deadline.limit(seconds))
        except subprocess.TimeoutExpired as slow:
            deadline.check()
            before, told = told, _how_many(answers)
            if told == before:
                raise _hung(paths[min(told, len(paths) - 1)], process.pid, seconds) from slow
    if _how_many(answers) < len(paths):
        raise _ended_early()
    answers.seek(0)
    return list(_TOLD.iter_unpack(answers.read()))


def _how_many(answers: BinaryIO) -> int:
    """How many are told; the first that is not is looked for, as they are told in their order."""

    def is_untold(number: int) -> bool:
        return os.pread(answers.fileno(), _TOLD.size, number * _TOLD.size) == _UNTOLD

    return bisect_left(range(os.fstat(answers.fileno()).st_size // _TOLD.size), True, key=is_untold)


def _write(file: BinaryIO, content: bytes) -> None:
    """Write all of it, to be read from its beginning."""
    left = memoryview(content)
    while left:
        left = left[file.write(left) :]
    file.seek(0)


def _separated_by_nul(paths: Sequence[bytes]) -> bytes:
    """The paths, each with a NUL byte after it; one with such a byte in it is nowhere."""
    joined = b"\0".join([*paths, b""])
    if joined.count(b"\0") == len(paths):
        return joined
    return _separated_by_nul([b"" if b"\0" in path else path for path in paths])


def fingerprints(paths: Sequence[bytes], deadline: Deadline, seconds: float = 10.0) -> list[str]:
    """Inode, size, time of change and first bytes of each file as text; of none it is `-`.

    They are read by a child process as in `look_at`. No lock is taken, and nothing is opened to
    be written.
    """
    lines = _asked(_FINGERPRINT, paths, deadline, seconds).decode("utf-8", "replace").splitlines()
    if len(lines) != len(paths):
        raise _ended_early()
    for path, line in zip(paths, lines, strict=True):
        if line.startswith("? "):
            raise HarmonyError(
                ErrorCode.DEPENDENCY_ERROR,
                Reason.UNREADABLE,
                f"{path_text(path)} cannot be read: {line[2:]}. Let this user read it.",
                path=path_text(path),
            )
    return lines


def _asked(program: str, paths: Sequence[bytes], deadline: Deadline, seconds: float) -> bytes:
    """What the child said of the paths, unless it took too long."""
    process = subprocess.Popen(_child(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        return process.communicate(_one_a_line(paths), timeout=deadline.limit(seconds))[0]
    except subprocess.TimeoutExpired as slow:
        deadline.check()
        seen = len(slow.output or b"") if program is _LOOK else 0
        raise _hung(paths[min(seen, len(paths) - 1)], process.pid, seconds) from slow
    finally:
        _end(process)


def _child(program: str) -> list[str]:
    return [sys.executable, "-I", "-S", "-c", program]


def _ended_early() -> HarmonyError:
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.IO_ERROR,
        "The process that looks at the library's files ended before it had seen them all. Run "
        "again.",
    )


def _one_a_line(paths: Sequence[bytes]) -> bytes:
    return b"".join(path.hex().encode() + b"\n" for path in paths)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the child; one that a dead share holds is left to the system, not waited for."""
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_REAP_SECONDS)
    for pipe in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):  # what was still to be written has no reader any more
            if pipe is not None:
                pipe.close()


def _hung(path: bytes, pid: int, seconds: float) -> HarmonyError:
    shown = path_text(path)
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.SHARE_HUNG,
        f"The disk or network share of {shown} did not answer within {seconds:g} s (process {pid} "
        "was waiting for it). Check that it is mounted and its server is up.",
        path=shown,
        pid=pid,
    )
