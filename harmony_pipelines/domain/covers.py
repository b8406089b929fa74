"""Which cover an album may get, from where, and which of its files; and why others get none."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, Protocol, cast

from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.rows import Row, number_in, text_in

LARGER = 1.5
"""How much longer the shorter edge of a cover must be to replace another."""

NEVER = "never"

COVER_ART_ARCHIVE = "coverartarchive"

_MUSICBRAINZ_IDS = ("mb_albumid", "mb_releasegroupid")

_OF_THE_FILE = (
    Reason.HARD_LINK,
    Reason.READ_ONLY,
    Reason.CROSS_DEVICE,
    Reason.NO_LINKS,
    Reason.OUTSIDE_LIBRARY,
    Reason.TOO_MANY_BYTES,
)
_REFUSALS = (*_OF_THE_FILE, Reason.FILE_MISSING)
_LASTING = (*_OF_THE_FILE, Reason.VERIFICATION, Reason.OTHER_PICTURE)
"""A missing file is not among them: it is there again, and the same, once its disk is."""


class Skip(StrEnum):
    """Why nothing is done with an album or a file."""

    HAS_COVER = "has_cover"
    COVERS_DIFFER = "covers_differ"
    NEVER = "never"
    RESTORED = "restored"
    NOT_MATCHED = "not_matched"
    NO_SOURCE = "no_source"
    NO_FILES = "no_files"
    REFUSED = "refused"
    WAITS = "waits"
    NOT_LARGER = "not_larger"
    OTHER_PICTURE = "other_picture"


KEPT_OUT = (Skip.NEVER, Skip.RESTORED)
"""What keeps us out of an album altogether, be it by the user's word or by undo."""


@dataclass(frozen=True)
class Source:
    """A place where a cover may be had: a path (as text) or a URL.

    `named` is what the address must name that a URL leads to; empty where it may lead anywhere.
    """

    name: str
    location: str
    named: str = ""

    @property
    def is_local(self) -> bool:
        """Whether it is a file on this machine."""
        return self.name in ("library", "user")


@dataclass(frozen=True)
class Covered:
    """The cover that was found for an album; its bytes wait in the store of covers."""

    sha256: str
    mime: str
    width: int
    height: int
    bytes: int
    source: Source


@dataclass(frozen=True)
class Failed:
    """A source that gave no cover, and why."""

    source: Source
    error: HarmonyError


@dataclass(frozen=True)
class Found:
    """What came of looking for an album's cover.

    `objection` says why the cover may not replace the one that files of the album have. With
    neither a cover nor a failure the search was not begun, or not ended: it is for the next run.
    """

    cover: Covered | None = None
    objection: Skip | None = None
    failed: tuple[Failed, ...] = ()

    @property
    def problem(self) -> Failed | None:
        """The failure to tell of: one that is more than a cover not being there, if any."""
        worse = [f for f in self.failed if f.error.code is not ErrorCode.NOT_FOUND]
        return next(iter([*worse, *self.failed]), None)


@dataclass(frozen=True)
class PlannedTrack:
    """A file that is to get a cover; `old_sha256` and `old_edge` are of the one it has, if any."""

    beets_item_id: int
    path: str
    size: int
    old_sha256: str | None
    old_edge: int


@dataclass(frozen=True)
class AlbumPlan:
    """The files of an album that are to get a cover, and the sources in their order."""

    beets_album_id: int
    album_id: str | None
    sources: tuple[Source, ...]
    tracks: tuple[PlannedTrack, ...]

    @property
    def bytes_to_write(self) -> int:
        """What rewriting its files comes to."""
        return sum(track.size for track in self.tracks)

    @property
    def to_replace(self) -> PlannedTrack | None:
        """A file whose cover only a larger copy of it may replace; the others have the same."""
        if any(source.name == "user" for source in self.sources):
            return None
        return next((track for track in self.tracks if track.old_sha256), None)

    def looked_at(self, found: Found) -> str:
        """The sources whose pictures count as seen: as JSON, to be remembered with a file."""
        seen = self.sources
        if found.cover and not found.objection:  # the first good one; the others were not asked
            seen = seen[: seen.index(found.cover.source) + 1]
        failed = {failure.source for failure in found.failed}
        return json.dumps([source.location for source in seen if source not in failed])


