"""When two tracks are one recording: the same ISRC, else the same title and duration."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harmony_pipelines.domain.identifiers import normalise_isrc
from harmony_pipelines.domain.rows import Row, number_in, text_in
from harmony_pipelines.domain.titles import Title, title_of

SAME_DURATION_MS = 2000
EP_TRACKS = 4


@dataclass(frozen=True, slots=True)
class Recording:
    """A Spotify track or a beets item, as far as it tells which recording it is."""

    title: Title
    isrc: str | None
    duration_ms: int | None
    disc: int
    position: int | None

    @classmethod
    def of_spotify(cls, track: Row) -> "Recording":
        """The recording of a `spotify_tracks` row."""
        return cls._of(track, text_in(track, "name"), "disc_number", "track_number")

    @classmethod
    def of_beets(cls, track: Row) -> "Recording":
        """The recording of a `beets_tracks` row."""
        return cls._of(track, text_in(track, "title"), "disc", "track")

    @classmethod
    def _of(cls, track: Row, title: str, disc: str, position: str) -> "Recording":
        return cls(
            title=title_of(title),
            isrc=normalise_isrc(text_in(track, "isrc")),
            duration_ms=number_in(track, "duration_ms") or None,
            disc=number_in(track, disc) or 1,
            position=number_in(track, position) or None,
        )

    def lasts_as_long_as(self, other: "Recording") -> bool | None:
        """Whether the durations are within two seconds; None if one is unknown."""
        if self.duration_ms is None or other.duration_ms is None:
            return None
        return abs(self.duration_ms - other.duration_ms) <= SAME_DURATION_MS


class Recordings:
    """A set of recordings that can be asked for another copy of one."""

    def __init__(self, recordings: Iterable[Recording]) -> None:
        self._isrcs: set[str] = set()
        self._by_title: defaultdict[str, list[Recording]] = defaultdict(list)
        for recording in recordings:
            if recording.isrc:
                self._isrcs.add(recording.isrc)
            if recording.title.base:
                self._by_title[recording.title.base].append(recording)

    def __contains__(self, recording: Recording) -> bool:
        """Whether one has the same ISRC, or else the same title and about the same duration."""
        if recording.isrc in self._isrcs:
            return True
        same_title = self._by_title.get(recording.title.base, ())
        return any(recording.lasts_as_long_as(other) for other in same_title)

    def has_title(self, recording: Recording) -> bool:
        """Whether one has the same title, however long it lasts."""
        return recording.title.base in self._by_title


def is_single_beside(own: Sequence[Recording], title: str, total: int) -> bool:
    """Whether a library album is a single rather than part of an album of `total` tracks.

    `title` is what both are called: of a single it is the title track. What is numbered with gaps,
    or has no track of that title, is part of the album.
    """
    last = max((recording.position or 0 for recording in own), default=0)
    titles = {recording.title.base for recording in own}
    named_after = title in titles or not any(titles)
    return named_after and last <= len(own) and is_shorter_kind(len(own), total)


def is_shorter_kind(count: int, total: int) -> bool:
    """Whether `count` tracks make a single where `total` make an EP or album."""
    return 0 < count < EP_TRACKS <= total and 2 * count <= total


def tracks_by_album(tracks: Iterable[Row]) -> dict[str, list[Row]]:
    """`spotify_tracks` rows by album id, in order, each once.

    A track is stored once for every watched artist on it.
    """
    by_album: defaultdict[str, dict[str, Row]] = defaultdict(dict)
    for track in tracks:
        by_album[text_in(track, "album_id")].setdefault(text_in(track, "track_id"), track)
    return {
        album_id: sorted(found.values(), key=_place_on_album)
        for album_id, found in by_album.items()
    }


def _place_on_album(track: Row) -> tuple[int, int, str]:
    disc, position = number_in(track, "disc_number"), number_in(track, "track_number")
    return disc or 1, position or 0, text_in(track, "track_id")
