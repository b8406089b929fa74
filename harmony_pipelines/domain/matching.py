"""Library album ↔ Spotify album: score, tie, verdict.

The user's decision comes first, then equal ids: Spotify's own, UPC, the whole set of ISRCs. Else:

| evidence | weight | 1 is | the rest |
|---|---|---|---|
| title | 0.40 | equal | other edition 0.95; other number, or "live", "remix" …: ≤ 0.4 |
| tracks | 0.35 | each has its pair | share of the longer list; body pending: other count 0.5 |
| artist | 0.15 | equal names | one of several named 0.8 |
| year | 0.10 | equal | next year 0.7, other 0: reissues make it weak |

The score is the mean over the evidence there is. It only ranks: `matched` needs equal length and a
track list that agrees, or, while that is pending, the same year and edition, and no rival.

Strings are compared by rapidfuzz on Unicode text. beets' own distance is not used: it keeps only
a-z0-9, which makes all Japanese titles, and "..." and "?", equal.
"""

import json
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.identifiers import VARIOUS_ARTISTS_IDS, normalise_isrc, normalise_upc
from harmony_pipelines.domain.recordings import (
    SAME_DURATION_MS,
    Recording,
    is_shorter_kind,
    is_single_beside,
    tracks_by_album,
)
from harmony_pipelines.domain.releases import ReleaseDate
from harmony_pipelines.domain.rows import Row, artists_in, number_in, text_in
from harmony_pipelines.domain.titles import (
    Title,
    artist_key,
    artist_keys,
    is_various_artists,
    may_be_one,
    title_of,
    title_similarity,
)

NEVER = "never"

_TITLE_WEIGHT, _TRACKS_WEIGHT, _ARTIST_WEIGHT, _YEAR_WEIGHT = 0.40, 0.35, 0.15, 0.10
_PLAUSIBLE_TITLE = 0.6
_SAME_TITLE = 0.9
_SAME_TRACKS = 0.85
_OTHER_TRACKS = 0.5
_SAME_ARTIST = 0.8
_PLAUSIBLE_SCORE = 0.6
_RIVAL_WITHIN = 0.03
_SHOWN_CANDIDATES = 10
_MOST_ALIKE = 25


class Verdict(StrEnum):
    """What a comparison came to."""

    MATCHED = "matched"
    UNSURE = "unsure"
    AMBIGUOUS = "ambiguous"
    UNMATCHED = "unmatched"


class DecidedBy(StrEnum):
    """Which evidence settled it."""

    USER = "user"
    ID = "id"
    UPC = "upc"
    ISRC = "isrc"
    SCORE = "score"


class MatchReason(StrEnum):
    """Why the verdict is what it is: a stable word."""

    DECIDED = "decided"
    SAME_ID = "same_id"
    SAME_UPC = "same_upc"
    SAME_ISRCS = "same_isrcs"
    ALIKE = "alike"
    INCOMPLETE = "incomplete"
    RIVALS = "rivals"
    EDITION = "edition"
    TRACKS = "tracks"
    TITLE = "title"
    ARTIST = "artist"
    YEAR = "year"
    UNCOUNTED = "uncounted"
    NO_CANDIDATE = "no_candidate"


_MESSAGES = {
    MatchReason.DECIDED: "You decided it in decisions.yaml.",
    MatchReason.SAME_ID: "The library names this Spotify album id.",
    MatchReason.SAME_UPC: "The barcode is the same.",
    MatchReason.SAME_ISRCS: "All recordings have the same ISRCs.",
    MatchReason.ALIKE: "Title, artist and tracks agree.",
    MatchReason.INCOMPLETE: "All tracks the library has agree; it lacks some of the album.",
    MatchReason.RIVALS: "Several Spotify albums fit equally well.",
    MatchReason.EDITION: "It may be another edition: the number of tracks or the edition differs.",
    MatchReason.TRACKS: "The track lists differ.",
    MatchReason.TITLE: "The titles differ.",
    MatchReason.ARTIST: "The artists differ.",
    MatchReason.YEAR: "The year differs or is unknown, and the track lists cannot settle it yet.",
    MatchReason.UNCOUNTED: "How many tracks one of the two has is not known.",
    MatchReason.NO_CANDIDATE: "No Spotify album in the catalogue is like it.",
}


