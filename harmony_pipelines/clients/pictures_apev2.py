"""The front cover among the items of an APEv2 tag: Monkey's Audio, WavPack, Musepack."""

import struct
from typing import BinaryIO

from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.clients.splice import Edit, read_at
from harmony_pipelines.clients.trailing_tags import trailing_tags

_KEY = "Cover Art (Front)"
_BINARY = 1 << 1
_HAS_HEADER, _IS_HEADER = 1 << 31, 1 << 29
_VERSION = 2000
_BARE_PICTURES = (b"\xff\xd8\xff", b"\x89PNG")  # some taggers leave the file name out
_FILE_NAMES = {"image/jpeg": b"cover.jpg\0", "image/png": b"cover.png\0"}


class ApeTags:
    """The APEv2 tag behind the audio, each item as its bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        found = trailing_tags(file)
        self._behind = found.start
        self._start, self._end = found.ape or (found.start, found.start)
        self._items = _items(read_at(file, self._start, self._end - self._start))
        keys = [_key(item) for item in self._items]
        self._at = keys.index(_KEY.lower()) if _KEY.lower() in keys else None

    def front(self) -> tuple[str, bytes] | None:
        """The front cover's bytes; the tag does not say their type."""
        if self._at is None:
            return None
        item = self._items[self._at]
        value = item[item.index(b"\0", 8) + 1 :]
        named = not value.startswith(_BARE_PICTURES)
        data = value.partition(b"\0")[2] if named else value
        return ("", data) if data else None

    def rest(self) -> tuple[bytes, ...]:
        """All items but the front cover, and what stands around the tag."""
        others = [item for at, item in enumerate(self._items) if at != self._at]
        before = read_at(self._file, self._behind, self._start - self._behind)
        self._file.seek(self._end)
        return (before, *others, self._file.read())

    def edits(self, cover: NewCover | None) -> list[Edit]:
        """What gives the tag this front cover; None: none."""
        items = list(self._items)
        at = len(items) if self._at is None else self._at
        del items[at : at + 1]
        if cover is not None:
            value = _FILE_NAMES.get(cover.mime, b"cover\0") + cover.data
            head = struct.pack("<2I", len(value), _BINARY)
            items.insert(at, head + _KEY.encode() + b"\0" + value)
        return [Edit(self._start, self._end - self._start, _rendered(items))]


def _items(raw: bytes) -> list[bytes]:
    if not raw:
        return []
    version, size, count, flags = struct.unpack_from("<4I", raw, len(raw) - 24)
    body = raw[len(raw) - size : -32]
    if version != _VERSION and not body.isascii():
        raise ValueError("an APEv1 tag with letters of an unknown encoding")
    items: list[bytes] = []
    at = 0
    while at < len(body):
        end = body.index(b"\0", at + 8) + 1 + struct.unpack_from("<I", body, at)[0]
        items.append(body[at:end])
        at = end
    if at != len(body) or len(items) != count:
        raise ValueError("the items of the APEv2 tag do not fill it")
    if flags & _HAS_HEADER and not raw.startswith(b"APETAGEX"):
        raise ValueError("the header of the APEv2 tag is missing")
    return items


def _key(item: bytes) -> str:
    return item[8 : item.index(b"\0", 8)].decode("latin-1").lower()


def _rendered(items: list[bytes]) -> bytes:
    if not items:
        return b""
    body = b"".join(items)
    head, foot = (
        b"APETAGEX" + struct.pack("<4I8x", _VERSION, len(body) + 32, len(items), flags)
        for flags in (_HAS_HEADER | _IS_HEADER, _HAS_HEADER)
    )
    return head + body + foot
