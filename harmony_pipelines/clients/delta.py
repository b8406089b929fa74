"""What it takes to get a file back that was replaced: little, since the new one has most of it.

The bytes of the old file are looked for in the new one, at the same place and at the same distance
from the end, and in the picture that was displaced; only where they differ are they written down.
"""

import hashlib
import json
import zlib
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO
from itertools import accumulate
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, Protocol

from harmony_pipelines.clients.digests import KIND, hash_of
from harmony_pipelines.clients.splice import BLOCK, blocks_of, read_at, size_of

_FROM_START, _FROM_END, _PICTURE, _NOTHING = range(4)
_STEP = 1 << 10
_ALIKE = 0.9
_LARGEST = 64 << 20
"""What may be written down at most: more says that the two files have little in common."""


_NAMED_BEFORE = {"old_sha256": "old_hash", "new_sha256": "new_hash"}


class Readable(Protocol):
    """Bytes of a known number."""

    size: int

    def read_at(self, start: int, length: int) -> bytes:
        """The bytes from `start`, fewer where they end before."""
        ...


class Run(NamedTuple):
    """So many bytes in a row from one source, as they are there or with differences."""

    source: int
    length: int
    differs: bool


@dataclass(frozen=True)
class Delta:
    """How an old file comes from a new one: runs from the sources, and where they differ, how."""

    old_hash: str
    old_size: int
    new_hash: str
    new_size: int
    picture_sha256: str | None
    picture_at: int
    runs: tuple[Run, ...]
    differences: bytes

    def packed(self) -> bytes:
        """The delta as bytes that can be kept."""
        head = {name: value for name, value in vars(self).items() if name != "differences"}
        return zlib.compress(json.dumps(head).encode() + b"\n" + self.differences)

    @classmethod
    def unpacked(cls, data: bytes) -> "Delta":
        """The delta that was packed."""
        head, _, differences = zlib.decompress(data).partition(b"\n")
        told: dict[str, Any] = json.loads(head)
        fields = {_NAMED_BEFORE.get(name, name): value for name, value in told.items()}
        fields["runs"] = tuple(Run(*run) for run in fields["runs"])
        return cls(**fields, differences=differences)


class WholeFile:
    """An open file as it lies on the disk."""

    def __init__(self, file: BinaryIO) -> None:
        self.size = size_of(file)
        self._file = file

    def read_at(self, start: int, length: int) -> bytes:
        """The bytes from `start`, fewer where the file ends before."""
        return read_at(self._file, start, max(0, min(length, self.size - start)))


class FormerFile:
    """The file that a newer one took the place of; `newer` may be a former file itself."""

    def __init__(self, newer: Readable, delta: Delta, picture: bytes = b"") -> None:
        self.size = delta.old_size
        self._runs = delta.runs
        self._starts = [0, *accumulate(run.length for run in delta.runs)]
        self._differences = delta.differences
        written = (run.length if run.differs else 0 for run in delta.runs)
        self._written = [0, *accumulate(written)]
        self._sources = _Sources(newer, delta.old_size, picture, delta.picture_at)

    def read_at(self, start: int, length: int) -> bytes:
        """The bytes from `start`, fewer where the file ends before."""
        pieces: list[bytes] = []
        end = min(start + length, self.size)
        while start < end:
            index = bisect_right(self._starts, start) - 1
            part = min(end, self._starts[index + 1]) - start
            pieces.append(self._piece(index, start, part))
            start += part
        return b"".join(pieces)

    def _piece(self, index: int, start: int, length: int) -> bytes:
        run = self._runs[index]
        found = self._sources.read_at(run.source, start, length)
        if not run.differs:
            return found
        at = self._written[index] + start - self._starts[index]
        return _difference(found, self._differences[at : at + length])


def delta_between(old: Path, new: Path, picture: bytes | None) -> Delta | None:
    """How `old` comes from `new` and the picture that was displaced; None if not at all cheaply."""
    with old.open("rb") as old_file, new.open("rb") as new_file:
        place = _place_of(picture, old_file) if picture else None
        wanted, newer = WholeFile(old_file), WholeFile(new_file)
        sources = _Sources(newer, wanted.size, picture or b"", place or 0)
        runs: list[Run] = []
        differences = bytearray()
        for run, different in _runs(wanted, sources, _PICTURE if place is None else _NOTHING):
            differences += different
            if len(differences) > _LARGEST:
                return None
            if runs and (runs[-1].source, runs[-1].differs) == (run.source, run.differs):
                run = run._replace(length=runs.pop().length + run.length)
            runs.append(run)
    return Delta(
        old_hash=hash_of_file(old),
        old_size=wanted.size,
        new_hash=hash_of_file(new),
        new_size=newer.size,
        picture_sha256=hashlib.sha256(picture).hexdigest()
        if picture and place is not None
        else None,
        picture_at=place or 0,
        runs=tuple(runs),
        differences=bytes(differences),
    )