@dataclass(frozen=True, slots=True)
class LibraryAlbum:
    """A library album, made comparable."""

    beets_album_id: str
    mb_albumid: str
    spotify_album_id: str
    upc: str | None
    title: Title
    artist: str
    years: frozenset[int]
    count: int
    recordings: tuple[Recording, ...]

    @classmethod
    def of(cls, album: Row, tracks: Sequence[Row] = ()) -> "LibraryAlbum":
        """The album of a `beets_albums` row and its `beets_tracks` rows.

        `spotify_album_id` and `original_year` are read if the row has them.
        """
        years = (number_in(album, "year"), number_in(album, "original_year"))
        return cls(
            beets_album_id=text_in(album, "beets_album_id"),
            mb_albumid=text_in(album, "mb_albumid"),
            spotify_album_id=text_in(album, "spotify_album_id"),
            upc=normalise_upc(text_in(album, "barcode")),
            title=title_of(text_in(album, "album")),
            artist=text_in(album, "albumartist") or _only_artist(tracks),
            years=frozenset(year for year in years if year),
            count=len(tracks) or number_in(album, "tracks") or 0,
            recordings=tuple(Recording.of_beets(track) for track in tracks),
        )


def _only_artist(tracks: Sequence[Row]) -> str:
    artists = {text_in(track, "artist") for track in tracks}
    return artists.pop() if len(artists) == 1 else ""


@dataclass(frozen=True, slots=True)
class SpotifyAlbum:
    """A Spotify album, made comparable; without recordings while its body is pending."""

    album_id: str
    name: str
    release_date: str
    year: int | None
    upc: str | None
    title: Title
    artists: tuple[str, ...]
    count: int
    removed: bool
    recordings: tuple[Recording, ...]

    @classmethod
    def of(cls, album: Row, tracks: Sequence[Row] = (), watched_artist: str = "") -> "SpotifyAlbum":
        """The album of a `spotify_albums` row and its `spotify_tracks` rows."""
        return cls(
            album_id=text_in(album, "album_id"),
            name=text_in(album, "name"),
            release_date=text_in(album, "release_date"),
            year=ReleaseDate.of_row(album).year,
            upc=normalise_upc(text_in(album, "upc")),
            title=title_of(text_in(album, "name")),
            artists=_artist_names(album, watched_artist),
            count=number_in(album, "total_tracks") or len(tracks),
            removed=bool(text_in(album, "removed_at")),
            recordings=tuple(Recording.of_spotify(track) for track in tracks),
        )


def _artist_names(album: Row, watched_artist: str) -> tuple[str, ...]:
    names = tuple(
        "Various Artists" if artist_id in VARIOUS_ARTISTS_IDS else name
        for artist_id, name in artists_in(album)
    )
    # Spotify may know the artist by a newer name than the one this album was credited to.
    own = text_in(album, "album_group") != "appears_on" and watched_artist
    return tuple(dict.fromkeys((*names, own) if own else names))


@dataclass(frozen=True, slots=True)
class Candidate:
    """A Spotify album a library album was compared with."""

    album_id: str
    name: str
    release_date: str
    score: float


@dataclass(frozen=True, slots=True)
class AlbumMatch:
    """The verdict on one library album; `score` 1 is equal."""

    beets_album_id: str
    album_id: str | None
    score: float
    verdict: Verdict
    reason: MatchReason
    decided_by: DecidedBy
    candidates: tuple[Candidate, ...] = ()

    @property
    def message(self) -> str:
        """The reason in words."""
        return _MESSAGES[self.reason]

    @classmethod
    def of_row(cls, row: Row) -> "AlbumMatch":
        """The match that a row of `album_matches` holds."""
        score = row.get("score")
        return cls(
            beets_album_id=text_in(row, "beets_album_id"),
            album_id=text_in(row, "album_id") or None,
            score=score if isinstance(score, float) else 0.0,
            verdict=Verdict(text_in(row, "verdict")),
            reason=MatchReason(text_in(row, "reason")),
            decided_by=DecidedBy(text_in(row, "decided_by")),
            candidates=tuple(
                Candidate(**candidate) for candidate in json.loads(text_in(row, "candidates"))
            ),
        )

    def as_row(self) -> dict[str, object]:
        """The row of `album_matches`."""
        candidates = [
            {
                "album_id": candidate.album_id,
                "name": candidate.name,
                "release_date": candidate.release_date,
                "score": candidate.score,
            }
            for candidate in self.candidates
        ]
        return {
            "beets_album_id": self.beets_album_id,
            "album_id": self.album_id,
            "score": self.score,
            "verdict": str(self.verdict),
            "reason": str(self.reason),
            "message": self.message,
            "candidates": json.dumps(candidates, ensure_ascii=False),
            "decided_by": str(self.decided_by),
        }


