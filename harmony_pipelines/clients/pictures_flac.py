"""The front cover among the metadata blocks of a FLAC file, and FLAC's picture block itself."""

import struct
from dataclasses import dataclass, replace
from typing import BinaryIO

from harmony_pipelines.clients.front_cover import FRONT, NewCover, position_of_front
from harmony_pipelines.clients.splice import Edit, read_at, size_of

_PADDING, _PICTURE, _LAST = 1, 6, 0x80
_LARGEST_BLOCK = (1 << 24) - 1


@dataclass(frozen=True)
class PictureBlock:
    """FLAC's picture structure, which Vorbis comments carry as base64."""

    kind: int
    mime: bytes
    description: bytes
    measures: tuple[int, int, int, int]
    data: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "PictureBlock":
        """The picture in `raw`; ValueError or struct.error where it is none."""
        kind, mime_size = struct.unpack_from(">II", raw)
        at = 8 + mime_size
        (text_size,) = struct.unpack_from(">I", raw, at)
        end = at + 4 + text_size
        *measures, size = struct.unpack_from(">5I", raw, end)
        data = raw[end + 20 : end + 20 + size]
        if len(data) != size:
            raise ValueError("a picture is longer than its block")
        width, height, depth, colours = measures
        text = raw[at + 4 : end]
        return cls(kind, raw[8:at], text, (width, height, depth, colours), data)

    def render(self) -> bytes:
        """The block's body."""
        return b"".join(
            (
                struct.pack(">II", self.kind, len(self.mime)),
                self.mime,
                struct.pack(">I", len(self.description)),
                self.description,
                struct.pack(">5I", *self.measures, len(self.data)),
                self.data,
            )
        )

    def showing(self, cover: NewCover, *, measured: bool = True) -> "PictureBlock":
        """This picture's type and description with the cover's bytes.

        Readers want the measures all true or all zero: `measured` says which.
        """
        measures = (cover.width, cover.height, 24, 0) if measured else (0, 0, 0, 0)
        return replace(self, mime=cover.mime.encode(), measures=measures, data=cover.data)


NO_PICTURE = PictureBlock(FRONT, b"", b"", (0, 0, 0, 0), b"")
"""What a front cover is made from where there was none."""


def picture_or_none(raw: bytes) -> PictureBlock | None:
    """The embedded picture in `raw`, or None where it is broken, empty or only a link."""
    try:
        block = PictureBlock.parse(raw)
    except (struct.error, ValueError):
        return None
    return block if block.data and block.mime != b"-->" else None


class FlacTags:
    """The metadata blocks of a FLAC file, each as its bytes."""

    def __init__(self, file: BinaryIO, start: int) -> None:
        self._file = file
        self._start = start + 4
        self._blocks: list[tuple[int, bytes]] = []
        self._end = self._read_blocks()
        pictures = [
            picture_or_none(body) if kind == _PICTURE else None for kind, body in self._blocks
        ]
        self._at = position_of_front([p.kind if p else None for p in pictures])
        self._front = None if self._at is None else pictures[self._at]

    def _read_blocks(self) -> int:
        at, kind, size = self._start, 0, size_of(self._file)
        while not kind & _LAST:
            header = read_at(self._file, at, 4)
            kind, length = header[0], int.from_bytes(header[1:], "big")
            self._blocks.append((kind & ~_LAST, read_at(self._file, at + 4, length)))
            at += 4 + length
        sync = read_at(self._file, at, min(2, size - at))
        if sync and (sync[0] != 0xFF or sync[-1] & 0xFC != 0xF8):
            raise ValueError("no audio follows the metadata blocks: one has a wrong length")
        return at

    def front(self) -> tuple[str, bytes] | None:
        """The front cover's declared type and its bytes."""
        return self._front and (self._front.mime.decode("latin-1"), self._front.data)

    def rest(self) -> tuple[bytes, ...]:
        """All blocks but the front cover's, and what stands before them."""
        others = [b for at, b in enumerate(self._blocks) if at != self._at]
        return (
            read_at(self._file, 0, self._start),
            *(bytes([kind]) + body for kind, body in others),
        )

    def edits(self, cover: NewCover | None) -> list[Edit]:
        """What gives the blocks this front cover; None: none."""
        blocks = list(self._blocks)
        at = self._at
        if at is None:
            at = len(blocks)
            while blocks[at - 1][0] == _PADDING:
                at -= 1
        else:
            del blocks[at]
        if cover is not None:
            block = (self._front or NO_PICTURE).showing(cover)
            blocks.insert(at, (_PICTURE, block.render()))
        return [Edit(self._start, self._end - self._start, _rendered(blocks))]


def _rendered(blocks: list[tuple[int, bytes]]) -> bytes:
    parts: list[bytes] = []
    for number, (kind, body) in enumerate(blocks, start=1):
        if len(body) > _LARGEST_BLOCK:
            raise ValueError("a FLAC metadata block holds less than 16 MiB")
        last = _LAST if number == len(blocks) else 0
        parts += (bytes([kind | last]), len(body).to_bytes(3, "big"), body)
    return b"".join(parts)
