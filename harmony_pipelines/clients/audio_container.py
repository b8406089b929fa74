"""Which kind of audio file it is, by its bytes; its name is not asked."""

from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from harmony_pipelines.clients.file_errors import UnsuitedFileError, shown
from harmony_pipelines.clients.pictures_id3 import length_of_id3
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


class Container(StrEnum):
    """The kinds of audio file into which a cover can be put."""

    MP3 = "mp3"
    FLAC = "flac"
    MP4 = "mp4"
    VORBIS = "ogg vorbis"
    OPUS = "opus"
    AIFF = "aiff"
    WAV = "wav"
    DSF = "dsf"
    APE = "monkey's audio"
    WAVPACK = "wavpack"
    MUSEPACK = "musepack"
    ASF = "asf"


_WINDOW = 1 << 16
_MOST_ID3_TAGS = 8
_AFTER_ID3 = {
    b"fLaC": Container.FLAC,
    b"MAC ": Container.APE,
    b"wvpk": Container.WAVPACK,
    b"MPCK": Container.MUSEPACK,
    b"MP+": Container.MUSEPACK,
}
_AT_START = {
    b"DSD \x1c\0\0\0\0\0\0\0": Container.DSF,
    bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c"): Container.ASF,
}
_FORMS = {
    (b"RIFF", b"WAVE"): Container.WAV,
    (b"FORM", b"AIFF"): Container.AIFF,
    (b"FORM", b"AIFC"): Container.AIFF,
}
_OGG = {b"\x01vorbis": Container.VORBIS, b"OpusHead": Container.OPUS}
_OTHER_AUDIO = (
    b"OggS",
    b"FRM8",
    b"OFR ",
    b"tBaK",
    b"TTA1",
    b"RF64",
    b"BW64",
    b"ADIF",
    b"\xff\xf0",
    b"\xff\xf1",
    b"\xff\xf8",
    b"\xff\xf9",
    b"\x0b\x77",
    b"\x1aE\xdf\xa3",
    b".snd",
    b"caff",
    b"#!AMR",
    b"MThd",
    b".ra\xfd",
)
_BITRATES = {
    (3, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (3, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (3, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_FRAMES_TO_BE_SURE = 3
_TRAILING = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")


def container_of(file: BinaryIO, path: Path) -> Container:
    """The kind of audio file; UnsuitedFileError or UNSUPPORTED_MEDIA where it is none."""
    start = audio_start(file)
    file.seek(start)
    head = file.read(64)
    if found := _by_magic(head, start):
        return found
    if head.startswith(_OTHER_AUDIO):
        raise UnsuitedFileError("this kind of audio file")
    if _has_mpeg_frames(file, start):
        return Container.MP3
    raise HarmonyError(
        ErrorCode.UNSUPPORTED_MEDIA,
        Reason.NOT_AUDIO,
        f"{shown(path)} was left alone: its bytes are no audio that we know.",
        path=shown(path),
    )


def audio_start(file: BinaryIO) -> int:
    """Where the file begins behind the ID3v2 tags in front of it."""
    start = 0
    for _ in range(_MOST_ID3_TAGS):
        file.seek(start)
        length = length_of_id3(file.read(10))
        if not length:
            break
        start += length
    return start


def _by_magic(head: bytes, start: int) -> Container | None:
    found = next((kind for magic, kind in _AFTER_ID3.items() if head.startswith(magic)), None)
    if found or start:
        return found
    if head[4:8] == b"ftyp":
        return Container.MP4
    if head.startswith(b"OggS"):
        return next((kind for magic, kind in _OGG.items() if head[28:].startswith(magic)), None)
    found = next((kind for magic, kind in _AT_START.items() if head.startswith(magic)), None)
    return found or _FORMS.get((head[:4], head[8:12]))


def _has_mpeg_frames(file: BinaryIO, start: int) -> bool:
    """Whether MPEG audio frames follow each other soon after `start`."""
    file.seek(start)
    window = file.read(_WINDOW)
    is_all = not file.read(1)
    at = window.find(b"\xff")
    while at >= 0:
        if _frames_follow(window, at, is_all=is_all):
            return True
        at = window.find(b"\xff", at + 1)
    return False


def _frames_follow(window: bytes, at: int, *, is_all: bool) -> bool:
    """Whether enough frames follow, or fewer up to the very end of the file or the tags there."""
    first = window[at : at + 4]
    for number in range(_FRAMES_TO_BE_SURE):
        head = window[at : at + 4]
        length = _frame_length(head)
        if not length:
            is_end = is_all and at == len(window)
            return number > 0 and (is_end or window.startswith(_TRAILING, at))
        if head[1] | 1 != first[1] | 1 or head[2] & 0x0C != first[2] & 0x0C:
            return False  # another version, layer or sample rate: no stream changes those
        at += length
    return True


def _frame_length(head: bytes) -> int:
    """Length of the MPEG audio frame with this header; 0 where it is none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] < 0xE0:
        return 0
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    bitrate, rate, padding = head[2] >> 4, head[2] >> 2 & 3, head[2] >> 1 & 1
    if version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return 0
    bits = _BITRATES[max(version, 2), layer][bitrate - 1] * 1000
    hertz = _RATES[version][rate]
    if layer == 1:
        return (12 * bits // hertz + padding) * 4
    samples = 72 if layer == 3 and version != 3 else 144
    return samples * bits // hertz + padding
