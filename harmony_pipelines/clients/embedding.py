"""Put a front cover into a file of the user's: written beside, verified, renamed over."""

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from harmony_pipelines.clients.audio_container import Container
from harmony_pipelines.clients.audio_payload import common_fingerprint
from harmony_pipelines.clients.delta import (
    Delta,
    FormerFile,
    Readable,
    WholeFile,
    delta_between,
    hash_of_file,
    pieces_of,
    write_out,
)
from harmony_pipelines.clients.digests import hash_of, names_its_kind
from harmony_pipelines.clients.file_errors import shown, speaking_of
from harmony_pipelines.clients.front_cover import FrontCover, NewCover
from harmony_pipelines.clients.pictures import Contents, read_front, read_tags, write_with_front
from harmony_pipelines.clients.safe_write import (
    Prepared,
    WriteOptions,
    changed_meanwhile,
    prepare,
    replace_file,
    sync_folder,
)
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
_PICTURES = (
    "apic:",
    "covr",
    "metadata_block_picture",
    "coverart",  # of old Vorbis comments, with its mime type
    "cover art (",
    "wm/picture",
)
"""How the names of tags begin that hold pictures: ID3, MP4, Vorbis, APEv2, ASF."""


@dataclass(frozen=True)
class WayBack:
    """What finds the new file again, by its size and audio, and leads from it to the old one.

    There is no delta where the old file has little in common with the new one, or is of no use.
    """

    audio: str
    size: int
    delta: Delta | None


@dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """How a copy with another cover is made.

    `keep_old` gets the displaced picture. `only_over` is the sha256 of the front cover that must be
    there. `as_it_was` puts a picture back that was in the file before, of whatever kind it is.
    """

    write: WriteOptions
    keep_old: Callable[[bytes], None]
    only_over: str | None = None
    as_it_was: bool = False


@dataclass(frozen=True, kw_only=True)
class EmbedOptions(PrepareOptions):
    """How a cover is embedded: `journal` is called right before the rename, and may refuse it."""

    journal: Callable[[WayBack], None]


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

    def shows_in(self, before: list[str], after: list[str]) -> bool:
        """Whether one picture more is the new one, and one less the old one."""
        gained = self.new is None or after.count(self.new) == before.count(self.new) + 1
        lost = self.old is None or after.count(self.old) == max(0, before.count(self.old) - 1)
        return gained and lost


@dataclass(frozen=True)
class _Seen:
    """A file in the eyes of another reader: its pictures by hash, and its tags."""

    pictures: list[str]
    tags: str


def embed_front(path: Path, cover: NewCover | None, options: EmbedOptions) -> Embedded:
    """Make `cover` the file's front cover (None: it gets none); the same picture is left alone."""
    old, new = prepare_front(path, cover, options)
    if new is None:
        return Embedded(changed=False, old=old)
    with closing(new):
        new.sync()
        options.journal(new.found)
        new.put()
        not_kept = new.not_kept | sync_folder(new.target.parent)
    return Embedded(changed=True, old=old, not_kept=not_kept)


def prepare_front(
    path: Path, cover: NewCover | None, options: PrepareOptions
) -> tuple[FrontCover | None, Prepared[WayBack] | None]:
    """The file's front cover, and the copy in which it is `cover`; None where it is that already.

    The displaced picture is handed over to be kept; the journal is the caller's, who puts the copy
    in the file's place.
    """
    before = read_tags(path)
    old = before.front
    _refuse_other(path, old, options)
    if _hash(old) == _hash(cover):
        return old, None

    def change(original: Path, copy: Path) -> None:
        with _unchanged(path):
            displaced = write_with_front(
                original, cover, copy, named=path, as_it_was=options.as_it_was
            )
        if _hash(displaced) != _hash(old):
            raise changed_meanwhile(path)
        if cover is None and read_front(copy):
            raise _further_covers(path)

    def verify(original: Path, copy: Path) -> WayBack:
        wanted = _Change(_mark(old), _mark(cover))
        with _unchanged(path):
            audio = _verified(original, before, copy, wanted)
            delta = delta_between(original, copy, old.data if old else None)
        if old is not None:
            options.keep_old(old.data)
        return WayBack(audio, copy.stat().st_size, delta)

    return old, prepare(path, change, verify, options.write)


def put_back(
    path: Path, deltas: Sequence[tuple[Delta, bytes]], options: EmbedOptions
) -> Embedded | None:
    """Make the file what it was before our changes, to the last byte; the newest delta is first.

    Each comes with the picture that was displaced. None, and nothing done, if the file is no more
    what our last change made of it.
    """
    front = read_front(path)
    _refuse_other(path, front, options)
    if not deltas or not _lead_on_from(path, deltas):
        return None

    def change(original: Path, copy: Path) -> None:
        with _unchanged(path), original.open("rb") as file:
            former: Readable = WholeFile(file)
            for delta, picture in deltas:
                former = FormerFile(former, delta, picture)
            write_out(former, copy)

    def verify(original: Path, copy: Path) -> WayBack:
        audio = common_fingerprint(original, copy)
        if audio is None or not _has(copy, deltas[-1][0].old_hash):
            raise _not_what_it_was(path)
        if front is not None:
            options.keep_old(front.data)
        return WayBack(audio, copy.stat().st_size, None)

    written = replace_file(path, change, verify, options.journal, options.write)
    return Embedded(changed=True, old=front, not_kept=written.not_kept)