class CatalogueIndex:
    """The Spotify albums of the catalogue, found by id, UPC, ISRC and artist.

    Comparing every album with every other is what this avoids: `candidates_for` gives the few of
    the same artist whose titles are at all alike, and those that share an identifier. Little is
    held of each album, so that a large catalogue fits into memory.
    """

    def __init__(
        self, albums: Iterable[Row], tracks: Iterable[Row], artist_names: Mapping[str, str]
    ) -> None:
        """Index `spotify_albums` and `spotify_tracks` rows; `artist_names` is by artist id.

        Of the tracks only those matter whose ISRC the library has, and of them only that and the
        album's id.
        """
        self._stored_by: defaultdict[str, tuple[str, ...]] = defaultdict(tuple)
        self._by_upc: defaultdict[str, set[str]] = defaultdict(set)
        self._by_isrc: defaultdict[str, set[str]] = defaultdict(set)
        self._by_artist: defaultdict[str, dict[str, str]] = defaultdict(dict)
        self._titles: dict[str, Title] = {}
        for row in albums:
            self._add(row, artist_names)
        for track in tracks:
            album_id, isrc = text_in(track, "album_id"), normalise_isrc(text_in(track, "isrc"))
            if isrc and album_id in self._stored_by:
                self._by_isrc[isrc].add(album_id)

    def _add(self, row: Row, artist_names: Mapping[str, str]) -> None:
        album_id, artist_id = text_in(row, "album_id"), text_in(row, "artist_id")
        self._stored_by[album_id] += (sys.intern(artist_id),)
        names = _artist_names(row, artist_names.get(artist_id, ""))
        title = self._titles[album_id] = title_of(text_in(row, "name"))
        for key in {key for name in names for key in artist_keys(name)}:
            self._by_artist[key][album_id] = title.base
        upc = normalise_upc(text_in(row, "upc"))
        if upc:
            self._by_upc[upc].add(album_id)

    def artists_of(self, album_id: str) -> tuple[str, ...]:
        """The ids of the artists under whom the album is stored."""
        return self._stored_by.get(album_id, ())

    def candidates_for(self, album: LibraryAlbum) -> list[str]:
        """The ids of the Spotify albums worth comparing with a library album."""
        found = {
            *({album.spotify_album_id} & self._stored_by.keys()),
            *(self._by_upc.get(album.upc, ()) if album.upc else ()),
            *self._sharing_isrcs(album),
            *self._alike(album),
        }
        return sorted(found)

    def _sharing_isrcs(self, album: LibraryAlbum) -> list[str]:
        isrcs = _isrcs(album.recordings)
        shared = Counter(album_id for isrc in isrcs for album_id in self._by_isrc.get(isrc, ()))
        return [album_id for album_id, count in shared.items() if 2 * count >= len(isrcs)]

    def _alike(self, album: LibraryAlbum) -> list[str]:
        from rapidfuzz import fuzz, process

        if not album.title.base:
            return []
        least = 100.0 if is_various_artists(album.artist) else 100 * _PLAUSIBLE_TITLE
        return [
            album_id
            for key in artist_keys(album.artist)
            for _, _, album_id in process.extract(
                album.title.base,
                self._by_artist.get(key, {}),
                scorer=fuzz.ratio,
                score_cutoff=least,
                limit=_MOST_ALIKE,
            )
            if may_be_one(album.title, self._titles[album_id])
        ]


def comparable(
    albums: Iterable[Row], tracks: Iterable[Row], artist_names: Mapping[str, str]
) -> dict[str, SpotifyAlbum]:
    """The albums of `spotify_albums` and `spotify_tracks` rows by id, each as its best row has it.

    An album is stored once for every watched artist on it, and not always equally complete.
    """
    tracks_of = tracks_by_album(tracks)
    found: dict[str, SpotifyAlbum] = {}
    for row in albums:
        watched_artist = artist_names.get(text_in(row, "artist_id"), "")
        album = SpotifyAlbum.of(row, tracks_of.get(text_in(row, "album_id"), ()), watched_artist)
        known = found.get(album.album_id)
        if known is None or (album.removed, not album.upc) < (known.removed, not known.upc):
            found[album.album_id] = album
    return found


