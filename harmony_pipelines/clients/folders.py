"""Looks at files that may lie on a dead share, without hanging with it."""

import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from enum import StrEnum

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.paths import path_text

_REAP_SECONDS = 1.0
_LOOK = """
import os, sys
for line in sys.stdin:
    path = bytes.fromhex(line)
    kind = b"f" if os.path.isfile(path) else b"o" if os.path.exists(path) else b"-"
    os.write(1, kind)
"""


class Found(StrEnum):
    """What is at a path."""

    FILE = "f"
    OTHER = "o"
    NOTHING = "-"


def look_at(paths: Sequence[bytes], deadline: Deadline, seconds: float = 10.0) -> list[Found]:
    """What is at each of the paths, looked at by a child process that is killed after `seconds`.

    A system call on a dead share never returns and cannot be interrupted; so it is not made here.
    """
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", _LOOK], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        answers, _ = process.communicate(_one_a_line(paths), timeout=deadline.limit(seconds))
    except subprocess.TimeoutExpired as slow:
        deadline.check()
        seen = len(slow.output or b"")
        raise _hung(paths[min(seen, len(paths) - 1)], process.pid, seconds) from slow
    finally:
        _end(process)
    if len(answers) != len(paths):
        raise HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.IO_ERROR,
            "The process that looks at the library's files ended before it had seen them all "
            f"(exit status {process.returncode}). Run again.",
        )
    return [Found(chr(answer)) for answer in answers]


def _one_a_line(paths: Sequence[bytes]) -> bytes:
    return b"".join(path.hex().encode() + b"\n" for path in paths)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill the child; one that a dead share holds is left to the system, not waited for."""
    process.kill()
    with suppress(subprocess.TimeoutExpired):
        process.communicate(timeout=_REAP_SECONDS)
    for pipe in (process.stdin, process.stdout):
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
