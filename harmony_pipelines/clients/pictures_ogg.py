"""The front cover among the Vorbis comments of an Ogg Vorbis or Opus file."""

import base64
import binascii
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from fastcrc.crc32 import cksum

from harmony_pipelines.clients.front_cover import NewCover, position_of_front
from harmony_pipelines.clients.pictures_flac import NO_PICTURE, PictureBlock, picture_or_none
from harmony_pipelines.clients.splice import BLOCK, Edit

_CAPTURE = b"OggS"
_HEAD = struct.Struct("<4sBBqIIIB")
_READ_FIRST = 1 << 12
_LONGEST_PAGE = _HEAD.size + 255 + 255 * 255
_NUMBER_AT = 18
_CONTINUED, _LAST = 1, 4
_UNFINISHED = -1
_PICTURE_KEY = b"METADATA_BLOCK_PICTURE="
_COMMENTS = {b"\x01vorbis": b"\x03vorbis", b"OpusHead": b"OpusTags"}
_HEADERS_AFTER_FIRST = {b"\x01vorbis": 2, b"OpusHead": 1}
_INVERTED = 0xFFFFFFFF


class Page(NamedTuple):
    """One page of an Ogg file; a song has some thousand, each made and looked at several times."""

    start: int
    flags: int
    position: int
    serial: int
    number: int
    lacing: bytes
    body: bytes
    checksum: int = 0

    @property
    def length(self) -> int:
        """The page's bytes, header included."""
        return _HEAD.size + len(self.lacing) + len(self.body)

    @property
    def is_whole(self) -> bool:
        """Whether the checksum read with the page is the right one."""
        return self.right_checksum() == self.checksum

    def right_checksum(self) -> int:
        """The checksum of the page as it is."""
        return _checksum(self._head(0), self.body)

    def render(self) -> bytes:
        """The page's bytes with the right checksum."""
        return self._head(self.right_checksum()) + self.body

    def _head(self, checksum: int) -> bytes:
        fields = (_CAPTURE, 0, self.flags, self.position, self.serial, self.number)
        return _HEAD.pack(*fields, checksum, len(self.lacing)) + self.lacing


def pages(file: BinaryIO, start: int = 0) -> Iterator[Page]:
    """The file's pages from `start` on, as far as whole pages follow each other."""
    block, begins, at, asked = b"", start, start, 0
    while True:
        page = _page_in(block, at - begins, at)
        if page is not None:
            yield page
            at += page.length
        elif begins == at and (asked > _LONGEST_PAGE or len(block) < asked):
            return
        else:  # tags alone are read of many files, so little at first
            asked = min(BLOCK, max(_READ_FIRST, 4 * asked))
            file.seek(at)
            block, begins = file.read(asked), at


def _page_in(block: bytes, at: int, start: int) -> Page | None:
    """The whole page at that place in a block, which `start` is the place of in the file."""
    lacing_at = at + _HEAD.size
    if len(block) < lacing_at:
        return None
    magic, _, flags, position, serial, number, checksum, count = _HEAD.unpack_from(block, at)
    body_at = lacing_at + count
    lacing = block[lacing_at:body_at]
    length = sum(lacing)
    body = block[body_at : body_at + length]
    if magic != _CAPTURE or len(lacing) != count or len(body) != length:
        return None
    return Page(start, flags, position, serial, number, lacing, body, checksum)


class OggTags:
    """The comment header of an Ogg Vorbis or Opus file, each comment as its bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        found = pages(file)
        first = next(found, None)
        if first is None or not first.body:
            raise ValueError("its first page is broken")
        self._magic = first.body[: 8 if first.body.startswith(b"OpusHead") else 7]
        self._pages = _header_pages(found, first.serial, _HEADERS_AFTER_FIRST[self._magic])
        packets = _packets(self._pages)
        self._setup = packets[1:]
        self._read_comments(packets[0])

    def _read_comments(self, packet: bytes) -> None:
        start = _COMMENTS[self._magic]
        if not packet.startswith(start):
            raise ValueError("the second header is not the comments")
        at = len(start) + 4 + struct.unpack_from("<I", packet, len(start))[0]
        self._vendor = packet[:at]
        count = struct.unpack_from("<I", packet, at)[0]
        at += 4
        self._comments: list[bytes] = []
        for _ in range(count):
            length = struct.unpack_from("<I", packet, at)[0]
            if at + 4 + length > len(packet):
                raise ValueError("a comment is longer than the header")
            self._comments.append(packet[at + 4 : at + 4 + length])
            at += 4 + length
        self._behind = packet[at:]
        pictures = [_picture(comment) for comment in self._comments]
        self._at = position_of_front([p.kind if p else None for p in pictures])
        self._front = None if self._at is None else pictures[self._at]

    def front(self) -> tuple[str, bytes] | None:
        """The front cover's declared type and its bytes."""
        return self._front and (self._front.mime.decode("latin-1"), self._front.data)

    def rest(self) -> tuple[bytes, ...]:
        """All comments but the front cover, and the other headers."""
        others = [c for at, c in enumerate(self._comments) if at != self._at]
        return (self._vendor, *others, self._behind, *self._setup)

    def edits(self, cover: NewCover | None) -> list[Edit]:
        """What gives the headers this front cover, and the pages behind them new numbers."""
        comments = list(self._comments)
        at = len(comments) if self._at is None else self._at
        del comments[at : at + 1]
        if cover is not None:
            block = (self._front or NO_PICTURE).showing(cover, measured=self._magic != b"OpusHead")
            comments.insert(at, _PICTURE_KEY + base64.b64encode(block.render()))
        packet = b"".join(
            (
                self._vendor,
                struct.pack("<I", len(comments)),
                *(struct.pack("<I", len(c)) + c for c in comments),
                self._behind,
            )
        )
        return self._with_headers([packet, *self._setup])

    def _with_headers(self, packets: list[bytes]) -> list[Edit]:
        old_first, old_last = self._pages[0], self._pages[-1]
        start, end = old_first.start, old_last.start + old_last.length
        new = _paged(packets, old_first, old_last)
        headers = Edit(start, end - start, b"".join(page.render() for page in new))
        shift = len(new) - len(self._pages)
        return [headers, *(_renumbered(self._file, old_last, shift) if shift else ())]


