"""Which cover an album may get, from where, and which of its files; and why others get none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.rows import Row, number_in, text_in

SourceName = Literal["library", "coverartarchive", "spotify", "user"]


LARGER = 1.5
"""How much longer the shorter edge of a cover must be to replace another."""

NEVER = "never"

_REFUSALS = (
    Reason.HARD_LINK,
    Reason.READ_ONLY,
    Reason.FILE_MISSING,
    Reason.OUTSIDE_LIBRARY,
)


class Skip(StrEnum):
    """Why nothing is done with an album or a file."""

    HAS_COVER = "has_cover"
    COVERS_DIFFER = "covers_differ"
    NEVER = "never"
    NOT_MATCHED = "not_matched"
    NO_SOURCE = "no_source"
    NO_FILES = "no_files"
    WAITS = "waits"
    NO_COVER_FOUND = "no_cover_found"
    NOT_LARGER = "not_larger"


@dataclass(frozen=True)
class Source:
    """A place where a cover may be had: a path (as text) or a URL."""

    name: SourceName
    location: str


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
    title: str
    album_id: str | None
    sources: tuple[Source, ...]
    tracks: tuple[PlannedTrack, ...]

    @property
    def bytes_to_write(self) -> int:
        """What rewriting its files comes to."""
        return sum(track.size for track in self.tracks)


@dataclass(frozen=True)
class Wishes:
    """What the user wants done with covers."""

    policy: str
    sources: Sequence[str]
    decisions: Decisions
    coverartarchive_url: str


@dataclass(frozen=True)
class LibraryAlbum:
    """A library album with its tracks and, if one is certain, its Spotify album."""

    album: Row
    tracks: Sequence[Row]
    verdict: str
    spotify: Row | None


def plan_album(found: LibraryAlbum, wishes: Wishes) -> AlbumPlan | Skip:
    """What to embed in which files of an album, or why nothing."""
    decided = _decided(found.album, wishes.decisions.cover)
    if wishes.policy == "never" or decided == NEVER:
        return Skip.NEVER
    usable = [track for track in found.tracks if number_in(track, "has_front") is not None]
    if not usable:
        return Skip.NO_FILES
    covered = {text_in(track, "front_sha256") for track in usable if number_in(track, "has_front")}
    if len(covered) > 1:
        return Skip.COVERS_DIFFER
    replaces = wishes.policy == "larger" and bool(covered)
    tracks = [track for track in usable if replaces or not number_in(track, "has_front")]
    if not tracks:
        return Skip.HAS_COVER
    sources = _sources(found, wishes, decided, usable)
    if not sources:
        return Skip.NO_SOURCE if found.verdict == "matched" else Skip.NOT_MATCHED
    return AlbumPlan(
        beets_album_id=number_in(found.album, "beets_album_id") or 0,
        title=f"{text_in(found.album, 'albumartist')} - {text_in(found.album, 'album')}",
        album_id=text_in(found.spotify, "album_id") if found.spotify else None,
        sources=tuple(sources),
        tracks=tuple(_planned(track) for track in tracks),
    )


def may_replace(track: PlannedTrack, shorter_edge: int) -> bool:
    """Whether a new cover is large enough to be put over what the file has."""
    return track.old_sha256 is None or shorter_edge >= LARGER * track.old_edge


def status_of(error: HarmonyError) -> Literal["skipped", "failed"]:
    """Whether a file was left alone for what it is, or something went wrong with it."""
    if error.code in (ErrorCode.UNSUPPORTED_MEDIA, ErrorCode.CONFLICT):
        return "skipped"
    return "skipped" if error.reason in _REFUSALS else "failed"


def _decided(album: Row, covers: Mapping[str, str]) -> str | None:
    for key in (text_in(album, "beets_album_id"), text_in(album, "mb_albumid")):
        if key and key in covers:
            return covers[key]
    return None


def _sources(
    found: LibraryAlbum, wishes: Wishes, decided: str | None, usable: Sequence[Row]
) -> list[Source]:
    if decided:
        return [Source("user", decided)]
    known: dict[str, list[Source]] = {
        "library": _from_library(found.album, usable),
        "coverartarchive": _from_coverartarchive(found.album, wishes.coverartarchive_url),
        "spotify": _from_spotify(found),
    }
    return [source for name in wishes.sources for source in known[name]]


def _from_library(album: Row, usable: Sequence[Row]) -> list[Source]:
    """The album's own art file, else the one front cover that its other tracks share."""
    artpath = text_in(album, "artpath")
    sharing = next((text_in(t, "path") for t in usable if number_in(t, "has_front")), "")
    return [Source("library", path) for path in (artpath, sharing) if path]


def _from_coverartarchive(album: Row, url: str) -> list[Source]:
    ids = (
        ("release", text_in(album, "mb_albumid")),
        ("release-group", text_in(album, "mb_releasegroupid")),
    )
    return [
        Source("coverartarchive", f"{url.rstrip('/')}/{kind}/{mbid.lower()}/front-1200")
        for kind, mbid in ids
        if _is_uuid(mbid)
    ]


def _is_uuid(text: str) -> bool:
    """Whether it can be put into a URL as an id: a user's tags may hold anything."""
    parts = text.split("-")
    return [len(part) for part in parts] == [8, 4, 4, 4, 12] and all(
        character in "0123456789abcdefABCDEF" for part in parts for character in part
    )


def _from_spotify(found: LibraryAlbum) -> list[Source]:
    if found.verdict != "matched" or found.spotify is None:
        return []
    url = text_in(found.spotify, "image_url")
    return [Source("spotify", url)] if url else []


def _planned(track: Row) -> PlannedTrack:
    edges = (number_in(track, "front_width"), number_in(track, "front_height"))
    return PlannedTrack(
        beets_item_id=number_in(track, "beets_item_id") or 0,
        path=text_in(track, "path"),
        size=number_in(track, "size") or 0,
        old_sha256=text_in(track, "front_sha256") or None,
        old_edge=min(edge or 0 for edge in edges),
    )
