"""Release dates at the precision Spotify gives them, and what of a listing is new."""

import calendar
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache
from typing import Literal

from harmony_pipelines.domain.discography import is_tombstone
from harmony_pipelines.domain.identifiers import VARIOUS_ARTISTS_IDS, normalise_upc
from harmony_pipelines.domain.recordings import Recording, Recordings, tracks_by_album
from harmony_pipelines.domain.rows import Row, artists_in, text_in
from harmony_pipelines.domain.titles import is_various_artists

Precision = Literal["year", "month", "day"]

RECENT = timedelta(days=30)

REISSUE = "reissue"
WITHDRAWN = "withdrawn"
"""Why a new release is hidden that turned out to be none."""

_PARTS: dict[str, int] = {"year": 1, "month": 2, "day": 3}
_PRECISIONS: tuple[Precision, ...] = ("year", "month", "day")
_DATE = re.compile(r"(\d{4})(?:-(\d{2}))?(?:-(\d{2}))?", re.ASCII)


@dataclass(frozen=True, slots=True)
class ReleaseDate:
    """The first and last day that a release date may mean; both None if it means none."""

    earliest: date | None = None
    latest: date | None = None
    precision: Precision | None = None

    @classmethod
    @lru_cache(maxsize=4096)
    def of(cls, text: str | None, precision: str | None = None) -> "ReleaseDate":
        """The date in `1981`, `1981-12` or `1981-12-15`, as far as it is one.

        The precision may be coarser than the text (`1981-01-01` of precision `year`), and a day
        or month that does not exist counts as not given; `0000` is what Spotify leaves of a
        withdrawn album.
        """
        found = _DATE.fullmatch((text or "").strip())
        if found is None:
            return cls()
        given = [int(part) for part in found.groups() if part is not None]
        wanted = _PARTS.get(precision or "day", 3)
        for length in range(min(wanted, len(given)), 0, -1):
            span = _span(given[:length])
            if span is not None:
                return cls(*span, _PRECISIONS[length - 1])
        return cls()

    @classmethod
    def of_row(cls, album: Row) -> "ReleaseDate":
        """The release date of a `spotify_albums` row."""
        return cls.of(text_in(album, "release_date"), text_in(album, "release_date_precision"))

    @property
    def year(self) -> int | None:
        """The year, None if unknown."""
        return self.earliest.year if self.earliest else None

    def is_on_or_after(self, day: date) -> bool:
        """Whether the first day it may mean is `day` or later; never for an unknown date."""
        return self.earliest is not None and self.earliest >= day


def _span(parts: list[int]) -> tuple[date, date] | None:
    year, month, day = (*parts, None, None)[:3]
    try:
        first = date(year or 0, month or 1, day or 1) if 0 not in parts else None
    except ValueError:
        return None
    if first is None or day:
        return (first, first) if first else None
    last_month = month or 12
    return first, date(first.year, last_month, calendar.monthrange(first.year, last_month)[1])


@dataclass(frozen=True, slots=True)
class Seen:
    """What was known of an artist before a listing.

    `ids` are all album ids ever seen, those that retention has forgotten included.
    `baseline_groups` are the album groups whose first complete listing lies behind, in the market
    of this listing: none of them at the first listing and after a change of market, and without
    the group that has just been added to those followed.
    """

    ids: frozenset[str]
    baseline_groups: frozenset[str]


def new_releases(
    artist: Row, listed: Iterable[Row], seen: Seen, today: date
) -> list[dict[str, object]]:
    """The rows of `new_releases` that a listing adds, without `run_id` and `first_seen_at`.

    `artist` has `artist_id` and `name`. What is listed before its group has a baseline is not
    news, unless it is dated within the last 30 days: that is shown once, as `recent`. Give every
    id listed to `Seen.ids` the next time. What only a body tells is found by `reissues`.
    """
    rows: list[dict[str, object]] = []
    for album in _unseen(listed, seen.ids):
        recent = text_in(album, "album_group") not in seen.baseline_groups
        if recent and not ReleaseDate.of_row(album).is_on_or_after(today - RECENT):
            continue
        rows.append(_row(artist, album, recent=recent, hidden_reason=_hidden_reason(album)))
    return rows


def reissues(news: Iterable[Row], albums: Iterable[Row], tracks: Iterable[Row]) -> list[str]:
    """The ids in `news`, rows of `new_releases`, that are known under another id.

    Known is what was seen before (`first_seen_at` of the artist's `albums`), and of what is new
    together the first: by the same UPC, or by the same tracks. An album without a body is neither.
    """
    tracks_of = tracks_by_album(tracks)
    releases = {
        text_in(album, "album_id"): (
            text_in(album, "first_seen_at"),
            _Release.of(album, tracks_of.get(text_in(album, "album_id"), ())),
        )
        for album in albums
    }
    new = sorted({text_in(row, "album_id") for row in news} & releases.keys())
    new.sort(key=lambda album_id: releases[album_id][0])
    found: list[str] = []
    for number, album_id in enumerate(new):
        since, release = releases[album_id]
        before = (known for at, known in releases.values() if at < since)
        beside = (releases[other][1] for other in new[:number])
        if any(release.is_same_as(known) for known in (*before, *beside)):
            found.append(album_id)
    return found


def _unseen(listed: Iterable[Row], known_ids: frozenset[str]) -> list[Row]:
    unseen: dict[str, Row] = {}
    for album in listed:
        album_id = text_in(album, "album_id")
        if album_id and album_id not in known_ids:
            unseen.setdefault(album_id, album)
    return [unseen[album_id] for album_id in sorted(unseen)]


def _hidden_reason(album: Row) -> str | None:
    if is_tombstone(album):
        return WITHDRAWN
    if not text_in(album, "name"):
        return "unnamed"
    if any(
        artist_id in VARIOUS_ARTISTS_IDS or is_various_artists(name)
        for artist_id, name in artists_in(album)
    ):
        return "various_artists"
    return None


def _row(artist: Row, album: Row, *, recent: bool, hidden_reason: str | None) -> dict[str, object]:
    copied = (
        "album_id",
        "name",
        "album_type",
        "album_group",
        "release_date",
        "spotify_url",
        "image_url",
    )
    return {
        "artist_id": text_in(artist, "artist_id"),
        "artist_name": text_in(artist, "name"),
        **{column: album.get(column) for column in copied},
        "recent": int(recent),
        "hidden_reason": hidden_reason,
    }


@dataclass(frozen=True, slots=True)
class _Release:
    upc: str | None
    recordings: list[Recording]

    @classmethod
    def of(cls, album: Row, tracks: Sequence[Row]) -> "_Release":
        recordings = [Recording.of_spotify(track) for track in tracks]
        return cls(normalise_upc(text_in(album, "upc")), recordings)

    def is_same_as(self, other: "_Release") -> bool:
        return (self.upc is not None and self.upc == other.upc) or self._has_same_tracks(other)

    def _has_same_tracks(self, other: "_Release") -> bool:
        if len(self.recordings) != len(other.recordings) or not self.recordings:
            return False
        others, own = Recordings(other.recordings), Recordings(self.recordings)
        return all(recording in others for recording in self.recordings) and all(
            recording in own for recording in other.recordings
        )
