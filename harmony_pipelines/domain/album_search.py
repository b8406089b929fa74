"""Which albums of the library are worth one search on Spotify each, and when worth another."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from harmony_pipelines.domain.matching import DecidedBy, LibraryAlbum, Verdict
from harmony_pipelines.domain.rows import Row, artists_in, number_in, text_in
from harmony_pipelines.domain.titles import artist_keys

_FIRST_GAP = timedelta(days=7)
_LONGEST_GAP = timedelta(days=180)
_LONGEST_NAME = 100


@dataclass(frozen=True, slots=True)
class AlbumQuestion:
    """One search: who and what is looked for, for which album of the library."""

    beets_album_id: str
    artist: str
    title: str

    @property
    def text(self) -> str:
        """What Spotify is asked; also the key under which the answer is remembered."""
        return f'album:"{_plain(self.title)}" artist:"{_plain(self.artist)}"'

    def concerns(self, listed: Row) -> bool:
        """Whether an album that was found has one of the artists asked for."""
        names = (name for _, name in artists_in(listed))
        wanted = set(artist_keys(self.artist))
        return any(wanted & set(artist_keys(name)) for name in names)


def questions(
    albums: Iterable[Row], tracks: Iterable[Row], matches: Iterable[Row], watched: Collection[str]
) -> list[AlbumQuestion]:
    """A question for each album that has no match and lacks a cover, or may lack one.

    Albums by `watched` artists (names) are never searched: their discography is listed anyway.
    The rows are of `beets_albums`, `beets_tracks` and `album_matches`.
    """
    tracks_of: defaultdict[str, list[Row]] = defaultdict(list)
    for track in tracks:
        tracks_of[text_in(track, "beets_album_id")].append(track)
    settled = {text_in(row, "beets_album_id") for row in matches if _is_settled(row)}
    listed = {key for name in watched for key in artist_keys(name)}
    found: list[AlbumQuestion] = []
    for row in albums:
        key, title = text_in(row, "beets_album_id"), text_in(row, "album")
        artist = LibraryAlbum.of(row, tracks_of[key]).artist
        if key in settled or not title or not artist or listed & set(artist_keys(artist)):
            continue
        if not _is_covered(tracks_of[key]):
            found.append(AlbumQuestion(key, artist, title))
    return found


def due(
    asked: Sequence[AlbumQuestion], answered: Mapping[str, Row], now: str
) -> list[AlbumQuestion]:
    """The questions to ask now, each text once: first those never asked; `answered` is by text."""
    waiting = {
        question.text: question
        for question in asked
        if question.text not in answered
        or text_in(answered[question.text], "next_search_at") <= now
    }
    return sorted(waiting.values(), key=lambda question: question.text in answered)


def gap(attempts: int) -> timedelta:
    """How long an answer holds: a week, two, four …; half a year at the most."""
    return min(_FIRST_GAP * 2 ** min(attempts - 1, 10), _LONGEST_GAP)


def _is_settled(match: Row) -> bool:
    return match.get("verdict") == Verdict.MATCHED or match.get("decided_by") == DecidedBy.USER


def _is_covered(tracks: Sequence[Row]) -> bool:
    return bool(tracks) and all(number_in(track, "has_front") == 1 for track in tracks)


def _plain(name: str) -> str:
    return " ".join(name.replace('"', " ").split())[:_LONGEST_NAME]
