"""The front cover among the attributes of an ASF (WMA) file's header."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from harmony_pipelines.clients.front_cover import FRONT, NewCover, position_of_front
from harmony_pipelines.clients.splice import Edit, read_at

HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_CONTENT = bytes.fromhex("40a4d0d207e3d21197f000a0c95ea850")
_EXTENSION = bytes.fromhex("b503bf5f2ea9cf118ee300c00c205365")
_LIBRARY = bytes.fromhex("941c23449894d149a1411d134e457054")
_EXTENSION_HEAD = bytes.fromhex("11d2d3abbaa9cf118ee600c00c2053650600")
_LARGEST_HEADER = 1 << 27
_NAME = "WM/Picture\0".encode("utf-16-le")
_BINARY = 1
_LARGEST_CONTENT = 0xFFFF


@dataclass(frozen=True)
class _Object:
    """A part of the header: what it is, and its payload."""

    guid: bytes
    payload: bytes

    def render(self) -> bytes:
        return self.guid + struct.pack("<Q", 24 + len(self.payload)) + self.payload


def objects(raw: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The identifier and payload of each object in `raw`, which they fill."""
    at = 0
    while at < len(raw):
        guid, size = struct.unpack_from("<16sQ", raw, at)
        if size < 24 or at + size > len(raw):
            raise ValueError("an object of the ASF header is longer than the header")
        yield guid, raw[at + 24 : at + size]
        at += size


@dataclass(frozen=True)
class _Picture:
    kind: int
    words: bytes
    data: bytes


class AsfTags:
    """The header of an ASF file, its attributes each as its bytes.

    An attribute above 64 KiB does not fit among the content descriptions and stands in the
    metadata library, inside the header extension.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._length, self._count = struct.unpack("<QI", read_at(file, 16, 12))
        if not 30 <= self._length <= _LARGEST_HEADER:
            raise ValueError("the length of the ASF header is wrong")
        self._reserved = read_at(file, 28, 2)
        self._objects = _parsed(read_at(file, 30, self._length - 30))
        at = _index(self._objects, _EXTENSION)
        inner = self._objects[at].payload[22:] if at is not None else b""
        self._inner = _parsed(inner)
        self._contents = _attributes(self._objects, _CONTENT)
        self._library = _attributes(self._inner, _LIBRARY)
        self._all = [*self._contents, *self._library]
        pictures = [_content_picture(raw) for raw in self._contents]
        pictures += [_library_picture(raw) for raw in self._library]
        self._at = position_of_front([p.kind if p else None for p in pictures])
        self._front = None if self._at is None else pictures[self._at]

    def front(self) -> tuple[str, bytes] | None:
        """The front cover's declared type and its bytes."""
        if self._front is None:
            return None
        return self._front.words.decode("utf-16-le").split("\0")[0], self._front.data

    def rest(self) -> tuple[bytes, ...]:
        """All attributes but the front cover, and all other objects."""
        others = [raw for at, raw in enumerate(self._all) if at != self._at]
        known = (_CONTENT, _EXTENSION, _LIBRARY)
        parts = [o.render() for o in (*self._objects, *self._inner) if o.guid not in known]
        return (self._reserved, *others, *parts)

    def edits(self, cover: NewCover | None) -> list[Edit]:
        """What gives the header this front cover; None: none."""
        homes = (list(self._contents), list(self._library))
        at = self._at
        old_home, old_at = (0, at) if at is None or at < len(homes[0]) else (1, at - len(homes[0]))
        if old_at is not None:
            del homes[old_home][old_at]
        if cover is not None:
            value = _value(self._front, cover)
            home = 1 if len(value) > _LARGEST_CONTENT else 0
            place = old_at if old_at is not None and home == old_home else len(homes[home])
            homes[home].insert(place, _in_library(value) if home else _in_contents(value))
        return [Edit(0, self._length, self._header(*homes))]

    def _header(self, contents: list[bytes], library: list[bytes]) -> bytes:
        inner = _with_attributes(self._inner, _LIBRARY, library)
        outer = _with_attributes(self._objects, _CONTENT, contents)
        at = _index(outer, _EXTENSION)
        raw = b"".join(part.render() for part in inner)
        extension = _Object(_EXTENSION, _EXTENSION_HEAD + struct.pack("<I", len(raw)) + raw)
        if at is not None:
            head = outer[at].payload[:18]
            outer[at] = _Object(_EXTENSION, head + struct.pack("<I", len(raw)) + raw)
        elif inner:
            outer.append(extension)
        body = b"".join(part.render() for part in outer)
        count = self._count + len(outer) - len(self._objects)
        head = HEADER + struct.pack("<QI", 30 + len(body), count) + self._reserved
        return head + body


def _parsed(raw: bytes) -> list[_Object]:
    return [_Object(guid, payload) for guid, payload in objects(raw)]


def _index(of: list[_Object], guid: bytes) -> int | None:
    return next((at for at, found in enumerate(of) if found.guid == guid), None)


def _attributes(of: list[_Object], guid: bytes) -> list[bytes]:
    at = _index(of, guid)
    if at is None:
        return []
    payload = of[at].payload
    found: list[bytes] = []
    place = 2
    for _ in range(struct.unpack_from("<H", payload)[0]):
        if guid == _CONTENT:
            name = struct.unpack_from("<H", payload, place)[0]
            end = place + 6 + name + struct.unpack_from("<H", payload, place + 4 + name)[0]
        else:
            name, _, size = struct.unpack_from("<HHI", payload, place + 4)
            end = place + 12 + name + size
        found.append(payload[place:end])
        place = end
    if place != len(payload):
        raise ValueError("the attributes of the ASF header do not fill their object")
    return found


def _with_attributes(of: list[_Object], guid: bytes, attributes: list[bytes]) -> list[_Object]:
    new = _Object(guid, struct.pack("<H", len(attributes)) + b"".join(attributes))
    at = _index(of, guid)
    if at is None:
        return [*of, new] if attributes else list(of)
    return [*of[:at], new, *of[at + 1 :]]


def _content_picture(raw: bytes) -> _Picture | None:
    name = struct.unpack_from("<H", raw)[0]
    kind = struct.unpack_from("<H", raw, 2 + name)[0]
    return _picture(raw[2 : 2 + name], kind, raw[6 + name :])


def _library_picture(raw: bytes) -> _Picture | None:
    name, kind = struct.unpack_from("<HH", raw, 4)
    return _picture(raw[12 : 12 + name], kind, raw[12 + name :])


def _picture(name: bytes, kind: int, value: bytes) -> _Picture | None:
    if name.rstrip(b"\0") != _NAME.rstrip(b"\0") or kind != _BINARY or len(value) < 9:
        return None
    size = struct.unpack_from("<I", value, 1)[0]
    words, data = value[5 : len(value) - size], value[len(value) - size :]
    return _Picture(value[0], words, data) if data and size <= len(value) - 9 else None


def _value(old: _Picture | None, cover: NewCover) -> bytes:
    text = old.words.decode("utf-16-le").split("\0")[1] if old else ""
    words = f"{cover.mime}\0{text}\0".encode("utf-16-le")
    kind = old.kind if old else FRONT
    return struct.pack("<BI", kind, len(cover.data)) + words + cover.data


def _in_contents(value: bytes) -> bytes:
    head = struct.pack("<H", len(_NAME)) + _NAME
    return head + struct.pack("<HH", _BINARY, len(value)) + value


def _in_library(value: bytes) -> bytes:
    return struct.pack("<4HI", 0, 0, len(_NAME), _BINARY, len(value)) + _NAME + value
