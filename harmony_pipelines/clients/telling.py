"""Asks the system of all files that a library names; run as a process that may hang in our place.

It is started without site-packages, and so imports nothing but the standard library and ours.
"""

import errno
import mmap
import os
import sqlite3
import stat
import sys
from contextlib import closing
from struct import Struct

from harmony_pipelines.domain.library import LibraryPaths

TOLD = Struct("3q")
"""The number of an error or 0, then a file's size in bytes, or -1, and its mtime in nanoseconds."""

UNTOLD = b"\xff" * TOLD.size
PATHS = "SELECT NULLIF(CAST(path AS BLOB), x'') FROM items ORDER BY id"

_LATEST = 2**63 - 1


def mtime_of(found: os.stat_result) -> int:
    """When the file was changed, in nanoseconds; no further from 1970 than a database can hold."""
    return max(-_LATEST, min(found.st_mtime_ns, _LATEST))


def tell(database: str, music_directory: str, *path_map: str) -> None:
    """Write what the system says of each item's file, in the order of the items, to what is open.

    Standard output is a file that has room for all of it.
    """
    folders = list(map(os.fsencode, path_map))
    pairs = zip(folders[::2], folders[1::2], strict=True)
    here = LibraryPaths(os.fsencode(music_directory), pairs).here
    write = TOLD.pack_into
    with closing(sqlite3.connect(database)) as connection:
        items = connection.execute(PATHS)
        answers = mmap.mmap(sys.stdout.fileno(), 0)
        for at, (path,) in zip(range(0, len(answers), TOLD.size), items, strict=True):
            try:
                found = os.stat(here(path) if path else b"")  # noqa: PTH116  bytes, and many
            except OSError as error:
                write(answers, at, error.errno, -1, 0)
            except ValueError:  # a NUL byte within
                write(answers, at, errno.ENOENT, -1, 0)
            else:
                size, mtime = found.st_size, found.st_mtime_ns
                if not stat.S_ISREG(found.st_mode):
                    size = -1
                if not -_LATEST <= mtime <= _LATEST:
                    mtime = mtime_of(found)
                write(answers, at, 0, size, mtime)
