"""Audio files and covers to try things on: our samples, and the shared ones when there."""

import random
import shutil
import struct
from pathlib import Path

import harmony_pipelines
from harmony_pipelines.clients.audio_container import Container
from harmony_pipelines.clients.front_cover import FrontCover, NewCover
from harmony_pipelines.clients.pictures import write_with_front

_PACKAGE = Path(harmony_pipelines.__file__).parent
_SHARED = _PACKAGE.parents[1] / "shared" / "media" / "mediafile"
SAMPLES = sorted(p for p in (_PACKAGE / "demo" / "samples").glob("tone*"))
SHARED = sorted(p for p in _SHARED.glob("*.*") if not p.name.startswith("image-2x3"))

_SAMPLE_OF = {
    Container.MP3: "tone.mp3",
    Container.FLAC: "tone.flac",
    Container.MP4: "tone.m4a",
    Container.VORBIS: "tone.ogg",
    Container.OPUS: "tone.opus",
    Container.AIFF: "tone.aiff",
    Container.WAV: "tone.wav",
    Container.WAVPACK: "tone.wv",
    Container.ASF: "tone.wma",
}
_MADE_HEADS = {Container.APE: b"MAC \x96\x0f", Container.MUSEPACK: b"MPCKSH\x0f"}


def sample(name: str, folder: Path, *, called: str | None = None) -> Path:
    """A copy of a committed sample in `folder`."""
    found = next(path for path in SAMPLES if path.name == name)
    return Path(shutil.copyfile(found, folder / (called or name)))


def in_container(container: Container, folder: Path) -> Path:
    """A small file of that kind in `folder`: a sample, or a made one of which only tags matter."""
    if container in _SAMPLE_OF:
        return sample(_SAMPLE_OF[container], folder)
    file = folder / f"tone.{container.name.lower()}"
    sound = random.Random(3).randbytes(5000)
    file.write_bytes(_dsf(sound) if container is Container.DSF else _MADE_HEADS[container] + sound)
    return file


def _dsf(sound: bytes) -> bytes:
    form = b"fmt " + struct.pack("<Q9IQ2I", 52, 1, 0, 1, 1, 2822400, 1, 0, 0, 0, 0, 4096, 0)[:48]
    data = b"data" + struct.pack("<Q", 12 + len(sound)) + sound
    return b"DSD " + struct.pack("<3Q", 28, 28 + len(form) + len(data), 0) + form + data


def a_jpeg(size: int = 2000, *, seed: int = 1) -> NewCover:
    """A cover that says it is a JPEG of 600 by 500, with bytes that look like markers."""
    head = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0000b0801f4025801011100")
    filling = random.Random(seed).randbytes(size // 2) + b"\xff\xe0\xff\x00\xff\xfb" * (size // 12)
    return NewCover(head + filling + b"\xff\xd9", "image/jpeg", 600, 500)


def a_png(size: int = 2000) -> NewCover:
    """A cover that says it is a PNG of 300 by 301."""
    head = bytes.fromhex("89504e470d0a1a0a0000000d494844520000012c0000012d0802000000")
    return NewCover(head + random.Random(2).randbytes(size), "image/png", 300, 301)


def replace_front(file: Path, cover: NewCover | None) -> FrontCover | None:
    """Put the cover into the file itself, which is ours; returns the one that was there."""
    copy = file.with_name(f".{file.name}.copy")
    try:
        old = write_with_front(file, cover, copy, as_it_was=False)
        file.write_bytes(copy.read_bytes())
    finally:
        copy.unlink(missing_ok=True)
    return old