def match_library(
    albums: Iterable[Row],
    tracks: Iterable[Row],
    index: CatalogueIndex,
    bodies: Callable[[set[str]], Mapping[str, SpotifyAlbum]],
    decisions: Decisions,
) -> list[AlbumMatch]:
    """The match of every `beets_albums` row, in order; `tracks` are `beets_tracks` rows.

    `bodies` gives the Spotify albums of the ids that the index names.
    """
    tracks_of: defaultdict[str, list[Row]] = defaultdict(list)
    for track in tracks:
        tracks_of[text_in(track, "beets_album_id")].append(track)
    own = [
        LibraryAlbum.of(row, tracks_of.get(text_in(row, "beets_album_id"), ())) for row in albums
    ]
    named = [index.candidates_for(album) for album in own]
    known = bodies({album_id for album_ids in named for album_id in album_ids})
    return [
        match_album(album, [known[each] for each in album_ids if each in known], decisions)
        for album, album_ids in zip(own, named, strict=True)
    ]


def match_album(
    album: LibraryAlbum, candidates: Iterable[SpotifyAlbum], decisions: Decisions
) -> AlbumMatch:
    """The Spotify album that a library album is, or why none is certain."""
    comparisons = sorted(
        (_compare(album, candidate) for candidate in candidates),
        key=lambda comparison: (-comparison.score, comparison.spotify.album_id),
    )
    decided = _decided(album, decisions)
    if decided is not None:
        return _by_user(album, decided, comparisons)
    same_id = [c for c in comparisons if c.spotify.album_id == album.spotify_album_id]
    if same_id:
        found = _Finding(DecidedBy.ID, MatchReason.SAME_ID)
        return _matched(album, same_id[0], comparisons, found)
    same_upc = [c for c in comparisons if album.upc and c.spotify.upc == album.upc]
    if same_upc:
        found = _Finding(DecidedBy.UPC, MatchReason.SAME_UPC)
        return _by_identifier(album, same_upc, comparisons, found)
    same_isrcs = [c for c in comparisons if c.same_isrcs]
    if same_isrcs:
        found = _Finding(DecidedBy.ISRC, MatchReason.SAME_ISRCS)
        return _by_identifier(album, same_isrcs, comparisons, found)
    return _by_score(album, [c for c in comparisons if c.plausible])


@dataclass(frozen=True, slots=True)
class _Comparison:
    """How a library album and one Spotify album compare; evidence that is missing is None."""

    spotify: SpotifyAlbum
    title: float
    artist: float
    tracks: float | None
    year: float | None
    coverage: float
    same_count: bool | None
    incomplete: bool
    same_isrcs: bool
    other_kind: bool
    score: float = field(init=False)

    def __post_init__(self) -> None:
        counted = 1.0 if self.same_count else 0.5
        evidence = (
            (self.title, _TITLE_WEIGHT),
            (counted if self.tracks is None else self.tracks, _TRACKS_WEIGHT),
            (self.artist, _ARTIST_WEIGHT),
            (self.year, _YEAR_WEIGHT),
        )
        there = [(value, weight) for value, weight in evidence if value is not None]
        total = sum(value * weight for value, weight in there) / sum(weight for _, weight in there)
        object.__setattr__(self, "score", round(min(total, 1.0), 4))

    @property
    def plausible(self) -> bool:
        if self.title < _PLAUSIBLE_TITLE or self.other_kind:
            return False
        return self.score >= _PLAUSIBLE_SCORE or self.other_recordings

    @property
    def other_recordings(self) -> bool:
        return self.tracks is not None and self.coverage < _OTHER_TRACKS

    @property
    def doubt(self) -> MatchReason | None:
        """What speaks against a match by score; None if nothing does."""
        if self.title < _SAME_TITLE:
            return MatchReason.TITLE
        if self.artist < _SAME_ARTIST:
            return MatchReason.ARTIST
        if self.same_count is None:
            return MatchReason.UNCOUNTED
        if not self.same_count and not self.incomplete:
            return MatchReason.EDITION
        if self.tracks is None:
            return self._doubt_without_tracks()
        return None if self.tracks >= _SAME_TRACKS or self.incomplete else MatchReason.TRACKS

    def _doubt_without_tracks(self) -> MatchReason | None:
        if self.year != 1.0:
            return MatchReason.YEAR
        return MatchReason.EDITION if self.title < 1.0 else None


