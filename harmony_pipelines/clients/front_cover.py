"""A front cover as it lies in an audio file, and one that is to go into it."""

import hashlib
import struct
from dataclasses import dataclass, field
from functools import cached_property

FRONT = 3
"""The picture type *front cover* that ID3, FLAC, Vorbis and ASF share."""

UNTYPED = 0
"""The picture type *other*, which older taggers give to the only cover."""

_MAGIC = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})


@dataclass(frozen=True)
class NewCover:
    """A picture that passed the image gate and may be embedded."""

    data: bytes = field(repr=False)
    mime: str
    width: int
    height: int

    @cached_property
    def sha256(self) -> str:
        """What its bytes are known by."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True)
class FrontCover:
    """The front cover found in a file; width and height when its header gives them cheaply."""

    data: bytes = field(repr=False)
    mime: str
    width: int | None
    height: int | None

    @cached_property
    def sha256(self) -> str:
        """What its bytes are known by."""
        return hashlib.sha256(self.data).hexdigest()

    @classmethod
    def of(cls, data: bytes, declared_mime: str) -> "FrontCover":
        """The cover with what its own bytes say; `declared_mime` only where they say nothing."""
        width, height = _size(data) or (None, None)
        return cls(data, mime_of(data) or declared_mime, width, height)


def position_of_front(types: list[int | None]) -> int | None:
    """Which of a file's pictures is the front cover, by their types (`None`: not a picture).

    Players show a lone untyped picture as the cover, so it is one; otherwise the policy `missing`
    would put a second picture into every file of an older tagger.
    """
    for wanted in (FRONT, UNTYPED):
        if wanted in types:
            return types.index(wanted)
    return None


def mime_of(data: bytes) -> str | None:
    """The kind of picture that the first bytes say; None where they say none that we know."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((mime for magic, mime in _MAGIC.items() if data.startswith(magic)), None)


def _size(data: bytes) -> tuple[int, int] | None:
    try:
        if data.startswith(b"\x89PNG"):
            return struct.unpack(">II", data[16:24])
        if data.startswith(b"\xff\xd8"):
            return _jpeg_size(data)
    except (struct.error, IndexError):
        return None
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _JPEG_FRAMES:
            height, width = struct.unpack(">HH", data[at + 5 : at + 9])
            return width, height
        if marker == 0xFF:
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
