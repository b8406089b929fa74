"""Put a front cover into a file of the user's: written beside, verified, renamed over."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harmony_pipelines.clients.audio_container import Container, container_of
from harmony_pipelines.clients.audio_payload import fingerprint
from harmony_pipelines.clients.file_errors import ODD_FILE, shown
from harmony_pipelines.clients.front_cover import FrontCover, NewCover
from harmony_pipelines.clients.pictures import read_front, replace_front, tags_without_front
from harmony_pipelines.clients.safe_write import WriteOptions, changed_meanwhile, replace_file
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_SUFFIXES = {
    Container.MP3: ".mp3",
    Container.FLAC: ".flac",
    Container.MP4: ".m4a",
    Container.VORBIS: ".ogg",
    Container.OPUS: ".opus",
    Container.AIFF: ".aiff",
    Container.WAV: ".wav",
    Container.DSF: ".dsf",
    Container.APE: ".ape",
    Container.WAVPACK: ".wv",
    Container.MUSEPACK: ".mpc",
    Container.ASF: ".wma",
}
_PICTURES = ("art", "images")


@dataclass(frozen=True)
class EmbedOptions:
    """How a cover is embedded.

    `guard` is called right before the rename and raises if the run is over; `keep_old` gets the
    displaced picture before it. `only_over` is the sha256 of the front cover that must be there.
    `as_it_was` puts a picture back that was in the file before, of whatever kind it is.
    """

    write: WriteOptions
    guard: Callable[[], None]
    keep_old: Callable[[bytes], None]
    only_over: str | None = None
    as_it_was: bool = False


@dataclass(frozen=True)
class Embedded:
    """What became of a file: whether it changed, its old front cover, what could not be kept."""

    changed: bool
    old: FrontCover | None
    not_kept: frozenset[str] = frozenset()


@dataclass(frozen=True)
class _Change:
    """The hashes of the old and of the new front cover."""

    old: str | None
    new: str | None

    def shows_in(self, before: Counter[str], after: Counter[str]) -> bool:
        """Whether one picture more is the new one, and one less the old one."""
        gained = self.new is None or after[self.new] == before[self.new] + 1
        lost = self.old is None or after[self.old] == max(0, before[self.old] - 1)
        return gained and lost


@dataclass(frozen=True)
class _Seen:
    """A file in the eyes of another reader: its pictures by hash, and its tags."""

    pictures: Counter[str]
    tags: str


def embed_front(path: Path, cover: NewCover | None, options: EmbedOptions) -> Embedded:
    """Make `cover` the file's front cover (None: it gets none); the same picture is left alone."""
    old = read_front(path)
    if options.only_over not in (None, _hash(old)):
        raise HarmonyError(
            ErrorCode.CONFLICT,
            Reason.CHANGED_MEANWHILE,
            f"{shown(path)} was left alone: its cover is not the one that was put there.",
            path=shown(path),
        )
    if _hash(old) == _hash(cover):
        return Embedded(changed=False, old=old)

    def change(copy: Path) -> None:
        if _hash(read_front(copy)) != _hash(old):
            raise changed_meanwhile(path)
        replace_front(copy, cover, named=path, as_it_was=options.as_it_was)
        if cover is None and read_front(copy):
            raise _further_covers(path)

    def verify(original: Path, copy: Path) -> None:
        _verify(original, copy, _Change(_hash(old), _hash(cover)))
        if old is not None:
            options.keep_old(old.data)

    written = replace_file(path, change, verify, options.guard, options.write)
    return Embedded(changed=True, old=old, not_kept=written.not_kept)


def _verify(original: Path, copy: Path, wanted: _Change) -> None:
    whole = tags_without_front(original), fingerprint(original)
    try:
        fault = _fault_in(copy, whole, wanted) or _fault_seen_by_another(original, copy, wanted)
    except HarmonyError as error:
        fault = f"the new file cannot be read ({error.reason})"
    if fault:
        raise HarmonyError(
            ErrorCode.INTERNAL_ERROR,
            Reason.VERIFICATION,
            f"{shown(original)} was left alone: with the change in it, {fault}. "
            "Please report this with the file.",
            path=shown(original),
        )


def _fault_in(copy: Path, whole: tuple[tuple[bytes, ...], str], wanted: _Change) -> str | None:
    if _hash(read_front(copy)) != wanted.new:
        return "the cover does not read back"
    tags, audio = whole
    if tags_without_front(copy) != tags:
        return "other tags would differ"
    return None if fingerprint(copy) == audio else "the audio would differ"


def _fault_seen_by_another(original: Path, copy: Path, wanted: _Change) -> str | None:
    before, after = _seen_by_mediafile(original), _seen_by_mediafile(copy)
    if before is None:
        return None  # an oddity of this file which that reader does not take, with or without us
    if after is None:
        return "another reader no longer opens it"
    if not wanted.shows_in(before.pictures, after.pictures):
        return "another reader does not see just that change"
    return None if after.tags == before.tags else "another reader sees other tags"


def _seen_by_mediafile(path: Path) -> _Seen | None:
    """The file as mediafile sees it; None where it cannot read it.

    It goes by the file's name, so it is given one that fits the bytes.
    """
    import mediafile
    import mutagen

    with io.BufferedReader(raw := io.FileIO(path)) as file:
        raw.name = "audio" + _SUFFIXES[container_of(file, path)]
        file.seek(0)
        try:
            read = mediafile.MediaFile(file)
            images: list[mediafile.Image] = read.images or []  # pyright: ignore[reportAssignmentType]
            pictures = [picture.data for picture in images]
            tags = {key: value for key, value in read.as_dict().items() if key not in _PICTURES}
        except (mediafile.UnreadableFileError, mutagen.MutagenError, *ODD_FILE):
            return None
    hashes = Counter(hashlib.sha256(data).hexdigest() for data in pictures)
    return _Seen(hashes, repr(sorted(tags.items())))


def _hash(cover: FrontCover | NewCover | None) -> str | None:
    if isinstance(cover, NewCover):
        return hashlib.sha256(cover.data).hexdigest()
    return cover.sha256 if cover else None


def _further_covers(path: Path) -> HarmonyError:
    return HarmonyError(
        ErrorCode.CONFLICT,
        Reason.CHANGED_MEANWHILE,
        f"{shown(path)} was left alone: it has further covers, so it cannot be left without one.",
        path=shown(path),
    )