def _compare(album: LibraryAlbum, spotify: SpotifyAlbum) -> _Comparison:
    tracks, coverage = _track_agreement(album.recordings, spotify)
    return _Comparison(
        spotify=spotify,
        title=title_similarity(album.title, spotify.title),
        artist=_artist_similarity(album.artist, spotify.artists),
        tracks=tracks,
        year=_year_similarity(album.years, spotify.year),
        coverage=coverage,
        same_count=album.count == spotify.count if album.count and spotify.count else None,
        incomplete=coverage >= _SAME_TRACKS and _ends_alike(album.recordings, spotify),
        same_isrcs=_same_isrcs(album.recordings, spotify.recordings),
        other_kind=is_single_beside(album.recordings, album.title.base, spotify.count)
        or is_shorter_kind(spotify.count, album.count),
    )


def _artist_similarity(library: str, spotify: Sequence[str]) -> float:
    from rapidfuzz import fuzz

    wanted = artist_key(library)
    names = [artist_key(name) for name in spotify]
    if not wanted or not any(names):
        return 0.0
    parts = artist_keys(library)
    if wanted in names or set(parts[1:]) == set(names):
        return 1.0
    if set(parts) & set(names):
        return 0.8
    return max(fuzz.ratio(wanted, name) for name in names) / 100 * 0.8


def _year_similarity(years: frozenset[int], year: int | None) -> float | None:
    if not years or year is None:
        return None
    gap = min(abs(known - year) for known in years)
    return 1.0 if gap == 0 else 0.7 if gap == 1 else 0.0


def _track_agreement(
    library: Sequence[Recording], spotify: SpotifyAlbum
) -> tuple[float | None, float]:
    """The share of the longer track list, and of the shorter, that has its pair."""
    named = [recording for recording in library if recording.title.base or recording.isrc]
    if not named or not 0 < spotify.count <= len(spotify.recordings):
        return None, 0.0
    at = {(other.disc, other.position): other for other in spotify.recordings if other.position}
    by_title = {other.title.base: other for other in spotify.recordings if other.title.base}
    by_isrc = {other.isrc: other for other in spotify.recordings if other.isrc}
    agreed = 0.0
    for recording in library:
        others = (
            by_isrc.get(recording.isrc or ""),
            at.get((recording.disc, recording.position or 0)),
            by_title.get(recording.title.base),
        )
        agreed += _best_pair(recording, others)
    shorter, longer = sorted((len(library), len(spotify.recordings)))
    return min(agreed / longer, 1.0), min(agreed / shorter, 1.0)


def _best_pair(recording: Recording, others: Iterable[Recording | None]) -> float:
    best = 0.0
    for other in others:
        if other and best < 1.0:
            best = max(best, _pair(recording, other))
    return best


def _pair(one: Recording, other: Recording) -> float:
    if one.isrc and one.isrc == other.isrc:
        return 1.0
    alike = title_similarity(one.title, other.title)
    if alike < _SAME_TITLE:
        return 0.0
    same_length = one.lasts_as_long_as(other)
    if same_length is None:
        return alike
    return 1.0 if same_length else alike * _length_similarity(one, other)


def _length_similarity(one: Recording, other: Recording) -> float:
    """1 down to a half: another mastering differs by seconds, another recording by more."""
    apart = abs((one.duration_ms or 0) - (other.duration_ms or 0)) - SAME_DURATION_MS
    return max(0.5, 1.0 - apart / (20 * SAME_DURATION_MS))


def _ends_alike(library: Sequence[Recording], spotify: SpotifyAlbum) -> bool:
    """Whether the library has fewer tracks, but the same last one: then it lacks some.

    Without the last track a standard edition cannot be told from an unfinished longer one.
    """
    if not 0 < len(library) < len(spotify.recordings) == spotify.count:
        return False
    last = max((recording.disc, recording.position or 0) for recording in library)
    return last == max((other.disc, other.position or 0) for other in spotify.recordings)


def _isrcs(recordings: Sequence[Recording]) -> frozenset[str]:
    return frozenset(recording.isrc for recording in recordings if recording.isrc)


