"""What the file system and odd files say, in the error vocabulary."""

import errno
import os
import shutil
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.paths import path_text

ODD_FILE = (
    struct.error,
    ValueError,  # also wrong text, wrong base64
    LookupError,
    EOFError,
    OverflowError,
    MemoryError,
    RecursionError,
    zlib.error,
)
"""What reading a file's structure raises where the structure is not what it should be."""

NO_SUCH_FEATURE = frozenset(
    {errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.ENOLCK}
)
"""What a file system answers that cannot do a thing at all, whichever file it is asked for."""

_FILES_OF_A_DATABASE = 4
"""Itself, its log, the log's index, and its folder when a file in it is new."""

_ROOM_OF_A_DATABASE = 65_536
"""The log's index grows by 32 KiB at a time, all else by pages of a few."""

_SAYINGS: dict[int, tuple[ErrorCode, Reason, str]] = {
    errno.ENOENT: (
        ErrorCode.NOT_FOUND,
        Reason.FILE_MISSING,
        "is not there; is the disk mounted, and is the library up to date?",
    ),
    errno.ENOSPC: (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.DISK_FULL,
        "was not changed: its disk is full; make room and run again",
    ),
    errno.EROFS: (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.READ_ONLY,
        "was not changed: it or its folder may not be written; allow it, or leave it as it is",
    ),
    errno.EXDEV: (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.CROSS_DEVICE,
        "was not changed: nothing can be renamed over it (is it mounted by itself?)",
    ),
    errno.EEXIST: (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.IO_ERROR,
        "cannot be made: something of another kind has its name; move that away",
    ),
    errno.EMFILE: (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.OPEN_FILES,
        "could not be opened: this process may open no more files; raise the limit (`ulimit -n`)",
    ),
    errno.ESTALE: (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.SHARE_STALE,
        "cannot be reached: its network share is gone or has come back as another; mount it again",
    ),
}
STALE = (errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN)
"""What a file system answers whose server has gone."""

_SAME_AS = {
    **dict.fromkeys(STALE, errno.ESTALE),
    errno.ENFILE: errno.EMFILE,
    errno.EISDIR: errno.EEXIST,
    errno.ENOTDIR: errno.ENOENT,
    errno.EDQUOT: errno.ENOSPC,
    errno.EFBIG: errno.ENOSPC,
    errno.EACCES: errno.EROFS,
    errno.EPERM: errno.EROFS,
    errno.EBUSY: errno.EXDEV,
}


class UnsuitedFileError(ValueError):
    """The file is whole, but of a kind into which no cover is put."""


def shown(path: Path) -> str:
    """The path as text that can be stored and shown."""
    return path_text(os.fsencode(path))


def file_error(path: Path, error: OSError) -> HarmonyError:
    """The failure of a system call on `path`."""
    number = error.errno or 0
    code, reason, saying = _SAYINGS.get(
        _SAME_AS.get(number, number),
        (
            ErrorCode.DEPENDENCY_ERROR,
            Reason.IO_ERROR,
            "could not be read or written; look at its disk",
        ),
    )
    name = errno.errorcode.get(number, "unknown")
    return HarmonyError(code, reason, f"{shown(path)} {saying} ({name}).", path=shown(path))


def is_of_the_machine(error: OSError) -> bool:
    """Whether any system call may fail so, whatever the program does: full, read-only, gone."""
    full = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
    return error.errno in (*full, errno.EROFS, *STALE)


def may_open_no_more() -> bool:
    """Whether this process lacks the descriptors that a database takes; SQLite does not tell."""
    opened: list[int] = []
    try:
        for _ in range(_FILES_OF_A_DATABASE):
            opened.append(os.open(os.devnull, os.O_RDONLY))
    except OSError as error:
        return error.errno in (errno.EMFILE, errno.ENFILE)
    finally:
        for descriptor in opened:
            os.close(descriptor)
    return False


def has_no_room(folder: Path) -> bool:
    """Whether the folder's disk cannot take what a database adds to a file of its own at once."""
    try:
        return shutil.disk_usage(folder).free < _ROOM_OF_A_DATABASE
    except OSError:
        return False


@contextmanager
def speaking_of(path: Path) -> Iterator[None]:
    """Turn what goes wrong with `path` into a HarmonyError that names it."""
    try:
        yield
    except OSError as error:
        raise file_error(path, error) from error
    except UnsuitedFileError as error:
        raise HarmonyError(
            ErrorCode.UNSUPPORTED_MEDIA,
            Reason.AUDIO_FORMAT,
            f"{shown(path)} was left alone: covers cannot be put into {error}.",
            path=shown(path),
        ) from error
    except ODD_FILE as error:
        said = str(error) or type(error).__name__
        raise HarmonyError(
            ErrorCode.UNSUPPORTED_MEDIA,
            Reason.BROKEN_TAG,
            f"{shown(path)} was left alone, its tags are damaged: {said}. "
            "A tag editor may mend it.",
            path=shown(path),
        ) from error
