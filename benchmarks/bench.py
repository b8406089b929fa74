"""What every measurement is given: a folder, how often and how large, and somebody to tell."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Bench:
    """One run of the benchmarks."""

    folder: Path
    quick: bool
    say: Callable[[str], None] = print

    @property
    def times(self) -> int:
        """How often each side of a comparison is measured."""
        return self.size(5, 1)

    def size(self, full: int, quick: int) -> int:
        """How large a measurement is; a quick run makes do with less."""
        return quick if self.quick else full

    def place(self, name: str) -> Path:
        """An empty folder of that name."""
        folder = self.folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder
