"""Learns size and time of change of a library's files, without hanging with their share."""

import os
import subprocess
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

from harmony_pipelines.clients.file_errors import file_error
from harmony_pipelines.clients.folders import child, end, ended_early, hung
from harmony_pipelines.clients.telling import TOLD, UNTOLD
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.library import LibraryPaths

_TELL = f"""
import sys
sys.path.append({str(Path(__file__).parents[2])!r})
from harmony_pipelines.clients.telling import tell
tell(*sys.argv[1:])
"""

Told = tuple[int, int, int]
"""As in `telling.TOLD`."""


@contextmanager
def telling_of(
    copy: Path, selected: str, paths: LibraryPaths, deadline: Deadline, seconds: float = 10.0
) -> Iterator[Callable[[Sequence[bytes]], list[Told]]]:
    """Have the system asked of the files whose paths are selected in a private copy meanwhile.

    What is given waits for all that was told, and is told in turn where the files are, to name
    one. As in `look_at` a child process asks, and is killed once nothing was told for `seconds`.
    It reads for itself where the files are, and answers in memory that is a file beside the copy,
    as there are many.
    """
    folders = [paths.music_directory, *chain.from_iterable(paths.path_map)]
    words = [os.fsencode(copy), selected.encode(), *folders]
    with TemporaryFile(buffering=0, dir=copy.parent) as answers:
        process = subprocess.Popen(
            [*child(_TELL), *(word.hex() for word in words)],
            stdin=subprocess.DEVNULL,
            stdout=answers,
            stderr=subprocess.PIPE,
        )
        try:
            yield partial(_all_told, process, answers, copy.parent, deadline, seconds)
        finally:
            end(process)


def _all_told(  # noqa: PLR0913
    process: subprocess.Popen[bytes],
    answers: BinaryIO,
    folder: Path,
    deadline: Deadline,
    seconds: float,
    files: Sequence[bytes],
) -> list[Told]:
    told = 0
    while files and process.returncode is None:
        try:
            process.communicate(timeout=deadline.limit(seconds))
        except subprocess.TimeoutExpired as slow:
            deadline.check()
            before, told = told, _how_many(answers)
            if told == before:
                raise hung(files[min(told, len(files) - 1)], process.pid, seconds) from slow
    if _how_many(answers) != len(files):
        if (error := process.returncode or 0) > 1:  # which is what Python ends with by itself
            raise file_error(folder, OSError(error, os.strerror(error)))
        raise ended_early()
    answers.seek(0)
    return list(TOLD.iter_unpack(answers.read()))


def _how_many(answers: BinaryIO) -> int:
    """How many are told; the first that is not is looked for, as they are told in their order."""

    def is_untold(number: int) -> bool:
        return os.pread(answers.fileno(), TOLD.size, number * TOLD.size) == UNTOLD

    return bisect_left(range(os.fstat(answers.fileno()).st_size // TOLD.size), True, key=is_untold)
