"""Read and replace the front cover of an audio file, and leave every other byte of its tags alone.

This is the one boundary where what odd files raise becomes a HarmonyError. No file is changed here:
`embedding.py` is the way to change one of the user's.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from harmony_pipelines.clients.audio_container import Container, audio_start, container_of
from harmony_pipelines.clients.file_errors import shown, speaking_of
from harmony_pipelines.clients.front_cover import FrontCover, NewCover
from harmony_pipelines.clients.pictures_apev2 import ApeTags
from harmony_pipelines.clients.pictures_asf import AsfTags
from harmony_pipelines.clients.pictures_chunks import DsfTags, FormTags, Mp3Tags
from harmony_pipelines.clients.pictures_flac import FlacTags
from harmony_pipelines.clients.pictures_mp4 import Mp4Tags
from harmony_pipelines.clients.pictures_ogg import OggTags
from harmony_pipelines.clients.splice import BLOCK, Edit, write_edited
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


class _Tags(Protocol):
    """A file's tags: the front cover, all else, and what gives them another front cover."""

    def front(self) -> tuple[str, bytes] | None: ...

    def rest(self) -> tuple[bytes, ...]: ...

    def edits(self, cover: NewCover | None) -> Sequence[Edit]: ...


_TAGS: dict[Container, Callable[[BinaryIO], _Tags]] = {
    Container.MP3: Mp3Tags,
    Container.FLAC: lambda file: FlacTags(file, audio_start(file)),
    Container.MP4: Mp4Tags,
    Container.VORBIS: OggTags,
    Container.OPUS: OggTags,
    Container.AIFF: FormTags,
    Container.WAV: FormTags,
    Container.DSF: DsfTags,
    Container.APE: ApeTags,
    Container.WAVPACK: ApeTags,
    Container.MUSEPACK: ApeTags,
    Container.ASF: AsfTags,
}
_MIMES = frozenset({"image/jpeg", "image/png"})
_LARGEST = (1 << 24) - 100
"""What fits into a FLAC block with its header; no player wants more in the other containers."""
_LARGEST_IN_OGG = 10 << 20
"""Other taggers' time to save such a file grows with the square of the picture."""


def read_front(path: Path) -> FrontCover | None:
    """The front cover in the file, or None."""
    with _tags(path) as (_, tags, _):
        front = tags.front()
    return front and FrontCover.of(front[1], front[0])


@dataclass(frozen=True)
class Contents:
    """An audio file but for its audio: kind, front cover, and all else in the tags."""

    container: Container
    front: FrontCover | None
    rest: tuple[bytes, ...]


def read_tags(path: Path) -> Contents:
    """Read all of the file's tags."""
    with _tags(path) as (container, tags, _):
        front = tags.front()
        cover = front and FrontCover.of(front[1], front[0])
        return Contents(container, cover, tags.rest())


def accepted_mimes(path: Path) -> frozenset[str]:
    """The picture types that may be put into this file: those that every player reads.

    WebP would fit into most containers, but players show nothing; MP4 and ASF have no word for it.
    """
    with _tags(path):
        return _MIMES


def tags_without_front(path: Path) -> tuple[bytes, ...]:
    """All else in the tags: frames, blocks or atoms, each as it lies in the file."""
    with _tags(path) as (_, tags, _):
        return tags.rest()


def write_with_front(
    path: Path, cover: NewCover | None, to: Path, *, named: Path | None = None, as_it_was: bool
) -> FrontCover | None:
    """Write the file into another, with the cover in place of its front cover; None: without one.

    `named` is the file that errors speak of. `as_it_was` says that the cover was in this file
    before, so it may be again, whatever we would think of a new one. Returns the cover that was
    there.
    """
    named = named or path
    edits: Sequence[Edit] = ()
    with _tags(path, named, BLOCK) as (container, tags, _):
        if cover is not None and not as_it_was:
            _check(named, container, cover)
        front = tags.front()
        if cover is not None or front is not None:
            edits = tags.edits(cover)
    with path.open("rb", BLOCK) as source, to.open("wb", BLOCK) as target:
        write_edited(source, edits, target)
    return front and FrontCover.of(front[1], front[0])


@contextmanager
def _tags(
    path: Path, named: Path | None = None, buffering: int = -1
) -> Iterator[tuple[Container, _Tags, BinaryIO]]:
    named = named or path
    with speaking_of(named), path.open("rb", buffering) as file:
        container = container_of(file, named)
        yield container, _TAGS[container](file), file


def _check(path: Path, container: Container, cover: NewCover) -> None:
    if cover.mime not in _MIMES:
        raise HarmonyError(
            ErrorCode.UNSUPPORTED_MEDIA,
            Reason.IMAGE_FORMAT,
            f"{shown(path)} takes JPEG and PNG covers, not {cover.mime}.",
            path=shown(path),
        )
    limit = _LARGEST_IN_OGG if container in (Container.VORBIS, Container.OPUS) else _LARGEST
    if len(cover.data) > limit:
        raise HarmonyError(
            ErrorCode.PAYLOAD_TOO_LARGE,
            Reason.TOO_MANY_BYTES,
            f"The cover for {shown(path)} has {len(cover.data)} bytes, more than the {limit} that "
            f"fit into {container}; choose a smaller picture.",
            path=shown(path),
            limit=limit,
        )
