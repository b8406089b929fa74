"""What is still to be read of the albums that listings told of: bodies first, then ISRCs.

Both are queues that any run works off, in the order of spending, whether a listing is due or not.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache, cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harmony_pipelines.clients.catalogue import Catalogue, has_come, of_artist, utc_text
from harmony_pipelines.clients.database import Row, change, reading, selected, upsert
from harmony_pipelines.clients.spotify import BodiesRead
from harmony_pipelines.clients.tables import (
    album_matches,
    new_releases,
    refresh_state,
    spotify_albums,
    spotify_tracks,
    watchlist,
)
from harmony_pipelines.domain import cadence, releases
from harmony_pipelines.domain.discography import is_tombstone
from harmony_pipelines.domain.errors import HarmonyError

_ROWS_A_PAGE = 1000

_BODY = (
    spotify_albums.c.artist_id,
    spotify_albums.c.album_id,
    spotify_albums.c.album_group,
    spotify_albums.c.total_tracks,
    sa.func.coalesce(spotify_albums.c.release_date, "").label("release_date"),
)
_NEWEST = (_BODY[-1], spotify_albums.c.artist_id, spotify_albums.c.album_id)


class Backlog:
    """The bodies and ISRCs that wait at a moment, of all watched artists or of some.

    Those who are paused have none, unless they are among the `artists` that are asked about.
    """

    def __init__(self, catalogue: Catalogue, now: datetime, artists: Collection[str] = ()) -> None:
        self._catalogue = catalogue
        self._now = utc_text(now)
        self._artists = sorted(artists)
        self._is_due = has_come(spotify_albums.c.body_due_at, now, 2 * cadence.BODY_LASTS)

    def bodies(self) -> Iterator[Row]:
        """The albums whose body waits: of new releases, of candidates for the library, the newest.

        One may come twice.
        """
        news = sa.select(new_releases.c.album_id).where(
            new_releases.c.artist_id == spotify_albums.c.artist_id,
            new_releases.c.album_id == spotify_albums.c.album_id,
            new_releases.c.hidden_reason.is_(None),
        )
        never = spotify_albums.c.fetched_at.is_(None)
        yield from self._pages(self._waiting(*_BODY).where(never, news.exists()), _NEWEST)
        candidates = _candidates(self._catalogue)
        if candidates:
            yield from self._among(candidates, self._waiting(*_BODY).where(never))
        yield from self._pages(self._waiting(*_BODY), _NEWEST)

    def bodies_of(self, artist_id: str) -> list[Row]:
        """The albums of one artist whose body waits, the newest first."""
        return self._catalogue.rows(self._of_artist, {"artist": artist_id})

    @cached_property
    def _of_artist(self) -> sa.Select[*tuple[Any, ...]]:
        of_artist = spotify_albums.c.artist_id == sa.bindparam("artist")
        newest = [column.desc() for column in _NEWEST]
        return self._waiting(*_BODY).where(of_artist).order_by(*newest)

    def waits(self, album: Row) -> bool:
        """Whether no other run has read the album's body meanwhile."""
        key = {"artist": album["artist_id"], "album": album["album_id"]}
        return bool(self._catalogue.rows(self._still_due, key))

    @cached_property
    def _still_due(self) -> sa.Select[*tuple[Any, ...]]:
        albums = of_artist(spotify_albums).with_only_columns(spotify_albums.c.album_id)
        return albums.where(spotify_albums.c.album_id == sa.bindparam("album"), self._is_due)

    def how_many_bodies(self) -> dict[str, int]:
        """How many bodies wait, by artist."""
        count = self._waiting(spotify_albums.c.artist_id, sa.func.count().label("n"))
        rows = self._catalogue.rows(count.group_by(spotify_albums.c.artist_id))
        return {row["artist_id"]: row["n"] for row in rows}

    def is_body_waiting(self) -> bool:
        """Whether any body waits."""
        return bool(self._catalogue.rows(self._waiting(sa.literal(1).label("one")).limit(1)))

    def tracks(self) -> Iterator[Row]:
        """The tracks whose ISRC was never asked for, those of the newest albums first."""
        columns = (
            spotify_tracks.c.artist_id,
            spotify_tracks.c.track_id,
            spotify_tracks.c.artists,
            _BODY[-1],
        )
        return self._pages(
            self._without_isrc(*columns),
            (_BODY[-1], spotify_tracks.c.artist_id, spotify_tracks.c.track_id),
        )

    def how_many_tracks(self) -> int:
        """How many tracks have no ISRC that were never asked for it."""
        return self._catalogue.rows(self._without_isrc(sa.func.count().label("n")))[0]["n"]

    def is_track_waiting(self) -> bool:
        """Whether any track's ISRC was never asked for."""
        return bool(self._catalogue.rows(self._without_isrc(sa.literal(1).label("one")).limit(1)))

    def _waiting(self, *columns: Any) -> sa.Select[*tuple[Any, ...]]:
        """Bodies that are due, of followed groups; not of who is put off by a failure."""
        return self._watched(sa.select(*columns).select_from(spotify_albums).where(self._is_due))

    def _without_isrc(self, *columns: Any) -> sa.Select[*tuple[Any, ...]]:
        joined = spotify_tracks.join(
            spotify_albums,
            (spotify_albums.c.artist_id == spotify_tracks.c.artist_id)
            & (spotify_albums.c.album_id == spotify_tracks.c.album_id),
        )
        return self._watched(
            sa.select(*columns).select_from(joined).where(spotify_tracks.c.isrc.is_(None))
        )

    def _watched(self, statement: sa.Select[*tuple[Any, ...]]) -> sa.Select[*tuple[Any, ...]]:
        followed = watchlist.c.groups.like('%"' + spotify_albums.c.album_group + '"%')
        is_in_order = refresh_state.c.status.in_(["complete", "deferred"])
        statement = statement.join(
            watchlist, watchlist.c.artist_id == spotify_albums.c.artist_id
        ).join(refresh_state, refresh_state.c.artist_id == spotify_albums.c.artist_id)
        whose = (
            spotify_albums.c.artist_id.in_(self._artists)
            if self._artists
            else watchlist.c.paused == 0
        )
        return statement.where(
            whose,
            spotify_albums.c.removed_at.is_(None),
            followed,
            is_in_order | (refresh_state.c.next_due_at <= self._now),
        )

    def _among(
        self, album_ids: Collection[str], statement: sa.Select[*tuple[Any, ...]]
    ) -> list[Row]:
        """The rows of these albums, the newest first; read one by one, as no index finds them."""
        with reading(self._catalogue.engine) as connection:
            rows = [
                dict(row)
                for row in connection.execute(statement).mappings()
                if row["album_id"] in album_ids
            ]
        return sorted(rows, key=lambda row: (row["release_date"], row["album_id"]), reverse=True)

    def _pages(self, statement: sa.Select[*tuple[Any, ...]], key: Sequence[Any]) -> Iterator[Row]:
        """The rows from the highest key down, a few at a time: the queue may be long."""
        names = [column.name for column in key]
        statement = statement.order_by(*(column.desc() for column in key)).limit(_ROWS_A_PAGE)
        page = self._catalogue.rows(statement)
        while page:
            yield from page
            last = tuple(page[-1][name] for name in names)
            after = sa.tuple_(*key) < sa.tuple_(*map(sa.literal, last))
            is_full = len(page) == _ROWS_A_PAGE
            page = self._catalogue.rows(statement.where(after)) if is_full else []