@dataclass(frozen=True)
class Plan:
    """What a run will do.

    `skipped` counts albums by reason, `left_alone` the files that cannot be given a cover, and
    `unread` those that there was no time to look into. `refused` holds the rows of results of
    files that could not be read just now. `open_albums` are those that were looked at and that
    nothing keeps us out of; `is_named` says that the user named them.
    """

    albums: tuple[AlbumPlan, ...] = ()
    skipped: dict[str, int] = field(default_factory=dict)
    left_alone: int = 0
    unread: int = 0
    refused: tuple[Row, ...] = ()
    dry_run: bool = False
    open_albums: frozenset[int] = frozenset()
    is_named: bool = False

    @property
    def files(self) -> int:
        """How many files are to be written."""
        return sum(len(album.tracks) for album in self.albums)

    @property
    def bytes_to_write(self) -> int:
        """What rewriting them comes to."""
        return sum(album.bytes_to_write for album in self.albums)


@dataclass(frozen=True)
class Wishes:
    """What the user wants done with covers; `resting` sources are not asked for now."""

    policy: str
    sources: Sequence[str]
    decisions: Decisions
    coverartarchive_url: str
    may_replace: bool = True
    resting: frozenset[str] = frozenset()


@dataclass(frozen=True)
class LibraryAlbum:
    """A library album with its tracks and, if one is certain, its Spotify album.

    It is held back where its files went back to the pictures they had: the user names it first.
    `replaced` are the hashes of covers of ours with those of the pictures whose place they took.
    """

    album: Row
    tracks: Sequence[Row]
    verdict: str
    spotify: Row | None
    is_held_back: bool = False
    replaced: frozenset[tuple[str, str]] = frozenset()


def plan_album(found: LibraryAlbum, wishes: Wishes) -> AlbumPlan | Skip:
    """What to embed in which files of an album, or why nothing."""
    decided = _decided(found.album, wishes.decisions.cover)
    if wishes.policy == "never" or decided == NEVER:
        return Skip.NEVER
    if found.is_held_back:
        return Skip.RESTORED
    usable = [track for track in found.tracks if number_in(track, "has_front") is not None]
    if not usable:
        return Skip.NO_FILES
    fronts = {text_in(track, "front_sha256") for track in usable if _has_front(track)}
    # A run that ended within the album left some files their old picture: it is theirs no longer.
    done = {new for new, old in found.replaced if {new, old} <= fronts}
    if decided is None and len(fronts - done) > 1:
        return Skip.COVERS_DIFFER
    if decided is not None:
        done = set[str]()
    replaces = wishes.may_replace and (decided is not None or wishes.policy == "larger")
    wanting = [
        track
        for track in usable
        if not _has_front(track) or (replaces and text_in(track, "front_sha256") not in done)
    ]
    sources = _sources(found, wishes, decided, usable) if wanting else []
    return _plan(found, wanting, sources, wishes.resting)


def _plan(
    found: LibraryAlbum, wanting: Sequence[Row], sources: Sequence[Source], resting: frozenset[str]
) -> AlbumPlan | Skip:
    if all(map(_has_front, wanting)) and not sources:
        return Skip.HAS_COVER
    if not sources:
        return Skip.NO_SOURCE if found.verdict == "matched" else Skip.NOT_MATCHED
    active = tuple(source for source in sources if source.location not in resting)
    if not active:
        return Skip.WAITS
    tracks = tuple(_planned(track) for track in wanting if not _is_refused(track, active))
    if not tracks:
        return Skip.HAS_COVER if all(map(_has_front, wanting)) else Skip.REFUSED
    return AlbumPlan(
        beets_album_id=number_in(found.album, "beets_album_id") or 0,
        album_id=text_in(found.spotify, "album_id") if found.spotify else None,
        sources=active,
        tracks=tracks,
    )


def status_of(error: HarmonyError) -> Literal["skipped", "failed"]:
    """Whether a file was left alone for what it is, or something went wrong with it."""
    if error.code in (ErrorCode.UNSUPPORTED_MEDIA, ErrorCode.CONFLICT):
        return "skipped"
    return "skipped" if error.reason in _REFUSALS else "failed"


def is_lasting(error: HarmonyError) -> bool:
    """Whether a file is refused until it changes, so that it need not be tried every night."""
    return error.code is ErrorCode.UNSUPPORTED_MEDIA or error.reason in _LASTING


