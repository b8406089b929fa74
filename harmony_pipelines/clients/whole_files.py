"""Files that are there whole or not at all, whatever ends the writer."""

import filecmp
import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from harmony_pipelines.clients.file_errors import NO_SUCH_FEATURE
from harmony_pipelines.clients.pool import in_pool

_Item = TypeVar("_Item")
TEMPORARY = ".tmp-"
"""How the name of a file begins that is still being written."""


_SYNCS_AT_ONCE = 4
"""A disk takes little longer for a few syncs at once than for one."""


def write_whole(path: Path, data: bytes) -> None:
    """Put the bytes into a file readable by its owner only, synced and renamed into place."""
    write_all_whole({path: data})


def write_pieces(path: Path, pieces: Iterable[bytes], *, unless_same: bool = False) -> None:
    """The same with bytes that come in pieces; `unless_same` leaves a file that has them."""
    number, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)  # mode 0600
    temporary = Path(name)
    try:
        with os.fdopen(number, "wb") as file:
            file.writelines(pieces)
            file.flush()
            if unless_same and path.is_file() and filecmp.cmp(temporary, path, shallow=False):
                temporary.unlink()
                return
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_all_whole(contents: Mapping[Path, bytes]) -> None:
    """Put bytes into files readable by their owner only, all synced, then renamed into place."""
    made: dict[Path, Path] = {}
    try:
        for path, data in contents.items():
            number, name = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)  # mode 0600
            made[path] = Path(name)
            with os.fdopen(number, "wb") as file:
                file.write(data)
        at_once(sync_file, made.values())
        for path, temporary in made.items():
            temporary.replace(path)
    except BaseException:
        for temporary in made.values():
            temporary.unlink(missing_ok=True)
        raise
    at_once(sync_folder, {path.parent for path in contents})


def at_once(sync: Callable[[_Item], object], items: Collection[_Item]) -> None:
    """Wait for the disk for all of these, a few at once; a single one in this thread."""
    if len(items) < 2:
        for item in items:
            sync(item)
        return
    for _ in in_pool(sync, items, min(_SYNCS_AT_ONCE, len(items))):
        pass


def sync_file(path: Path) -> None:
    """Wait until the file's bytes are on the disk."""
    number = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def sync_folder(folder: Path) -> None:
    """Make what was put into the folder, or renamed in it, survive a power failure."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    except OSError as error:
        if error.errno not in NO_SUCH_FEATURE:
            raise
    finally:
        os.close(number)


def sweep_temporary(found: Iterable[Path], older_than_seconds: float = 3600.0) -> int:
    """Remove those of the files that a killed writer left behind; how many that was."""
    too_old = time.time() - older_than_seconds
    removed = 0
    for path in found:
        try:
            if path.name.startswith(TEMPORARY) and path.stat().st_mtime < too_old:
                path.unlink()
                removed += 1
        except FileNotFoundError:
            continue  # its writer finished, or another sweep was faster
    return removed
