"""Audio files and covers to try things on: our samples, and the shared ones when there."""

import random
import shutil
from pathlib import Path

import harmony_pipelines
from harmony_pipelines.clients.front_cover import NewCover

_PACKAGE = Path(harmony_pipelines.__file__).parent
_SHARED = _PACKAGE.parents[1] / "shared" / "media" / "mediafile"
SAMPLES = sorted(p for p in (_PACKAGE / "demo" / "samples").glob("tone*"))
SHARED = sorted(p for p in _SHARED.glob("*.*") if not p.name.startswith("image-2x3"))


def sample(name: str, folder: Path, *, called: str | None = None) -> Path:
    """A copy of a committed sample in `folder`."""
    found = next(path for path in SAMPLES if path.name == name)
    return Path(shutil.copyfile(found, folder / (called or name)))


def a_jpeg(size: int = 2000, *, seed: int = 1) -> NewCover:
    """A cover that says it is a JPEG of 600 by 500, with bytes that look like markers."""
    head = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffc0000b0801f4025801011100")
    filling = random.Random(seed).randbytes(size // 2) + b"\xff\xe0\xff\x00\xff\xfb" * (size // 12)
    return NewCover(head + filling + b"\xff\xd9", "image/jpeg", 600, 500)


def a_png(size: int = 2000) -> NewCover:
    """A cover that says it is a PNG of 300 by 301."""
    head = bytes.fromhex("89504e470d0a1a0a0000000d494844520000012c0000012d0802000000")
    return NewCover(head + random.Random(2).randbytes(size), "image/png", 300, 301)
