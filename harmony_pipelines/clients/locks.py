"""Kernel locks that say who holds them: taken at once or refused, released by nothing but an end.

A lock goes with its process, however that ends; none is ever broken for its age.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from harmony_pipelines.clients.file_errors import speaking_of
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_LONGEST_NOTE = 4096


@dataclass(frozen=True)
class Holder:
    """Who holds a lock: a run, and the identity of its process."""

    run_id: str
    worker: str


@contextmanager
def held(path: Path, holder: Holder) -> Iterator[None]:
    """Hold the lock; CONFLICT, with its holder among the details, if somebody else does."""
    handle = _taken(path)
    try:
        with speaking_of(path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, json.dumps(asdict(holder)).encode(), 0)
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def holder_of(path: Path) -> Holder | None:
    """Who holds the lock just now, None if nobody does."""
    with suppress(FileNotFoundError):
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _read(handle)
        finally:
            os.close(handle)
    return None


def _taken(path: Path) -> int:
    """An open file whose lock is ours, and which is the one that others see."""
    while True:
        with speaking_of(path):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except BlockingIOError:
            holder = _read(handle)
            os.close(handle)
            raise _refusal(path, holder) from None
        except FileNotFoundError:
            pass  # its last holder removed it in between
        os.close(handle)


def _read(handle: int) -> Holder:
    """What the holder wrote; it may have taken the lock only just now."""
    with suppress(ValueError, TypeError):
        return Holder(**json.loads(os.pread(handle, _LONGEST_NOTE, 0)))
    return Holder("", "")


def _refusal(path: Path, holder: Holder) -> HarmonyError:
    who = f"Another run ({holder.run_id})" if holder.run_id else "Another run"
    return HarmonyError(
        ErrorCode.CONFLICT,
        Reason.LOCKED,
        f"{who} is at this work already. This one did nothing of it; wait for that one or "
        "terminate it.",
        lock=path.name,
        run_id=holder.run_id,
        worker=holder.worker,
    )