def _same_isrcs(library: Sequence[Recording], spotify: Sequence[Recording]) -> bool:
    isrcs = _isrcs(library)
    return len(library) == len(isrcs) == len(spotify) > 0 and isrcs == _isrcs(spotify)


@dataclass(frozen=True, slots=True)
class _Finding:
    decided_by: DecidedBy
    reason: MatchReason


def _decided(album: LibraryAlbum, decisions: Decisions) -> str | None:
    keys = (album.beets_album_id, album.mb_albumid)
    return next((decisions.match[key] for key in keys if key and key in decisions.match), None)


def _by_user(album: LibraryAlbum, decided: str, comparisons: Sequence[_Comparison]) -> AlbumMatch:
    never = decided == NEVER
    return AlbumMatch(
        album.beets_album_id,
        None if never else decided,
        0.0 if never else 1.0,
        Verdict.UNMATCHED if never else Verdict.MATCHED,
        MatchReason.DECIDED,
        DecidedBy.USER,
        _shown(comparisons),
    )


def _by_identifier(
    album: LibraryAlbum,
    sharing: Sequence[_Comparison],
    comparisons: Sequence[_Comparison],
    found: _Finding,
) -> AlbumMatch:
    rivals = _rivals(sharing)
    if len(rivals) > 1:
        found = _Finding(found.decided_by, MatchReason.RIVALS)
        return _open(album, rivals, Verdict.AMBIGUOUS, found)
    best = rivals[0]
    # A barcode typed wrong, or given twice by a label, must not outweigh everything else.
    if best.title < _PLAUSIBLE_TITLE and not best.same_count and not best.incomplete:
        return _open(album, rivals, Verdict.UNSURE, _Finding(found.decided_by, MatchReason.TITLE))
    return _matched(album, best, comparisons, found)


def _by_score(album: LibraryAlbum, comparisons: Sequence[_Comparison]) -> AlbumMatch:
    others = [comparison for comparison in comparisons if comparison.other_recordings]
    comparisons = [comparison for comparison in comparisons if comparison not in others]
    if not comparisons:
        reason = MatchReason.TRACKS if others else MatchReason.NO_CANDIDATE
        found = _Finding(DecidedBy.SCORE, reason)
        return _open(album, others, Verdict.UNMATCHED, found)
    sure = [comparison for comparison in comparisons if comparison.doubt is None]
    rivals = _rivals(sure or comparisons)
    best = rivals[0]
    if len(rivals) > 1 or best.score < comparisons[0].score - _RIVAL_WITHIN:
        found = _Finding(DecidedBy.SCORE, MatchReason.RIVALS)
        return _open(album, comparisons, Verdict.AMBIGUOUS, found)
    if best.doubt is not None:
        return _open(album, comparisons, Verdict.UNSURE, _Finding(DecidedBy.SCORE, best.doubt))
    reason = MatchReason.ALIKE if best.same_count else MatchReason.INCOMPLETE
    return _matched(album, best, comparisons, _Finding(DecidedBy.SCORE, reason))


def _rivals(comparisons: Sequence[_Comparison]) -> list[_Comparison]:
    """Those as good as the best, without the ones Spotify no longer lists if others remain."""
    best = [c for c in comparisons if c.score >= comparisons[0].score - _RIVAL_WITHIN]
    return [c for c in best if not c.spotify.removed] or best


def _matched(
    album: LibraryAlbum,
    best: _Comparison,
    comparisons: Sequence[_Comparison],
    found: _Finding,
) -> AlbumMatch:
    return AlbumMatch(
        album.beets_album_id,
        best.spotify.album_id,
        best.score,
        Verdict.MATCHED,
        found.reason,
        found.decided_by,
        _shown(comparisons),
    )


def _open(
    album: LibraryAlbum, comparisons: Sequence[_Comparison], verdict: Verdict, found: _Finding
) -> AlbumMatch:
    return AlbumMatch(
        album.beets_album_id,
        None,
        comparisons[0].score if comparisons else 0.0,
        verdict,
        found.reason,
        found.decided_by,
        _shown(comparisons),
    )


def _shown(comparisons: Sequence[_Comparison]) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(
            comparison.spotify.album_id,
            comparison.spotify.name,
            comparison.spotify.release_date,
            comparison.score,
        )
        for comparison in comparisons[:_SHOWN_CANDIDATES]
    )