def write_out(whole: Readable, path: Path) -> None:
    """Make `path` hold these bytes and no others."""
    with path.open("wb") as file:
        file.writelines(pieces_of(whole))


def pieces_of(whole: Readable) -> Iterator[bytes]:
    """Its bytes from the first to the last."""
    return (whole.read_at(start, BLOCK) for start in range(0, whole.size, BLOCK))


def hash_of_file(path: Path, known: str = KIND) -> str:
    """The hash of the whole file, of the same kind as a known one."""
    with path.open("rb", buffering=0) as file:
        return hash_of(_read(file), known)


def _read(file: FileIO) -> Iterator[memoryview]:
    block = memoryview(bytearray(BLOCK))
    while length := file.readinto(block):
        yield block[:length]


class _Sources:
    """Where the old file's bytes may be: twice in the newer file, and in the displaced picture."""

    def __init__(self, newer: Readable, old_size: int, picture: bytes, picture_at: int) -> None:
        self._newer, self._picture = newer, picture
        self._shifts = (0, newer.size - old_size, -picture_at)

    def read_at(self, source: int, start: int, length: int) -> bytes:
        """What a source has for that place in the old file; zeros where it has nothing."""
        if source == _NOTHING:
            return bytes(length)
        start += self._shifts[source]
        lead = min(length, max(0, -start))
        at, rest = max(0, start + lead), length - lead
        found = (
            self._picture[at : at + rest] if source == _PICTURE else self._newer.read_at(at, rest)
        )
        return found if len(found) == length else bytes(lead) + found.ljust(rest, b"\0")


def _runs(wanted: WholeFile, sources: _Sources, among: int) -> Iterator[tuple[Run, bytes]]:
    """The old file from its start to its end: large pieces where they are alike, else small."""
    last = _FROM_START
    for start in range(0, wanted.size, BLOCK):
        block = wanted.read_at(start, BLOCK)
        if sources.read_at(last, start, len(block)) == block:
            yield Run(last, len(block), differs=False), b""
            continue
        found = [sources.read_at(source, start, len(block)) for source in range(among)]
        for run, different in _pieces(block, found, last):
            last = run.source
            yield run, different


def _pieces(wanted: bytes, found: list[bytes], last: int) -> Iterator[tuple[Run, bytes]]:
    """The wanted bytes as runs of small pieces: as long as they can be, from the last source on."""
    source, begun = last if last < len(found) else 0, 0
    for start in range(0, len(wanted), _STEP):
        here = slice(start, start + _STEP)
        piece = wanted[here]
        if found[source][here] == piece:
            continue
        if begun < start:
            yield Run(source, start - begun, differs=False), b""
        pieces = [each[here] for each in found]
        if piece in pieces:
            source, begun = pieces.index(piece), start
        else:
            nearest, different = _nearest(piece, pieces, source)
            yield Run(nearest, len(piece), differs=True), different
            begun = start + len(piece)
    if begun < len(wanted):
        yield Run(source, len(wanted) - begun, differs=False), b""


def _nearest(wanted: bytes, found: list[bytes], first: int) -> tuple[int, bytes]:
    """Which of the found is most like the wanted, and the difference; `first` if it is alike."""
    different = _difference(found[first], wanted)
    if different.count(0) < _ALIKE * len(wanted):
        differences = [_difference(candidate, wanted) for candidate in found]
        different = max(differences, key=lambda each: each.count(0))
        first = differences.index(different)
    if different.count(0) * 2 < len(wanted):
        return _NOTHING, wanted
    return first, different


def _difference(one: bytes, other: bytes) -> bytes:
    both = int.from_bytes(one, "little") ^ int.from_bytes(other, "little")
    return both.to_bytes(len(one), "little")


def _place_of(picture: bytes, file: BinaryIO) -> int | None:
    """Where the picture seems to lie in the file; it need not be there in one piece."""
    head, before, at = picture[:_STEP], b"", 0
    for block in blocks_of(file, 0, size_of(file)):
        if (found := (before + block).find(head)) >= 0:
            return at - len(before) + found
        before = block[-len(head) :]
        at += len(block)
    return None
