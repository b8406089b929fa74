"""The front cover among the frames of an ID3v2 tag, every other frame kept as its bytes.

No library does this: mutagen writes each frame anew (versions, text endings and flags change), so
the frames are walked and put together here.
"""

import re
import struct
import zlib
from dataclasses import dataclass, replace

from harmony_pipelines.clients.front_cover import FRONT, NewCover, position_of_front

_UNSYNCHRONISED, _EXTENDED, _FOOTER = 0x80, 0x40, 0x10
_NEW_TAG = b"ID3\x03\x00\x00\x00\x00\x00\x00"
_FRAME_ID = re.compile(rb"[A-Z0-9]{3}[A-Z0-9 \0]")
_SHORT_FRAME_ID = re.compile(rb"[A-Z0-9]{3}")
_SHORT_TYPES = {"image/jpeg": b"JPG", "image/png": b"PNG"}
_CHECKSUM = {3: (4, 0x80), 4: (5, 0x20)}
_MOST_UNPACKED = 1 << 26
_TWO_BYTE_TEXT = frozenset({1, 2})


def length_of_id3(head: bytes) -> int:
    """Length of the ID3v2 tag that starts with these ten bytes; 0 where none starts."""
    if head[:3] != b"ID3" or len(head) < 10 or not 2 <= head[3] <= 4 or max(head[6:10]) > 0x7F:
        return 0
    footer = 10 if head[3] == 4 and head[5] & _FOOTER else 0
    return 10 + _from_syncsafe(head[6:10]) + footer


@dataclass(frozen=True)
class _Picture:
    """An attached picture: what stands before its bytes, in the words of its own frame."""

    encoding: int
    mime: bytes
    kind: int
    description: bytes
    data: bytes


_NO_PICTURE = _Picture(0, b"", FRONT, b"\0", b"")


@dataclass(frozen=True)
class Id3Tag:
    """An ID3v2 tag taken apart into frames."""

    version: bytes
    flags: int
    extended: bytes
    frames: tuple[bytes, ...]
    trailer: bytes
    plain_sizes: bool

    @classmethod
    def parse(cls, raw: bytes) -> "Id3Tag":
        """The tag in `raw`, which is all of it; empty bytes are an empty tag of version 2.3."""
        raw = raw or _NEW_TAG
        major, flags = raw[3], raw[5]
        body = raw[10 : 10 + _from_syncsafe(raw[6:10])]
        if major < 4 and flags & _UNSYNCHRONISED:
            body = _synchronised(body)
        extended = _extended_header(major, flags, body)
        frames, trailer, plain = _walk(major, body[len(extended) :])
        return cls(raw[3:5], flags, extended, frames, trailer, plain)

    def front(self) -> tuple[str, bytes] | None:
        """The front cover's declared type and its bytes."""
        picture = self._pictures()[1]
        return picture and (picture.mime.decode("latin-1"), picture.data)

    def rest(self) -> tuple[bytes, ...]:
        """All but the front cover; nothing at all for a tag that holds nothing else."""
        at = self._pictures()[0]
        others = tuple(f for number, f in enumerate(self.frames) if number != at)
        if not others and not self.trailer:
            return ()
        return (self.version, bytes([self.flags]), self.extended, *others, self.trailer)

    def with_front(self, cover: NewCover | None) -> "Id3Tag":
        """The tag with this front cover; None: without one."""
        at, picture = self._pictures()
        frames = list(self.frames)
        if at is None:
            at = len(frames)
        else:
            del frames[at]
        if cover is not None:
            frames.insert(at, self._picture_frame(picture or _NO_PICTURE, cover))
        return replace(self, frames=tuple(frames))

    def render(self) -> bytes:
        """The tag's bytes; none at all for a tag without frames and padding."""
        body = self.extended + b"".join(self.frames) + self.trailer
        if not self.frames and not self.trailer:
            return b""
        if self._major < 4 and self.flags & _UNSYNCHRONISED:
            body = _unsynchronised(body)
        head = self.version + bytes([self.flags]) + _syncsafe(len(body))
        footer = b"3DI" + head if self._major == 4 and self.flags & _FOOTER else b""
        return b"ID3" + head + body + footer

    @property
    def _major(self) -> int:
        return self.version[0]

    def _pictures(self) -> tuple[int | None, _Picture | None]:
        pictures = [self._picture(frame) for frame in self.frames]
        at = position_of_front([p.kind if p else None for p in pictures])
        return at, None if at is None else pictures[at]

    def _picture(self, frame: bytes) -> _Picture | None:
        if not frame.startswith(b"PIC" if self._major == 2 else b"APIC"):
            return None
        try:
            content = self._content(frame)
            return _picture_in(content, short=self._major == 2) if content else None
        except (ValueError, IndexError, zlib.error):
            return None

    def _content(self, frame: bytes) -> bytes | None:
        """What the frame holds, unpacked; None where it is encrypted."""
        if self._major == 2:
            return frame[6:]
        return self._content_v3(frame) if self._major == 3 else self._content_v4(frame)

    def _content_v3(self, frame: bytes) -> bytes | None:
        packed, encrypted, grouped = (frame[9] & bit for bit in (0x80, 0x40, 0x20))
        if encrypted:
            return None
        content = frame[10 + (4 if packed else 0) + (1 if grouped else 0) :]
        return _unpacked(content) if packed else content

    def _content_v4(self, frame: bytes) -> bytes | None:
        grouped, packed, encrypted, unsynchronised, measured = (
            frame[9] & bit for bit in (0x40, 0x08, 0x04, 0x02, 0x01)
        )
        if encrypted:
            return None
        content = frame[10 + (1 if grouped else 0) + (4 if measured else 0) :]
        if unsynchronised or self.flags & _UNSYNCHRONISED:
            content = _synchronised(content)
        return _unpacked(content) if packed else content

    def _picture_frame(self, old: _Picture, cover: NewCover) -> bytes:
        mime = cover.mime.encode() + b"\0"
        if self._major == 2:
            mime = _SHORT_TYPES.get(cover.mime, cover.mime[6:9].upper().encode().ljust(3))
        content = b"".join(
            (bytes([old.encoding]), mime, bytes([old.kind]), old.description, cover.data)
        )
        if self._major == 2:
            return b"PIC" + len(content).to_bytes(3, "big") + content
        flags = b"\0\0"
        if self._major == 4 and self.flags & _UNSYNCHRONISED:
            content, flags = _unsynchronised(content), b"\0\x02"
        plain = self._major == 3 or self.plain_sizes
        size = struct.pack(">I", len(content)) if plain else _syncsafe(len(content))
        return b"APIC" + size + flags + content