def _lead_on_from(path: Path, deltas: Sequence[tuple[Delta, bytes]]) -> bool:
    """Whether the first delta starts from this very file, and each other from where one ends."""
    first, _ = deltas[0]
    with speaking_of(path), _unchanged(path), path.open("rb") as file:
        if path.stat().st_size != first.new_size or not _has(path, first.new_hash):
            return False
        former: Readable = WholeFile(file)
        for (later, picture), (sooner, _) in pairwise(deltas):
            former = FormerFile(former, later, picture)
            if not _is(former, later.old_hash, sooner.new_hash):
                return False
    return True


def _is(former: Readable, known: str, wanted: str) -> bool:
    """Whether a former file that is known by one hash has another, perhaps of another kind."""
    if names_its_kind(known) == names_its_kind(wanted):
        return known == wanted
    return hash_of(pieces_of(former), wanted) == wanted


def _has(path: Path, known: str) -> bool:
    return hash_of_file(path, known) == known


@contextmanager
def _unchanged(path: Path) -> Iterator[None]:
    """A file that ends before it should was changed while it was read."""
    try:
        yield
    except ValueError as error:
        raise changed_meanwhile(path) from error


def _refuse_other(path: Path, found: FrontCover | None, options: PrepareOptions) -> None:
    if options.only_over not in (None, _hash(found)):
        raise HarmonyError(
            ErrorCode.CONFLICT,
            Reason.CHANGED_MEANWHILE,
            f"{shown(path)} was left alone: its cover is not the one that was put there.",
            path=shown(path),
        )


def _verified(original: Path, before: Contents, copy: Path, wanted: _Change) -> str:
    """The fingerprint of the audio; raises unless just that change shows in the copy."""
    audio = None
    try:
        after = read_tags(copy)
        fault = _fault_in(before, after, wanted) or _fault_seen_by_another(
            _seen_by_mediafile(original, before.container),
            _seen_by_mediafile(copy, after.container),
            wanted,
        )
        audio = None if fault else common_fingerprint(original, copy)
    except HarmonyError as error:
        fault = f"the new file cannot be read ({error.reason})"
    if audio is None:
        raise HarmonyError(
            ErrorCode.INTERNAL_ERROR,
            Reason.VERIFICATION,
            f"{shown(original)} was left alone: with the change in it, "
            f"{fault or 'the audio would differ'}. Please report this with the file.",
            path=shown(original),
        )
    return audio


def _fault_in(before: Contents, after: Contents, wanted: _Change) -> str | None:
    if _mark(after.front) != wanted.new:
        return "the cover does not read back"
    return None if after.rest == before.rest else "other tags would differ"


def _fault_seen_by_another(
    before: _Seen | None, after: _Seen | None, wanted: _Change
) -> str | None:
    if before is None:
        return None  # an oddity of this file which that reader does not take, with or without us
    if after is None:
        return "another reader no longer opens it"
    if not wanted.shows_in(before.pictures, after.pictures):
        return "another reader does not see just that change"
    return None if after.tags == before.tags else "another reader sees other tags"


def _seen_by_mediafile(path: Path, container: Container) -> _Seen | None:
    """The file as mediafile sees it; None where it cannot read it.

    It goes by the file's name, so it is given one that fits the bytes. Its many fields are all
    made of the tags that mutagen read for it, which are compared as they are.
    """
    import mediafile

    with io.BufferedReader(raw := io.FileIO(path)) as file:
        raw.name = "audio" + _SUFFIXES[container]
        try:
            read = mediafile.MediaFile(file)
            images: list[mediafile.Image] = read.images or []  # pyright: ignore[reportAssignmentType]
            pictures = [hash_of([picture.data]) for picture in images]
            tags = _tags_but_pictures(read.mgfile)
        except Exception:  # noqa: BLE001 - over odd tags that reader raises all there is
            return None
    return _Seen(pictures, tags)


def _tags_but_pictures(read: Any) -> str:
    """All tags that mutagen found, pictures excepted: those are looked at as such."""
    tags = read.tags or ()
    pairs = tags if isinstance(tags, list) else dict(tags).items()
    return repr(sorted((key, repr(value)) for key, value in pairs if not _is_picture(key)))


def _is_picture(key: str) -> bool:
    return key.lower().startswith(_PICTURES)


def _hash(cover: FrontCover | NewCover | None) -> str | None:
    return cover and cover.sha256


def _mark(cover: FrontCover | NewCover | None) -> str | None:
    return cover and hash_of([cover.data])


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
