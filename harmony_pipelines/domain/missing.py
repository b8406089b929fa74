"""What a collector would miss: albums of watched artists, and tracks of albums that are there.

Nothing is missing merely because it is unknown: without a library there are no rows, and what may
be there after all is hidden, with the reason, rather than listed.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.discography import is_tombstone
from harmony_pipelines.domain.matching import AlbumMatch, Verdict
from harmony_pipelines.domain.recordings import (
    EP_TRACKS,
    Recording,
    Recordings,
    is_single_beside,
    tracks_by_album,
)
from harmony_pipelines.domain.rows import Row, artists_in, number_in, text_in
from harmony_pipelines.domain.titles import artist_key, artist_keys, title_of

DEFAULT_GROUPS = frozenset({"album", "single"})

_SHARED_BY_EDITIONS = 0.5


class Wanted(StrEnum):
    """Which releases count as missing: the values of `HARMONY_MISSING`."""

    ALBUMS = "albums"
    ALBUMS_EPS = "albums_eps"
    EVERYTHING = "everything"


class Hidden(StrEnum):
    """Why a row is not shown, the first that holds."""

    IGNORED = "ignored"
    REMOVED = "removed"
    WITHDRAWN = "withdrawn"
    GROUP = "group"
    KIND = "kind"
    UNSURE = "unsure"
    SINGLE_ON_ALBUM = "single_on_album"
    EDITION = "edition"


def _nothing() -> dict[str, frozenset[str]]:
    return {}


@dataclass(frozen=True, slots=True)
class Wishes:
    """What the user wants to hear of; `groups` are those followed, by artist id."""

    wanted: Wanted = Wanted.ALBUMS_EPS
    groups: Mapping[str, frozenset[str]] = field(default_factory=_nothing)
    decisions: Decisions = field(default_factory=Decisions)


@dataclass(frozen=True, slots=True)
class Listings:
    """The catalogue, or some artists of it: names by artist id, and `spotify_albums` rows.

    `tracks` gives the `spotify_tracks` rows of the albums of these ids: of most they do not matter.
    """

    artist_names: Mapping[str, str]
    albums: Sequence[Row]
    tracks: Callable[[Collection[str]], Iterable[Row]]


def missing_from_library(
    listings: Listings, library: "Library | None", wishes: Wishes
) -> list[dict[str, object]]:
    """The rows of `missing_from_library`, by artist, album and position on it."""
    if library is None or library.is_empty:
        return []
    listed = sorted(
        listings.albums, key=lambda row: (text_in(row, "artist_id"), text_in(row, "album_id"))
    )
    names = listings.artist_names
    albums = [_Album.of(row, names.get(text_in(row, "artist_id"), "")) for row in listed]
    compared = {album.album_id for album in albums if library.may_tell_by_tracks(album)}
    tracks_of = tracks_by_album(listings.tracks(compared)) if compared else {}
    rows: list[dict[str, object]] = []
    for each in albums:
        album = each.with_tracks(tracks_of.get(each.album_id, ()))
        copies = library.copies_of(album.album_id)
        if copies is None:
            rows.append(_album_row(album, _why_hidden(album, library, wishes)))
        else:
            rows.extend(_track_rows(album, copies, _hidden_by_user_or_spotify(album, wishes)))
    return rows


@dataclass(frozen=True, slots=True)
class _Album:
    row: Row
    album_id: str
    artist_id: str
    artist_name: str
    artists: frozenset[str]
    group: str
    title: str
    tracks: Sequence[tuple[Row, Recording]] = ()

    @classmethod
    def of(cls, row: Row, artist_name: str) -> "_Album":
        group = text_in(row, "album_group") or text_in(row, "album_type")
        names = [name for _, name in artists_in(row)]
        if not names or group != "appears_on":
            names.append(artist_name)
        return cls(
            row=row,
            album_id=text_in(row, "album_id"),
            artist_id=text_in(row, "artist_id"),
            artist_name=artist_name,
            artists=frozenset(key for name in names for key in artist_keys(name)),
            group=group,
            title=title_of(text_in(row, "name")).base,
        )

    def with_tracks(self, tracks: Sequence[Row]) -> "_Album":
        recordings = [(track, Recording.of_spotify(track)) for track in tracks]
        return replace(self, tracks=recordings) if recordings else self

    @property
    def recordings(self) -> list[Recording]:
        return [recording for _, recording in self.tracks]

    @property
    def is_whole(self) -> bool:
        """Whether all its tracks are stored."""
        return 0 < (number_in(self.row, "total_tracks") or 0) <= len(self.tracks)


class Library:
    """What the library has, found by Spotify album, by title and by recording."""

    def __init__(
        self, albums: Iterable[Row], tracks: Iterable[Row], matches: Iterable[AlbumMatch]
    ) -> None:
        """From `beets_albums` and `beets_tracks` rows, which are not kept, and their matches."""
        recordings: defaultdict[str, list[Recording]] = defaultdict(list)
        self._by_artist: defaultdict[str, list[Recording]] = defaultdict(list)
        self._pools: dict[str, Recordings] = {}
        self._editions: defaultdict[tuple[str, str], list[list[Recording]]] = defaultdict(list)
        keys_of: dict[str, tuple[str, ...]] = {}
        for album in albums:
            album_id = text_in(album, "beets_album_id")
            keys_of[album_id] = artist_keys(text_in(album, "albumartist"))
            title = title_of(text_in(album, "album")).base
            for key in keys_of[album_id]:
                self._editions[key, title].append(recordings[album_id])
        for track in tracks:
            album_id, recording = text_in(track, "beets_album_id"), Recording.of_beets(track)
            recordings[album_id].append(recording)
            if album_id in keys_of:
                for key in {*keys_of[album_id], *artist_keys(text_in(track, "artist"))}:
                    self._by_artist[key].append(recording)
        matched = [*matches]
        self._copies = _copies(matched, recordings)
        self._undecided = _undecided(matched)
        self.is_empty = not keys_of

    def may_tell_by_tracks(self, album: _Album) -> bool:
        """Whether it may depend on its tracks if the album is missing, or what of it."""
        return (
            self.copies_of(album.album_id) is not None
            or any((key, album.title) in self._editions for key in album.artists)
            or (_is_single(album) and not self._by_artist.keys().isdisjoint(album.artists))
        )

    def copies_of(self, album_id: str) -> list[Recording] | None:
        """The recordings of the library albums matched to it; None if none is."""
        return self._copies.get(album_id)

    def may_have(self, album: _Album) -> bool:
        """Whether an undecided match names the album."""
        return album.album_id in self._undecided

    def has_edition_of(self, album: _Album) -> bool:
        """Whether there is an album of the same artist and title that is not plainly another.

        Two albums may bear one title (self-titled ones do), so known tracks have the last word.
        """
        if not album.title:
            return False
        found = (own for key in album.artists for own in self._editions.get((key, album.title), ()))
        return any(_may_be_edition(own, album) for own in found)

    def has_recordings_of(self, album: _Album) -> bool:
        """Whether every track of the album is in the library, on whichever album."""
        pools = [self._pool(key) for key in album.artists if key in self._by_artist]
        return album.is_whole and all(
            any(recording in pool for pool in pools) for recording in album.recordings
        )

    def _pool(self, artist: str) -> Recordings:
        """The artist's recordings, made ready to be asked when a first single does."""
        if artist not in self._pools:
            self._pools[artist] = Recordings(self._by_artist[artist])
        return self._pools[artist]