def _candidates(catalogue: Catalogue) -> frozenset[str]:
    """The Spotify albums that the last comparison found to be like an album of the library."""
    rows = catalogue.rows(
        sa.select(album_matches.c.album_id, album_matches.c.candidates).where(
            album_matches.c.candidates != "[]"
        )
    )
    listed = (each["album_id"] for row in rows for each in json.loads(row["candidates"] or "[]"))
    return frozenset(listed) | {row["album_id"] for row in rows if row["album_id"]}


def save_bodies(catalogue: Catalogue, read: BodiesRead, requests: int, now: datetime) -> None:
    """Commit the bodies of an artist's albums: albums, tracks and state, or nothing of it."""
    with catalogue.writing() as connection:
        _Writer(connection, read.artist_id, now).save(read, requests)


def save_isrcs(catalogue: Catalogue, found: Mapping[str, str], rows: Sequence[Row]) -> None:
    """Commit the ISRCs of tracks by id, also for the other watched artists that play on them.

    `rows` are those of `Backlog.tracks`; an empty ISRC says that there is none.
    """
    with catalogue.writing() as connection:
        for row in rows:
            if row["track_id"] in found:
                credited = {each.get("id") for each in json.loads(row["artists"] or "[]")}
                connection.execute(
                    sa.update(spotify_tracks)
                    .where(
                        spotify_tracks.c.artist_id.in_({row["artist_id"], *credited} - {None}),
                        spotify_tracks.c.track_id == row["track_id"],
                    )
                    .values(isrc=found[row["track_id"]])
                )


