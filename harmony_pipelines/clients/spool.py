"""Rows put aside on the disk until all are there, so that no transaction waits for their making."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any


class Spool:
    """Takes rows of texts, numbers and nulls, and gives them back in order, as often as asked."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file

    def add(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Put rows after those that are there."""
        self._file.writelines(f"{json.dumps(row)}\n" for row in rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows, from the first one on; none may be added meanwhile."""
        self._file.seek(0)
        return map(json.loads, self._file)


@contextmanager
def spool(folder: Path) -> Iterator[Spool]:
    """An empty one in the folder, under no name: it is gone however this process ends."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", dir=folder) as file:
        yield Spool(file)