def _copies(
    matches: Iterable[AlbumMatch], recordings: Mapping[str, list[Recording]]
) -> dict[str, list[Recording]]:
    copies: defaultdict[str, list[Recording]] = defaultdict(list)
    for match in matches:
        if match.verdict is Verdict.MATCHED and match.album_id:
            copies[match.album_id].extend(recordings.get(match.beets_album_id, []))
    return dict(copies)


def _undecided(matches: Iterable[AlbumMatch]) -> frozenset[str]:
    return frozenset(
        candidate.album_id
        for match in matches
        if match.verdict in (Verdict.UNSURE, Verdict.AMBIGUOUS)
        for candidate in match.candidates
    )


def _may_be_edition(own: Sequence[Recording], album: _Album) -> bool:
    if is_single_beside(own, album.title, number_in(album.row, "total_tracks") or 0):
        return False
    if not own or not album.tracks:
        return True
    shorter, longer = sorted((own, album.recordings), key=len)
    known = Recordings(longer)
    shared = sum(known.has_title(recording) for recording in shorter)
    return shared >= _SHARED_BY_EDITIONS * len(shorter)


def _why_hidden(album: _Album, library: Library, wishes: Wishes) -> Hidden | None:
    by_user_or_spotify = _hidden_by_user_or_spotify(album, wishes)
    if by_user_or_spotify is not None:
        return by_user_or_spotify
    if not _is_wanted(album, wishes.wanted):
        return Hidden.KIND
    if library.may_have(album):
        return Hidden.UNSURE
    if _is_single(album) and library.has_recordings_of(album):
        return Hidden.SINGLE_ON_ALBUM
    return Hidden.EDITION if library.has_edition_of(album) else None