def put_off(catalogue: Catalogue, error: HarmonyError, artists: Collection[str] = ()) -> None:
    """Say of all artists whose bodies wait, or of some, what they wait for."""
    of_some = (refresh_state.c.artist_id.in_(sorted(artists)),) if artists else ()
    with catalogue.writing() as connection:
        connection.execute(
            sa.update(refresh_state)
            .where(
                refresh_state.c.status == "deferred", refresh_state.c.bodies_pending > 0, *of_some
            )
            .values(code=str(error.code), reason=str(error.reason), message=error.message)
        )


def save_body_failure(
    catalogue: Catalogue, artist_id: str, error: HarmonyError, now: datetime
) -> None:
    """Commit that bodies of an artist could not be read: it is tried again before it is due."""
    of_artist = refresh_state.c.artist_id == artist_id
    with catalogue.writing() as connection:
        state = connection.execute(sa.select(refresh_state).where(of_artist)).mappings().one()
        attempts = state["attempts"] + 1
        retry = utc_text(cadence.next_retry(artist_id, attempts, now))
        connection.execute(
            sa.update(refresh_state)
            .where(of_artist)
            .values(
                status="partial",
                code=str(error.code),
                reason=str(error.reason),
                message=error.message,
                attempts=attempts,
                next_due_at=min(state["next_due_at"] or retry, retry),
            )
        )


_SHOWN_NEWS = of_artist(new_releases).where(new_releases.c.hidden_reason.is_(None))
_UNREAD = (
    of_artist(spotify_albums)
    .with_only_columns(spotify_albums.c.album_group)
    .where(spotify_albums.c.removed_at.is_(None), spotify_albums.c.fetched_at.is_(None))
)


_STATE_OF = sa.update(refresh_state).where(refresh_state.c.artist_id == sa.bindparam("artist"))


@cache
def _tracks_of(albums: int) -> tuple[sa.Select[*tuple[Any, ...]], sa.Delete]:
    """The statements that select and that delete the tracks of so many albums of an artist."""
    columns = spotify_tracks.c
    of_these = (
        columns.artist_id == sa.bindparam("artist"),
        columns.album_id.in_([sa.bindparam(f"album_{number}") for number in range(albums)]),
    )
    known = sa.select(columns.track_id, columns.isrc).where(*of_these)
    return known, sa.delete(spotify_tracks).where(*of_these)


