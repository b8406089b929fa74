"""Files that are there whole or not at all, whatever ends the writer."""

import filecmp
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from harmony_pipelines.clients.file_errors import NO_SUCH_FEATURE

TEMPORARY = ".tmp-"
"""How the name of a file begins that is still being written."""


def write_whole(path: Path, data: bytes) -> None:
    """Put the bytes into a file readable by its owner only, synced and renamed into place."""
    write_pieces(path, [data])


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
