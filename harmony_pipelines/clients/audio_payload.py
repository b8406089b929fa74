"""A fingerprint of the audio alone: equal before and after whatever is done to the tags.

A file can open, show its tags and yet play wrongly, so tags that read back well prove nothing about
the sound. What decoders read is hashed: the coded audio, what describes it, and how it is found.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice, zip_longest
from pathlib import Path
from typing import BinaryIO

from harmony_pipelines.clients.audio_container import Container, audio_start, container_of
from harmony_pipelines.clients.digests import KIND, blake2b, hash_of
from harmony_pipelines.clients.file_errors import speaking_of
from harmony_pipelines.clients.pictures_asf import objects
from harmony_pipelines.clients.pictures_chunks import Form
from harmony_pipelines.clients.pictures_mp4 import (
    Atom,
    atoms,
    file_atoms,
    offset_tables,
    offsets_in,
)
from harmony_pipelines.clients.pictures_ogg import Page, pages
from harmony_pipelines.clients.splice import BLOCK, blocks_of, read_at, size_of
from harmony_pipelines.clients.trailing_tags import trailing_tags

_SOUND_CHUNKS = (b"fmt ", b"fact", b"data", b"COMM", b"FVER", b"SSND")
_OGG_HEADERS = {Container.VORBIS: 3, Container.OPUS: 2}
_PARTS_AT_ONCE = 50
_ASF_STREAMS = bytes.fromhex("9107dcb7b7a9cf118ee600c00c205365")


def fingerprint(path: Path, known: str = KIND) -> str:
    """The hash of the file's audio payload, of the same kind as a known one."""
    with speaking_of(path), path.open("rb", BLOCK) as file:
        return hash_of(_payload(file, path), known, blake2b)


def common_fingerprint(path: Path, copy: Path) -> str | None:
    """The fingerprint of both files' audio, compared byte by byte; None where it differs."""
    with speaking_of(path), path.open("rb", BLOCK) as one, copy.open("rb", BLOCK) as other:
        try:
            return hash_of(_same(_payload(one, path), _payload(other, path)))
        except _DifferentError:
            return None


class _DifferentError(Exception):
    """Two files do not have the same audio."""


def _same(one: Iterator[bytes], other: Iterator[bytes]) -> Iterator[bytes]:
    for part, its_twin in zip_longest(one, other):
        if part != its_twin:
            raise _DifferentError
        yield part


def _payload(file: BinaryIO, named: Path) -> Iterator[bytes]:
    container = container_of(file, named)
    return _PAYLOADS[container](file, container)


def _mp3(file: BinaryIO, _: Container) -> Iterator[bytes]:
    return blocks_of(file, audio_start(file), trailing_tags(file).start)


def _before_tags(file: BinaryIO, _: Container) -> Iterator[bytes]:
    return blocks_of(file, 0, trailing_tags(file).start)


def _flac(file: BinaryIO, _: Container) -> Iterator[bytes]:
    at, kind = audio_start(file) + 4, 0
    while not kind & 0x80:
        header = read_at(file, at, 4)
        kind, length = header[0], int.from_bytes(header[1:], "big")
        if not kind & 0x7F:
            yield read_at(file, at + 4, length)
        at += 4 + length
    yield from blocks_of(file, at, trailing_tags(file).start)


def _form(file: BinaryIO, _: Container) -> Iterator[bytes]:
    chunks = [chunk for chunk in Form.read(file).chunks if chunk.name in _SOUND_CHUNKS]
    if not any(chunk.name in (b"data", b"SSND") and chunk.length for chunk in chunks):
        raise ValueError("the chunk with the sound is missing or has no length")
    for chunk in chunks:
        yield struct.pack(">4sQ", chunk.name, chunk.length)
        yield from blocks_of(file, chunk.start, chunk.start + chunk.length)


def _dsf(file: BinaryIO, _: Container) -> Iterator[bytes]:
    tag = struct.unpack("<Q", read_at(file, 20, 8))[0]
    return blocks_of(file, 28, tag or size_of(file))


def _asf(file: BinaryIO, _: Container) -> Iterator[bytes]:
    length = struct.unpack("<Q", read_at(file, 16, 8))[0]
    header = read_at(file, 30, length - 30)
    yield from (payload for guid, payload in objects(header) if guid == _ASF_STREAMS)
    yield from blocks_of(file, length, size_of(file))


def _ogg(file: BinaryIO, container: Container) -> Iterator[bytes]:
    """What is in the pages, and whether their numbers and checksums are in order."""
    return _joined(_of_pages(file, container))


def _joined(parts: Iterator[bytes]) -> Iterator[bytes]:
    """The same bytes in larger parts: a page has few, and each part is looked at by itself."""
    while some := list(islice(parts, _PARTS_AT_ONCE)):
        yield b"".join(some)


def _of_pages(file: BinaryIO, container: Container) -> Iterator[bytes]:
    headers = _OGG_HEADERS[container]
    numbers: dict[int, int] = {}
    end = 0
    for page in pages(file):
        in_order = page.number == numbers.get(page.serial, page.number - 1) + 1
        numbers[page.serial] = page.number
        end = page.start + page.length
        is_header = headers > 0
        headers -= _packets_ended(page) if is_header else 0
        if not is_header or page.start == 0:
            order = bytes([in_order, page.is_whole])
            place = struct.pack("<BqI", page.flags, page.position, page.serial)
            yield order + place + page.lacing
            yield page.body
    yield from blocks_of(file, end, size_of(file))


def _packets_ended(page: Page) -> int:
    return len(page.lacing) - page.lacing.count(255)


def _mp4(file: BinaryIO, _: Container) -> Iterator[bytes]:
    """The media data, the tracks, and every offset as a place within the media data."""
    found = file_atoms(file)
    media = [atom for atom in found if atom.name == b"mdat"]
    for atom in media:
        yield struct.pack(">Q", atom.end - atom.payload)
        yield from blocks_of(file, atom.payload, atom.end)
    for home in (atom for atom in found if atom.name == b"moov"):
        yield from _tracks(read_at(file, home.start, home.end - home.start), media)


def _tracks(moov: bytes, media: list[Atom]) -> Iterator[bytes]:
    blank = bytearray(moov)
    for table in offset_tables(moov):
        layout, offsets = offsets_in(moov, table)
        yield _places(offsets, media)
        blank[table.payload + 8 : table.payload + 8 + layout.size] = bytes(layout.size)
    for atom in atoms(bytes(blank), 8, len(blank)):
        if atom.name == b"trak":
            yield bytes(blank[atom.start : atom.end])


def _places(offsets: tuple[int, ...], media: list[Atom]) -> bytes:
    starts = [atom.payload for atom in media]
    places: list[int] = []
    for offset in offsets:
        at = bisect_right(starts, offset) - 1
        inside = at >= 0 and offset < media[at].end
        places += (at if inside else -1, offset - (starts[at] if inside else 0))
    return struct.pack(f">{len(places)}q", *places)


_PAYLOADS: dict[Container, Callable[[BinaryIO, Container], Iterator[bytes]]] = {
    Container.MP3: _mp3,
    Container.FLAC: _flac,
    Container.MP4: _mp4,
    Container.VORBIS: _ogg,
    Container.OPUS: _ogg,
    Container.AIFF: _form,
    Container.WAV: _form,
    Container.DSF: _dsf,
    Container.APE: _before_tags,
    Container.WAVPACK: _before_tags,
    Container.MUSEPACK: _before_tags,
    Container.ASF: _asf,
}
