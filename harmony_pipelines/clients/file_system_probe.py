"""What a folder's file system can do, tried on a file of our own that is removed again.

Run as a program it tries and prints JSON: a child process, as a dead share holds whoever asks.
"""

import contextlib
import fcntl
import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_SECONDS = 15.0
_ATTRIBUTE = "user.harmony"


@dataclass(frozen=True)
class Abilities:
    """What worked, by word; why nothing could be written; the free bytes."""

    works: frozenset[str]
    fails: frozenset[str]
    refused: str | None
    free: int


NEEDED = frozenset({"write", "sync", "rename"})
"""Without these no cover is written."""


def probe(folder: Path, seconds: float = _SECONDS) -> Abilities | None:
    """What the folder's file system can do; None if it did not answer in time."""
    command = [sys.executable, "-I", "-S", __file__, os.fspath(folder)]
    try:
        ended = subprocess.run(command, capture_output=True, timeout=seconds, check=True)
    except subprocess.TimeoutExpired:
        return None
    told = json.loads(ended.stdout)
    return Abilities(
        frozenset(word for word, fault in told["tried"].items() if fault is None),
        frozenset(word for word, fault in told["tried"].items() if fault is not None),
        told["tried"]["write"],
        told["free"],
    )


def _tried(folder: Path) -> dict[str, str | None]:
    """Each ability, with what the system said where it failed."""
    one = folder / f".harmony-{secrets.token_hex(6)}"  # as the copies beside files: swept if left
    two = one.with_suffix(".renamed")
    tried: dict[str, str | None] = {}

    def attempt(word: str, action: Callable[[], object]) -> bool:
        try:
            action()
        except OSError as error:
            tried[word] = error.strerror or type(error).__name__
        else:
            tried[word] = None
        return tried[word] is None

    try:
        if not attempt("write", lambda: _write(one)):
            return tried
        own = one.stat()
        attempt("sync", lambda: _sync(one))
        attempt("owner", lambda: os.chown(one, own.st_uid, own.st_gid))
        attempt("mode", lambda: _set_mode(one, 0o640))
        attempt("attributes", lambda: os.setxattr(one, _ATTRIBUTE, b"1"))
        attempt("locks", lambda: _lock(one))
        if attempt("hard links", lambda: two.hardlink_to(one)):
            two.unlink()
        attempt("rename", lambda: one.replace(two))
        attempt("folder sync", lambda: _sync(folder))
    finally:
        for path in (one, two):
            with contextlib.suppress(OSError):
                path.unlink()
    return tried


def _write(path: Path) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(handle, b"A probe of harmony_pipelines; it may be removed.\n")
    finally:
        os.close(handle)


def _set_mode(path: Path, mode: int) -> None:
    path.chmod(mode)
    if path.stat().st_mode & 0o777 != mode:
        raise OSError(0, "it stays as it is")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(path: Path) -> None:
    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(handle)


def _free(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


if __name__ == "__main__":
    asked = Path(sys.argv[1])
    print(json.dumps({"tried": _tried(asked), "free": _free(asked)}))
