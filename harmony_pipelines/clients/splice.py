"""Bytes inside a file: read exactly so many, put others in the place of a stretch."""

import os
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

BLOCK = 1 << 18


def read_at(file: BinaryIO, start: int, length: int) -> bytes:
    """Exactly `length` bytes from `start`; ValueError where the file ends before."""
    file.seek(start)
    data = file.read(length)
    if len(data) != length:
        raise ValueError(f"the file ends {length - len(data)} bytes too early")
    return data


def blocks_of(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    """The bytes between two places, a block at a time."""
    file.seek(start)
    while start < end:
        block = file.read(min(BLOCK, end - start))
        if not block:
            raise ValueError(f"the file ends {end - start} bytes too early")
        yield block
        start += len(block)


def size_of(file: BinaryIO) -> int:
    """The file's size in bytes."""
    return file.seek(0, os.SEEK_END)


class Edit(NamedTuple):
    """A stretch of a file, and the bytes that are to stand in its place."""

    start: int
    length: int
    new: bytes


def write_edited(source: BinaryIO, edits: Iterable[Edit], target: BinaryIO) -> None:
    """Write the source with its edits, which do not overlap; ValueError where it ends too early."""
    at, end = 0, size_of(source)
    for edit in sorted(edits):
        target.writelines(blocks_of(source, at, edit.start))
        target.write(edit.new)
        at = edit.start + edit.length
    target.writelines(blocks_of(source, at, end))