def _picture_in(content: bytes, *, short: bool) -> _Picture | None:
    """The picture in a frame's content; None where it is empty or only a link."""
    end = 4 if short else content.index(b"\0", 1)
    mime, at = content[1:end], end if short else end + 1
    if content[0] in _TWO_BYTE_TEXT:
        stop = at + 1
        while content[stop : stop + 2] != b"\0\0":
            stop += 2
            if stop >= len(content):
                raise ValueError("a picture's description has no end")
        stop += 2
    else:
        stop = content.index(b"\0", at + 1) + 1
    data = content[stop:]
    if not data or mime == b"-->":
        return None
    return _Picture(content[0], mime, content[at], content[at + 1 : stop], data)


def _extended_header(major: int, flags: int, body: bytes) -> bytes:
    if not flags & _EXTENDED:
        return b""
    if major == 2:
        raise ValueError("the ID3v2.2 tag is compressed, in a way that was never defined")
    if _FRAME_ID.match(body):
        return b""  # some taggers raise the flag and write no header
    length = 4 + struct.unpack_from(">I", body)[0] if major == 3 else _from_syncsafe(body[:4])
    at, bit = _CHECKSUM[major]
    if body[at] & bit:
        raise ValueError("the ID3 tag carries a checksum, which a new picture would break")
    return body[:length]


def _walk(major: int, body: bytes) -> tuple[tuple[bytes, ...], bytes, bool]:
    """Frames, what follows them, and whether their sizes are plain numbers.

    ID3v2.4 sizes are synchsafe, but old iTunes wrote plain ones: the reading that ends in clean
    padding is the right one.
    """
    for plain in (False, True) if major == 4 else (True,):
        walked = _frames(body, major, plain)
        if walked and (major < 4 or not any(walked[1])):
            return *walked, plain
    raise ValueError("the frames of the ID3 tag cannot be told apart")


def _frames(body: bytes, major: int, plain: bool) -> tuple[tuple[bytes, ...], bytes] | None:
    head, name = (6, _SHORT_FRAME_ID) if major == 2 else (10, _FRAME_ID)
    frames: list[bytes] = []
    at = 0
    while at + head <= len(body) and body[at]:
        size = body[at + 3 : at + 6] if major == 2 else body[at + 4 : at + 8]
        if not name.match(body, at) or (not plain and max(size) > 0x7F):
            return None
        end = at + head + (int.from_bytes(size, "big") if plain else _from_syncsafe(size))
        if end > len(body):
            return None
        frames.append(body[at:end])
        at = end
    return tuple(frames), body[at:]


def _unpacked(content: bytes) -> bytes:
    return zlib.decompressobj().decompress(content, _MOST_UNPACKED)


def _syncsafe(number: int) -> bytes:
    if number >= 1 << 28:
        raise ValueError("an ID3 tag holds less than 256 MiB")
    return bytes(number >> shift & 0x7F for shift in (21, 14, 7, 0))


def _from_syncsafe(raw: bytes) -> int:
    return sum((byte & 0x7F) << shift for byte, shift in zip(raw, (21, 14, 7, 0), strict=True))


def _synchronised(raw: bytes) -> bytes:
    return raw.replace(b"\xff\0", b"\xff")


_FALSE_SYNC = re.compile(rb"\xff(?=[\xe0-\xff\0]|\Z)")


def _unsynchronised(raw: bytes) -> bytes:
    return _FALSE_SYNC.sub(b"\xff\0", raw)
