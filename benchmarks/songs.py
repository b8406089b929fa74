"""Audio files as long as songs: the demo's samples of a second or two, played over and over.

A tone of ten kilobytes would make the disk's part of the work, which grows with the bytes, look
like nothing. Every frame, page and index is where its container wants it, so that whoever reads
the file has as much to walk through as in a real one; the frames of a FLAC file alone keep their
numbers, which no reader of tags looks at.
"""

import io
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

from harmony_pipelines.clients.pictures_flac import FlacTags
from harmony_pipelines.clients.pictures_mp4 import Atom, atoms, file_atoms
from harmony_pipelines.clients.pictures_ogg import Page, pages

_SAMPLES = Path(__file__).parents[1] / "harmony_pipelines" / "demo" / "samples"
_OPUS_HEADERS, _LAST_PAGE = 2, 4


def song(suffix: str, size: int) -> bytes:
    """A file of about that many bytes, by its suffix: mp3, flac, m4a or opus."""
    return _MAKERS[suffix]((_SAMPLES / f"tone.{suffix}").read_bytes(), size)


def _mp3(sample: bytes, size: int) -> bytes:
    return sample * (size // len(sample))


def _flac(sample: bytes, size: int) -> bytes:
    blocks = FlacTags(io.BytesIO(sample), 0).rest()
    start = len(blocks[0]) + sum(3 + len(block) for block in blocks[1:])
    sound = sample[start:]
    return sample[:start] + sound * (size // len(sound))


def _opus(sample: bytes, size: int) -> bytes:
    """Pages of about ten kilobytes, as encoders make them: the sample twice in each."""
    found = list(pages(io.BytesIO(sample)))
    head, sound = found[:_OPUS_HEADERS], found[_OPUS_HEADERS:]
    lacing = b"".join(page.lacing for page in sound) * 2
    body = b"".join(page.body for page in sound) * 2
    page = Page(0, 0, 2 * sound[-1].position, sound[0].serial, 0, lacing, body)
    made = [
        page._replace(number=number, position=number * page.position)
        for number in range(1, 1 + size // page.length)
    ]
    made = [each._replace(number=each.number + len(head) - 1) for each in made]
    made[-1] = made[-1]._replace(flags=_LAST_PAGE)
    return b"".join(page.render() for page in (*head, *made))


def _m4a(sample: bytes, size: int) -> bytes:
    """The media data so many times, and behind it an index that has every frame of them."""
    [media] = [atom for atom in file_atoms(io.BytesIO(sample)) if atom.name == b"mdat"]
    sound = sample[media.payload : media.end]
    times = size // len(sound)
    start = media.payload

    def index(name: bytes, payload: bytes) -> bytes:
        head, count = payload[:4], struct.unpack_from(">I", payload, 4)[0]
        if name == b"stts":
            runs = struct.iter_unpack(">2I", payload[8:])
            entries = [struct.pack(">2I", frames, ticks) for frames, ticks in runs] * times
        elif name == b"stsz":
            count = struct.unpack_from(">I", payload, 8)[0]
            return payload[:8] + struct.pack(">I", count * times) + payload[12:] * times
        elif name == b"stco":
            offsets = struct.unpack_from(f">{count}I", payload, 8)
            shifts = range(0, times * len(sound), len(sound))
            entries = [struct.pack(">I", at + shift) for shift in shifts for at in offsets]
        else:
            return payload
        return head + struct.pack(">I", len(entries)) + b"".join(entries)

    moov = _rebuilt(sample, media.end, len(sample), index)
    grown = struct.pack(">I4s", 8 + times * len(sound), b"mdat") + sound * times
    return sample[: start - 8] + grown + moov


def _rebuilt(data: bytes, start: int, end: int, index: Callable[[bytes, bytes], bytes]) -> bytes:
    """The atoms between two places with every payload as `index` has it."""
    return b"".join(_atom(data, atom, index) for atom in atoms(data, start, end))


_HOLDERS = (b"moov", b"trak", b"mdia", b"minf", b"stbl")


def _atom(data: bytes, atom: Atom, index: Callable[[bytes, bytes], bytes]) -> bytes:
    if atom.name in _HOLDERS:
        payload = _rebuilt(data, atom.payload, atom.end, index)
    else:
        payload = index(atom.name, data[atom.payload : atom.end])
    return struct.pack(">I4s", 8 + len(payload), atom.name) + payload


_MAKERS: Mapping[str, Callable[[bytes, int], bytes]] = {
    "mp3": _mp3,
    "flac": _flac,
    "m4a": _m4a,
    "opus": _opus,
}