def _hidden_by_user_or_spotify(album: _Album, wishes: Wishes) -> Hidden | None:
    if _is_ignored(album, wishes.decisions):
        return Hidden.IGNORED
    if is_tombstone(album.row):
        return Hidden.WITHDRAWN
    if text_in(album.row, "removed_at") or not text_in(album.row, "name"):
        return Hidden.REMOVED
    if album.group not in wishes.groups.get(album.artist_id, DEFAULT_GROUPS):
        return Hidden.GROUP
    return None


def _is_ignored(album: _Album, decisions: Decisions) -> bool:
    if album.album_id in decisions.ignored_albums:
        return True
    key = artist_key(album.artist_name)
    return any(
        group == album.group and (artist == album.artist_id or (key and artist_key(artist) == key))
        for artist, group in decisions.ignored_groups
    )


def _is_wanted(album: _Album, wanted: Wanted) -> bool:
    if wanted is Wanted.EVERYTHING or not _is_single(album):
        return True
    total = number_in(album.row, "total_tracks") or 0
    return wanted is Wanted.ALBUMS_EPS and total >= EP_TRACKS


def _is_single(album: _Album) -> bool:
    return text_in(album.row, "album_type") in ("single", "ep")


def _album_row(album: _Album, hidden: Hidden | None) -> dict[str, object]:
    row = album.row
    return {
        "artist_id": album.artist_id,
        "album_id": album.album_id,
        "track_id": "",
        "artist_name": album.artist_name,
        "name": text_in(row, "name"),
        "album_type": text_in(row, "album_type"),
        "release_date": text_in(row, "release_date"),
        "total_tracks": number_in(row, "total_tracks"),
        "spotify_url": text_in(row, "spotify_url"),
        "reason": "album",
        "hidden_reason": str(hidden) if hidden else None,
    }


def _track_rows(
    album: _Album, copies: Sequence[Recording], hidden: Hidden | None
) -> list[dict[str, object]]:
    if not copies:
        return []
    known = Recordings(copies)
    at = {(copy.disc, copy.position): copy for copy in copies if copy.position}
    return [
        _album_row(album, hidden)
        | {
            "track_id": text_in(track, "track_id"),
            "name": text_in(track, "name"),
            "spotify_url": text_in(track, "spotify_url"),
            "reason": "track",
        }
        for track, recording in album.tracks
        if recording not in known
        and not _is_same_place(at.get((recording.disc, recording.position or 0)), recording)
    ]


def _is_same_place(copy: Recording | None, recording: Recording) -> bool:
    """Whether the copy at the same disc and track may be it, for all that its tags say."""
    if copy is None:
        return False
    same_title = not copy.title.base or copy.title.base == recording.title.base
    return same_title or copy.lasts_as_long_as(recording) is not False