def _header_pages(found: Iterator[Page], serial: int, packets: int) -> list[Page]:
    taken: list[Page] = []
    for page in found:
        if page.serial != serial:
            raise ValueError("another stream's page stands among the headers")
        taken.append(page)
        packets -= sum(size < 255 for size in page.lacing)
        if packets <= 0:
            break
    if packets or taken[-1].lacing[-1] == 255:
        raise ValueError("the headers do not end where a page ends")
    return taken


def _packets(of: list[Page]) -> list[bytes]:
    packets = [bytearray()]
    for page in of:
        at = 0
        for size in page.lacing:
            packets[-1] += page.body[at : at + size]
            at += size
            if size < 255:
                packets.append(bytearray())
    return [bytes(packet) for packet in packets[:-1]]


def _paged(packets: list[bytes], first: Page, last: Page) -> list[Page]:
    """The packets in as few pages as they need, numbered from the first."""
    lacing = b"".join(b"\xff" * (len(p) // 255) + bytes([len(p) % 255]) for p in packets)
    body = b"".join(packets)
    new: list[Page] = []
    at = 0
    for number, cut in enumerate(range(0, len(lacing), 255), start=first.number):
        part = lacing[cut : cut + 255]
        ends_a_packet = any(size < 255 for size in part)
        flags = _CONTINUED if cut and lacing[cut - 1] == 255 else 0
        position = 0 if ends_a_packet else _UNFINISHED
        content = body[at : at + sum(part)]
        new.append(Page(0, flags, position, first.serial, number, part, content))
        at += len(content)
    new[-1] = new[-1]._replace(flags=new[-1].flags | (last.flags & _LAST), position=last.position)
    return new


def _renumbered(file: BinaryIO, last: Page, shift: int) -> Iterator[Edit]:
    """New numbers for the pages behind the last of the headers, up to their stream's last one.

    ValueError where the pages are broken off and begin again.
    """
    at, is_over = last.start + last.length, bool(last.flags & _LAST)
    for page in pages(file, at):
        at = page.start + page.length
        if page.serial == last.serial and not is_over:
            yield _numbered(page, (page.number + shift) % (1 << 32))
            is_over = bool(page.flags & _LAST)
    _check_no_page_begins(file, at + 1)  # at `at` one may begin that the end of the file cuts off


def _numbered(page: Page, number: int) -> Edit:
    """What gives the page another number; a checksum that was wrong stays so.

    It is linear: it changes by what the change alone would have, nothing but zeros behind it.
    """
    change = struct.pack("<I", page.number ^ number)
    checksum = page.checksum ^ _checksum(change, zeros=page.length - _NUMBER_AT - len(change))
    fields = struct.pack("<II", number, checksum)
    return Edit(page.start + _NUMBER_AT, len(fields), fields)


def _check_no_page_begins(file: BinaryIO, start: int) -> None:
    file.seek(start)
    kept = b""
    while block := file.read(BLOCK):
        if _CAPTURE in kept + block:
            raise ValueError("there is something else between its pages")
        kept = block[-3:]


def _picture(comment: bytes) -> PictureBlock | None:
    if comment[: len(_PICTURE_KEY)].upper() != _PICTURE_KEY:
        return None
    try:
        raw = base64.b64decode(comment[len(_PICTURE_KEY) :])
    except binascii.Error:
        return None
    return picture_or_none(raw)


def _checksum(*parts: bytes, zeros: int = 0) -> int:
    """Ogg's CRC-32 is that of `cksum` without its last inversion.

    https://xiph.org/ogg/doc/framing.html
    """
    crc = _INVERTED
    for part in (*parts, bytes(zeros)):
        crc = cksum(part, crc)
    return crc ^ _INVERTED
