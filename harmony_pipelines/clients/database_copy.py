"""A private copy of somebody else's SQLite database, made without touching the original."""

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

FILES = ("", "-wal", "-journal")
"""What a database may consist of, as suffixes of its name."""

_HEADER_BYTES = 100
_PAUSE_SECONDS = 0.1
_PIECE_BYTES = 8 << 20


def copy_database(database: Path, folder: Path, deadline: Deadline, seconds: float = 30.0) -> Path:
    """Copy a database that other programs may be writing into `folder`, as last committed.

    SQLite itself would create files beside a database in WAL mode, and could not read one that a
    crash left half-written without repairing it. So the bytes are copied with the log or journal
    that belongs to them, again and again until nothing changed meanwhile, and SQLite repairs the
    copy. No lock is taken: no other program ever has to wait for us.
    """
    settled_by = deadline.sooner(seconds, f"the copy of {database}")
    source, copy = Path(os.path.realpath(database)), folder / "library.db"
    while True:
        before = _fingerprints(source)
        for suffix in FILES:
            _copy_file(_beside(source, suffix), _beside(copy, suffix), deadline)
        if before == _fingerprints(source):
            return copy
        deadline.check()
        if settled_by.passed:
            raise HarmonyError(
                ErrorCode.CONFLICT,
                Reason.LOCKED,
                f"{database} was being written for {seconds:g} s without a pause. Let the other "
                "program (a beet import?) finish, then run again.",
                path=str(database),
            )
        time.sleep(deadline.limit(_PAUSE_SECONDS))


def _beside(database: Path, suffix: str) -> Path:
    return database.with_name(database.name + suffix)


def _fingerprints(database: Path) -> list[tuple[object, ...] | None]:
    return [_fingerprint(_beside(database, suffix)) for suffix in FILES]


def _fingerprint(file: Path) -> tuple[object, ...] | None:
    """What differs after any commit: SQLite counts changes and renews salts in the header."""
    try:
        with file.open("rb") as opened:
            told = os.fstat(opened.fileno())
            return told.st_ino, told.st_size, told.st_mtime_ns, opened.read(_HEADER_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(file, error) from error


def _copy_file(source: Path, copy: Path, deadline: Deadline) -> None:
    copy.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        try:
            with source.open("rb") as reading, copy.open("xb") as writing:
                while piece := reading.read(_PIECE_BYTES):
                    deadline.check()
                    writing.write(piece)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _unreadable(source, error) from error


def _unreadable(file: Path, error: OSError) -> HarmonyError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.DISK_FULL,
            f"There is no room for a private copy of {file}. Make room and run again.",
            path=str(file),
        )
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.UNREADABLE,
        f"{file} cannot be read: {error.strerror}. Let this user read it.",
        path=str(file),
    )
