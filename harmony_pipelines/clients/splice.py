"""Bytes inside a file: read exactly so many, put others in the place of a stretch."""

import os
from collections.abc import Iterator
from typing import BinaryIO

BLOCK = 1 << 20


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


def splice(file: BinaryIO, start: int, length: int, new: bytes) -> None:
    """Put `new` in the place of the `length` bytes at `start`; what follows moves along."""
    end = size_of(file)
    old_tail, new_tail = start + length, start + len(new)
    if new_tail > old_tail:
        for at in range(old_tail + (end - old_tail - 1) // BLOCK * BLOCK, old_tail - 1, -BLOCK):
            _move(file, at, min(BLOCK, end - at), new_tail - old_tail)
    elif new_tail < old_tail:
        for at in range(old_tail, end, BLOCK):
            _move(file, at, min(BLOCK, end - at), new_tail - old_tail)
        file.truncate(end + new_tail - old_tail)
    file.seek(start)
    file.write(new)


def _move(file: BinaryIO, start: int, length: int, by: int) -> None:
    block = read_at(file, start, length)
    file.seek(start + by)
    file.write(block)
