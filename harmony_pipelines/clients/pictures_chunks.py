"""Where an ID3 tag lies: before the audio (MP3), in a chunk (AIFF, WAV), behind it (DSF)."""

import struct
from dataclasses import dataclass
from typing import BinaryIO

from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.clients.pictures_id3 import Id3Tag, length_of_id3
from harmony_pipelines.clients.splice import Edit, read_at, size_of
from harmony_pipelines.clients.trailing_tags import trailing_tags

_ID3_CHUNKS = (b"ID3 ", b"id3 ")
_DSF_SIZE_AT = 12


class _Id3Home:
    """A file with an ID3 tag at a place that the kind of file decides."""

    def __init__(self, file: BinaryIO, start: int, length: int) -> None:
        self._file = file
        self._start = start
        self._length = length
        raw = read_at(file, start, length) if length else b""
        if raw and length_of_id3(raw[:10]) not in range(10, length + 1):
            raise ValueError("the ID3 chunk holds no ID3 tag")
        self._tag = Id3Tag.parse(raw)

    def front(self) -> tuple[str, bytes] | None:
        """The front cover's declared type and its bytes."""
        return self._tag.front()


class Mp3Tags(_Id3Home):
    """The ID3v2 tag before the frames of an MP3."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__(file, 0, length_of_id3(read_at(file, 0, 10)))

    def rest(self) -> tuple[bytes, ...]:
        """All frames but the front cover, and the tags behind the audio."""
        self._file.seek(trailing_tags(self._file).start)
        return (*self._tag.rest(), self._file.read())

    def edits(self, cover: NewCover | None) -> list[Edit]:
        """What gives the tag this front cover; None: none."""
        return [Edit(0, self._length, self._tag.with_front(cover).render())]


class DsfTags(_Id3Home):
    """The ID3v2 tag at the end of a DSF file, to which the file's header points."""

    def __init__(self, file: BinaryIO) -> None:
        pointer = struct.unpack("<Q", read_at(file, 20, 8))[0]
        end = size_of(file)
        if pointer > end:
            raise ValueError("the tag of the DSF file lies behind its end")
        super().__init__(file, pointer or end, end - pointer if pointer else 0)

    def rest(self) -> tuple[bytes, ...]:
        """All frames but the front cover."""
        return self._tag.rest()

    def edits(self, cover: NewCover | None) -> list[Edit]:
        """What gives the tag this front cover; None: none."""
        raw = self._tag.with_front(cover).render()
        sizes = struct.pack("<2Q", self._start + len(raw), self._start if raw else 0)
        return [Edit(_DSF_SIZE_AT, len(sizes), sizes), Edit(self._start, self._length, raw)]


@dataclass(frozen=True)
class Chunk:
    """A chunk of an IFF or RIFF file: its name, and where its payload lies."""

    name: bytes
    start: int
    length: int


@dataclass(frozen=True)
class Form:
    """An IFF (`>`) or RIFF (`<`) file's chunks, and where they end."""

    order: str
    end: int
    chunks: tuple[Chunk, ...]

    @classmethod
    def read(cls, file: BinaryIO) -> "Form":
        """The chunks of the file; ValueError where they do not fill the form."""
        order = "<" if read_at(file, 0, 4) == b"RIFF" else ">"
        end = 8 + struct.unpack(order + "I", read_at(file, 4, 4))[0]
        if end > size_of(file):
            raise ValueError("the file ends before its last chunk")
        chunks: list[Chunk] = []
        at = 12
        while at + 8 <= end:
            name, length = struct.unpack(order + "4sI", read_at(file, at, 8))
            if at + 8 + length > end:
                raise ValueError(f"the chunk {name!r} is longer than the file")
            chunks.append(Chunk(name, at + 8, length))
            at += 8 + length + length % 2
        return cls(order, end, tuple(chunks))


class FormTags(_Id3Home):
    """The ID3 chunk of an AIFF or WAV file."""

    def __init__(self, file: BinaryIO) -> None:
        self._form = Form.read(file)
        self._chunk = next((c for c in self._form.chunks if c.name in _ID3_CHUNKS), None)
        if self._chunk is None:
            super().__init__(file, self._form.end, 0)
        else:
            super().__init__(file, self._chunk.start, self._chunk.length)

    def rest(self) -> tuple[bytes, ...]:
        """All frames but the front cover, the other chunks, and what follows the form."""
        chunks = [c for c in self._form.chunks if c is not self._chunk]
        raw = [c.name + read_at(self._file, c.start, c.length) for c in chunks]
        self._file.seek(self._form.end)
        return (*self._tag.rest(), *raw, self._file.read())

    def edits(self, cover: NewCover | None) -> list[Edit]:
        """What gives the chunk this front cover; None: none."""
        tag = self._tag.with_front(cover).render()
        name = self._chunk.name if self._chunk else self._new_name
        start, length = self._form.end, 0
        if self._chunk:
            start, length = (
                self._chunk.start - 8,
                min(8 + _even(self._length), start - self._start + 8),
            )
        gap = b"\0" * (start % 2)
        new = b""
        if tag:
            head = struct.pack(self._form.order + "4sI", name, len(tag))
            new = gap + head + tag + b"\0" * (len(tag) % 2)
        size = struct.pack(self._form.order + "I", self._form.end - 8 - length + len(new))
        return [Edit(4, len(size), size), Edit(start, length, new)]

    @property
    def _new_name(self) -> bytes:
        return b"ID3 " if self._form.order == ">" else b"id3 "


def _even(length: int) -> int:
    return length + length % 2