def _has_front(track: Row) -> bool:
    return bool(number_in(track, "has_front"))


def _is_refused(track: Row, sources: Sequence[Source]) -> bool:
    """Whether the file was left alone before, and nothing speaks for another result now."""
    tried = text_in(track, "front_tried")
    if tried:
        known = cast("list[Any]", json.loads(tried))
        return all(source.location in known for source in sources)
    return bool(text_in(track, "front_code"))


def _decided(album: Row, covers: Mapping[str, str]) -> str | None:
    for key in (text_in(album, "beets_album_id"), text_in(album, "mb_albumid").lower()):
        if key and key in covers:
            return covers[key]
    return None


def _sources(
    found: LibraryAlbum, wishes: Wishes, decided: str | None, usable: Sequence[Row]
) -> list[Source]:
    if decided is not None:
        return [Source("user", decided)]
    known = {source.name: source for source in cover_sources(wishes.coverartarchive_url)}
    return [place for name in wishes.sources for place in known[name].places(found, usable)]


class CoverSource(Protocol):
    """One kind of place where covers may be had.

    A new one is a class like those below, in `cover_sources`, with its name among the choices of
    HARMONY_ARTWORK_SOURCES. What it names is fetched, checked, remembered when it fails, and
    embedded like everything else.
    """

    @property
    def name(self) -> str:
        """The word for it in HARMONY_ARTWORK_SOURCES."""
        ...

    def places(self, found: LibraryAlbum, usable: Sequence[Row]) -> Sequence[Source]:
        """Where the album's cover may lie, the best first; asks nobody.

        `usable` are those of its tracks whose own front cover, or the lack of one, is known.
        """
        ...


def cover_sources(coverartarchive_url: str) -> tuple[CoverSource, ...]:
    """All that there are; HARMONY_ARTWORK_SOURCES says which count, and in which order."""
    return FromLibrary(), FromCoverArtArchive(coverartarchive_url), FromSpotify()


@dataclass(frozen=True)
class FromLibrary:
    """The album's own art file, else the one front cover that its other tracks share."""

    name: str = "library"

    def places(self, found: LibraryAlbum, usable: Sequence[Row]) -> Sequence[Source]:
        """Files of the user's."""
        covered = [track for track in usable if _has_front(track)]
        sharing = covered[0].get("path") if 0 < len(covered) < len(usable) else None
        return [Source(self.name, path) for path in (found.album.get("artpath"), sharing) if path]


@dataclass(frozen=True)
class FromCoverArtArchive:
    """The Cover Art Archive, by the MusicBrainz ids that the library has: no guess, no quota."""

    url: str
    name: str = COVER_ART_ARCHIVE

    def places(self, found: LibraryAlbum, usable: Sequence[Row]) -> Sequence[Source]:
        """The release, then its group; a release's picture lies in a folder named by its id.

        A group's lies in the folder of one of its releases, which the archive chooses.
        """
        release, group = (text_in(found.album, key).lower() for key in _MUSICBRAINZ_IDS)
        asked = (
            (f"release/{release}", release, release),
            (f"release-group/{group}", group, "mbid-"),
        )
        return [
            Source(self.name, f"{self.url.rstrip('/')}/{path}/front-1200", named)
            for path, mbid, named in asked
            if _is_uuid(mbid)
        ]


@dataclass(frozen=True)
class FromSpotify:
    """Spotify's largest image, where the album's match is certain."""

    name: str = "spotify"

    def places(self, found: LibraryAlbum, usable: Sequence[Row]) -> Sequence[Source]:
        """One address, or none."""
        if found.verdict != "matched" or found.spotify is None:
            return []
        url = text_in(found.spotify, "image_url")
        return [Source(self.name, url)] if url else []


def _is_uuid(text: str) -> bool:
    """Whether it can be put into a URL as an id: a user's tags may hold anything."""
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(
        character in "0123456789abcdefABCDEF" for part in parts for character in part
    )


def _planned(track: Row) -> PlannedTrack:
    edges = (number_in(track, "front_width"), number_in(track, "front_height"))
    return PlannedTrack(
        beets_item_id=number_in(track, "beets_item_id") or 0,
        path=track["path"],
        size=number_in(track, "size") or 0,
        old_sha256=text_in(track, "front_sha256") or None,
        old_edge=min(edge or 0 for edge in edges),
    )
