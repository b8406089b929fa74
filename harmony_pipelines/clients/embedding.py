"""Put a front cover into a file of the user's: written beside, verified, renamed over."""

import hashlib
import io
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from harmony_pipelines.clients.audio_container import Container, container_of
from harmony_pipelines.clients.audio_payload import fingerprint
from harmony_pipelines.clients.delta import (
    Delta,
    FormerFile,
    Readable,
    WholeFile,
    delta_between,
    sha256_of,
    write_out,
)
from harmony_pipelines.clients.file_errors import shown, speaking_of
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
class WayBack:
    """What finds the new file again, by its size and audio, and leads from it to the old one.

    There is no delta where the old file has little in common with the new one, or is of no use.
    """

    audio: str
    size: int
    delta: Delta | None


@dataclass(frozen=True)
class EmbedOptions:
    """How a cover is embedded.

    `keep_old` gets the displaced picture; then, right before the rename, `journal` is told of it
    and raises if the run is over. `only_over` is the sha256 of the front cover that must be there.
    `as_it_was` puts a picture back that was in the file before, of whatever kind it is.
    """

    write: WriteOptions
    journal: Callable[[WayBack], None]
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
    _refuse_other(path, old, options)
    if _hash(old) == _hash(cover):
        return Embedded(changed=False, old=old)

    def change(copy: Path) -> None:
        if _hash(read_front(copy)) != _hash(old):
            raise changed_meanwhile(path)
        replace_front(copy, cover, named=path, as_it_was=options.as_it_was)
        if cover is None and read_front(copy):
            raise _further_covers(path)

    def verify(original: Path, copy: Path) -> WayBack:
        audio = _verify(original, copy, _Change(_hash(old), _hash(cover)))
        if old is not None:
            options.keep_old(old.data)
        with _unchanged(path):
            delta = delta_between(original, copy, old.data if old else None)
        return WayBack(audio, copy.stat().st_size, delta)

    written = replace_file(path, change, verify, options.journal, options.write)
    return Embedded(changed=True, old=old, not_kept=written.not_kept)


def put_back(
    path: Path, deltas: Sequence[tuple[Delta, bytes]], options: EmbedOptions
) -> Embedded | None:
    """Make the file what it was before our changes, to the last byte; the newest delta is first.

    Each comes with the picture that was displaced. None, and nothing done, if the file is no more
    what our last change made of it.
    """
    front = read_front(path)
    _refuse_other(path, front, options)
    if not deltas or not _lead_on_from(path, [delta for delta, _ in deltas]):
        return None

    def change(copy: Path) -> None:
        with _unchanged(path), path.open("rb") as file:
            former: Readable = WholeFile(file)
            for delta, picture in deltas:
                former = FormerFile(former, delta, picture)
            write_out(former, copy)

    def verify(original: Path, copy: Path) -> WayBack:
        audio = fingerprint(original)
        if sha256_of(copy) != deltas[-1][0].old_sha256 or fingerprint(copy) != audio:
            raise _not_what_it_was(path)
        if front is not None:
            options.keep_old(front.data)
        return WayBack(audio, copy.stat().st_size, None)

    written = replace_file(path, change, verify, options.journal, options.write)
    return Embedded(changed=True, old=front, not_kept=written.not_kept)


def _lead_on_from(path: Path, deltas: Sequence[Delta]) -> bool:
    """Whether the first delta starts from this very file, and each other from where one ends."""
    first = deltas[0]
    with speaking_of(path):
        if path.stat().st_size != first.new_size or sha256_of(path) != first.new_sha256:
            return False
    return all(later.old_sha256 == sooner.new_sha256 for later, sooner in pairwise(deltas))


@contextmanager
def _unchanged(path: Path) -> Iterator[None]:
    """A file that ends before it should was changed while it was read."""
    try:
        yield
    except ValueError as error:
        raise changed_meanwhile(path) from error


def _refuse_other(path: Path, found: FrontCover | None, options: EmbedOptions) -> None:
    if options.only_over not in (None, _hash(found)):
        raise HarmonyError(
            ErrorCode.CONFLICT,
            Reason.CHANGED_MEANWHILE,
            f"{shown(path)} was left alone: its cover is not the one that was put there.",
            path=shown(path),
        )


def _verify(original: Path, copy: Path, wanted: _Change) -> str:
    """Raise unless just that change shows in the copy; returns the audio's fingerprint."""
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
    return whole[1]


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

    with io.BufferedReader(raw := io.FileIO(path)) as file:
        raw.name = "audio" + _SUFFIXES[container_of(file, path)]
        file.seek(0)
        try:
            read = mediafile.MediaFile(file)
            images: list[mediafile.Image] = read.images or []  # pyright: ignore[reportAssignmentType]
            pictures = [picture.data for picture in images]
            tags = {key: getattr(read, key) for key in read.fields() if key not in _PICTURES}
        except Exception:  # noqa: BLE001 - over odd tags that reader raises all there is
            return None
    hashes = Counter(hashlib.sha256(data).hexdigest() for data in pictures)
    return _Seen(hashes, repr(sorted(tags.items())))


def _hash(cover: FrontCover | NewCover | None) -> str | None:
    if isinstance(cover, NewCover):
        return hashlib.sha256(cover.data).hexdigest()
    return cover.sha256 if cover else None


def _not_what_it_was(path: Path) -> HarmonyError:
    return HarmonyError(
        ErrorCode.INTERNAL_ERROR,
        Reason.VERIFICATION,
        f"{shown(path)} was left alone: put back from what was kept of it, it would not be what it "
        "was. Please report this with the file.",
        path=shown(path),
    )


def _further_covers(path: Path) -> HarmonyError:
    return HarmonyError(
        ErrorCode.CONFLICT,
        Reason.CHANGED_MEANWHILE,
        f"{shown(path)} was left alone: it has further covers, so it cannot be left without one.",
        path=shown(path),
    )