class _Writer:
    """The statements of one transaction over bodies of one artist."""

    def __init__(self, connection: Connection, artist_id: str, now: datetime) -> None:
        self._connection = connection
        self._artist_id = artist_id
        self._now = now

    def save(self, read: BodiesRead, requests: int) -> None:
        self._save_albums(read)
        self._save_tracks(read)
        self._hide_what_is_not_new()
        self._save_state(requests)

    def _save_albums(self, read: BodiesRead) -> None:
        now = utc_text(self._now)
        rows = [
            {
                **body.album,
                "first_seen_at": now,
                "last_seen_at": now,
                "fetched_at": now,
                "body_due_at": self._due(body.album),
            }
            for body in read.bodies.values()
        ]
        told = [name for name in rows[0] if not name.endswith("_seen_at")] if rows else []
        upsert(self._connection, spotify_albums, rows, update=told)
        if read.gone:
            gone = spotify_albums.c.album_id.in_(sorted(read.gone))
            self._connection.execute(
                sa.update(spotify_albums)
                .where(spotify_albums.c.artist_id == self._artist_id, gone)
                .values(fetched_at=now, body_due_at=self._due({}))
            )

    def _due(self, album: Mapping[str, Any]) -> str:
        released = releases.ReleaseDate.of_row(album).earliest
        return utc_text(cadence.next_body_due(released, self._now))

    def _save_tracks(self, read: BodiesRead) -> None:
        """The tracks of the bodies instead of those that were stored; an ISRC once known stays."""
        known, gone = _tracks_of(len(read.bodies))
        ids = {f"album_{number}": album_id for number, album_id in enumerate(read.bodies)}
        stored = self._selected(known, **ids)
        isrcs = {row["track_id"]: row["isrc"] for row in stored}
        if stored:
            change(self._connection, gone, {"artist": self._artist_id, **ids})
        rows = [
            {**track, "isrc": track["isrc"] or isrcs.get(str(track["track_id"]))}
            for body in read.bodies.values()
            for track in body.tracks
        ]
        upsert(self._connection, spotify_tracks, rows)

    def _hide_what_is_not_new(self) -> None:
        """Hide new releases that bodies show to be re-issues or empty shells."""
        news = self._selected(_SHOWN_NEWS)
        if not news:
            return
        albums = self._selected(of_artist(spotify_albums))
        ids = {row["album_id"] for row in news}
        withdrawn = [
            row["album_id"] for row in albums if row["album_id"] in ids and is_tombstone(row)
        ]
        known_otherwise = releases.reissues(news, albums, self._selected(of_artist(spotify_tracks)))
        self._hide(withdrawn, releases.WITHDRAWN)
        self._hide(known_otherwise, releases.REISSUE)

    def _hide(self, album_ids: Collection[str], reason: str) -> None:
        if album_ids:
            self._connection.execute(
                sa.update(new_releases)
                .where(
                    new_releases.c.artist_id == self._artist_id,
                    new_releases.c.album_id.in_(sorted(album_ids)),
                    new_releases.c.hidden_reason.is_(None),
                )
                .values(hidden_reason=reason)
            )

    def _save_state(self, requests: int) -> None:
        """What still waits; an artist of whom nothing does is complete, if nothing failed."""
        [state] = self._selected(of_artist(refresh_state))
        groups = json.loads(state["groups"] or "[]")
        pending = sum(row["album_group"] in groups for row in self._selected(_UNREAD))
        changes: dict[str, Any] = {
            "bodies_pending": pending,
            "requests": state["requests"] + requests,
            "materialised_at": None,
        }
        is_whole = state["last_complete_at"] == state["last_attempt_at"]
        if state["status"] == "deferred" and pending == 0 and is_whole:
            changes |= {
                "status": "complete",
                "code": None,
                "reason": None,
                "message": None,
                "attempts": 0,
            }
        change(self._connection, _STATE_OF, {"artist": self._artist_id, **changes})

    def _selected(self, statement: sa.Select[*tuple[Any, ...]], **more: str) -> list[Row]:
        return selected(self._connection, statement, {"artist": self._artist_id, **more})
