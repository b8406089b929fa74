"""The tags that stand behind the audio: APEv2, Lyrics3v2 and ID3v1, in any order."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from harmony_pipelines.clients.splice import read_at, size_of

_HAS_HEADER, _IS_HEADER = 1 << 31, 1 << 29


@dataclass(frozen=True)
class TrailingTags:
    """Where the tags behind the audio begin, and the APEv2 tag among them (start, end)."""

    start: int
    ape: tuple[int, int] | None


def trailing_tags(file: BinaryIO) -> TrailingTags:
    """The tags at the end of the file, found from its end backwards."""
    start, ape = size_of(file), None
    while True:
        if found := _ape_before(file, start):
            ape = ape or (found, start)
        found = found or _lyrics_before(file, start) or _id3v1_before(file, start)
        if found is None:
            return TrailingTags(start, ape)
        start = found


def _ape_before(file: BinaryIO, end: int) -> int | None:
    if end < 32:
        return None
    footer = read_at(file, end - 32, 32)
    size, _, flags = struct.unpack_from("<3I", footer, 12)
    if footer[:8] != b"APETAGEX" or flags & _IS_HEADER or size < 32:
        return None
    start = end - size - (32 if flags & _HAS_HEADER else 0)
    return start if start >= 0 else None


def _lyrics_before(file: BinaryIO, end: int) -> int | None:
    if end < 26:
        return None
    tail = read_at(file, end - 15, 15)
    if tail[6:] != b"LYRICS200" or not tail[:6].isdigit():
        return None
    start = end - 15 - int(tail[:6])
    begins = start >= 0 and read_at(file, start, 11) == b"LYRICSBEGIN"
    return start if begins else None


def _id3v1_before(file: BinaryIO, end: int) -> int | None:
    if end != size_of(file) or end < 128:
        return None
    return end - 128 if read_at(file, end - 128, 3) == b"TAG" else None
