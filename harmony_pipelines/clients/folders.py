"""Looks at files that may lie on a dead share, without hanging with it."""

import errno
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from harmony_pipelines.clients.file_errors import STALE, file_error
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
        raise ended_early()
    found = [Found(chr(answer)) for answer in answers]
    if Found.STALE in found:
        stale = Path(os.fsdecode(paths[found.index(Found.STALE)]))
        raise file_error(stale, OSError(errno.ESTALE, os.strerror(errno.ESTALE)))
    return found


def fingerprints(paths: Sequence[bytes], deadline: Deadline, seconds: float = 10.0) -> list[str]:
    """Inode, size, time of change and first bytes of each file as text; of none it is `-`.

    They are read by a child process as in `look_at`. No lock is taken, and nothing is opened to
    be written.
    """
    lines = _asked(_FINGERPRINT, paths, deadline, seconds).decode("utf-8", "replace").splitlines()
    if len(lines) != len(paths):
        raise ended_early()
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
    process = subprocess.Popen(child(program), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        return process.communicate(_one_a_line(paths), timeout=deadline.limit(seconds))[0]
    except subprocess.TimeoutExpired as slow:
        deadline.check()
        seen = len(slow.output or b"") if program is _LOOK else 0
        raise hung(paths[min(seen, len(paths) - 1)], process.pid, seconds) from slow
    finally:
        end(process)


def child(program: str) -> list[str]:
    """The command that runs a program of Python's own library alone, which starts at once."""
    flags = ["-B"] if sys.dont_write_bytecode else []  # `-I` does not hear of the variable
    return [sys.executable, *flags, "-I", "-S", "-c", program]


def ended_early() -> HarmonyError:
    """A child that did not answer for all."""
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.IO_ERROR,
        "The process that looks at the library's files ended before it had seen them all. Run "
        "again.",
    )


def _one_a_line(paths: Sequence[bytes]) -> bytes:
    return b"".join(path.hex().encode() + b"\n" for path in paths)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill the child; one that a dead share holds is left to the system, not waited for."""
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_REAP_SECONDS)
    for pipe in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):  # what was still to be written has no reader any more
            if pipe is not None:
                pipe.close()


def hung(path: bytes, pid: int, seconds: float) -> HarmonyError:
    """A share that let a child wait too long."""
    shown = path_text(path)
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.SHARE_HUNG,
        f"The disk or network share of {shown} did not answer within {seconds:g} s (process {pid} "
        "was waiting for it). Check that it is mounted and its server is up.",
        path=shown,
        pid=pid,
    )
