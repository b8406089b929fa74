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

_LATEST = 2**63 - 1


def mtime_of(found: os.stat_result) -> int:
    """When the file was changed, in nanoseconds; no further from 1970 than a database can hold."""
    return max(-_LATEST, min(found.st_mtime_ns, _LATEST))


def tell(*words: str) -> None:
    """Write what the system says of each file, in the order of their paths, to a file.

    It is standard output. The words are the database, what selects the paths in it, the music
    directory and the pairs of the path map, in hexadecimal. Ends with the number of the error
    where the disk has no room.
    """
    database, selected, music_directory, *folders = map(bytes.fromhex, words)
    here = LibraryPaths(music_directory, zip(folders[::2], folders[1::2], strict=True)).here
    with closing(sqlite3.connect(os.fsdecode(database))) as connection:
        stored = connection.execute(selected.decode()).fetchall()
    answers, write = _room_for(len(stored)), TOLD.pack_into
    for at, (path,) in zip(range(0, len(answers), TOLD.size), stored, strict=True):
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


def _room_for(items: int) -> mmap.mmap | bytearray:
    """Standard output as memory, with room for all answers."""
    try:
        with open(1, "wb", closefd=False) as file:
            file.write(UNTOLD * items)
    except OSError as error:
        sys.exit(error.errno)
    return mmap.mmap(1, 0) if items else bytearray()  # an empty file cannot be mapped
