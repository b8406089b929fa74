"""Forget what Spotify's terms do not let anyone keep for ever; what the user knows of it stays."""

import json
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, utc_text
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.discography import BODY_COLUMNS

_ARTIST_KEPT = {"artist_id"}
_ALBUM_KEPT = {"artist_id", "album_id", "album_group", "first_seen_at", "last_seen_at"}
_ALBUM_KEPT |= {"removed_at"}
_NEWS_KEPT = {"artist_id", "album_id", "first_seen_at", "run_id", "hidden_reason", "recent"}


@dataclass
class Forgotten:
    """How much was forgotten."""

    artists: int = 0
    albums: int = 0
    bodies: int = 0
    new_releases: int = 0
    searches: int = 0
    covers: int = 0


def forget_spotify_content(
    store: Catalogue, covers: ContentStore, before: datetime, deadline: Deadline
) -> Forgotten:
    """Blank what was not refreshed since `before`: artist by artist, each a transaction.

    Ids that were seen, when, and in which group stay, so that nothing old is ever news again; what
    was asked for anew is filled in again by the next refresh.
    """
    done, limit = Forgotten(), utc_text(before)
    for artist_id in _artists_with_old_content(store, limit):
        deadline.check()
        with store.writing() as connection:
            _Forgetting(connection, artist_id, limit, done).forget()
    with store.writing() as connection:
        _forget_searches(connection, limit, done)
    done.covers = covers.forget(before.timestamp())
    return done


def _artists_with_old_content(store: Catalogue, limit: str) -> list[str]:
    artists, albums, news = tables.spotify_artists, tables.spotify_albums, tables.new_releases
    old = sa.union(
        sa.select(artists.c.artist_id).where(artists.c.fetched_at < limit),
        sa.select(albums.c.artist_id).where(
            (albums.c.fetched_at < limit)
            | ((albums.c.last_seen_at < limit) & albums.c.name.is_not(None))
        ),
        sa.select(news.c.artist_id).where(news.c.first_seen_at < limit, news.c.name.is_not(None)),
    ).subquery()
    return [row["artist_id"] for row in store.rows(sa.select(old.c.artist_id))]


class _Forgetting:
    """The statements of one artist's transaction."""

    def __init__(self, connection: Connection, artist_id: str, limit: str, done: Forgotten) -> None:
        self._connection = connection
        self._artist_id = artist_id
        self._limit = limit
        self._done = done

    def forget(self) -> None:
        artists, albums, news = tables.spotify_artists, tables.spotify_albums, tables.new_releases
        self._done.artists += self._blank(
            artists, _all_but(artists, _ARTIST_KEPT), artists.c.fetched_at < self._limit
        )
        self._done.bodies += self._blank(
            albums,
            ["fetched_at", *BODY_COLUMNS],
            albums.c.fetched_at < self._limit,
            body_due_at=self._limit,  # to be read again, if it is still listed
        )
        self._done.albums += self._blank(
            albums,
            _all_but(albums, _ALBUM_KEPT),
            albums.c.last_seen_at < self._limit,
            albums.c.fetched_at.is_(None),
            albums.c.name.is_not(None),
        )
        self._done.new_releases += self._blank(
            news,
            _all_but(news, _NEWS_KEPT),
            news.c.first_seen_at < self._limit,
            news.c.name.is_not(None),
        )
        self._forget_tracks()
        self._forget_what_was_told_of_it()

    def _blank(
        self,
        table: sa.Table,
        columns: list[str],
        *where: sa.ColumnElement[bool],
        **instead: str,
    ) -> int:
        return self._connection.execute(
            sa.update(table)
            .where(table.c.artist_id == self._artist_id, *where)
            .values({**dict.fromkeys(columns), **instead})
        ).rowcount

    def _forget_tracks(self) -> None:
        """Tracks live and go with the body of their album."""
        tracks, albums = tables.spotify_tracks, tables.spotify_albums
        without_body = sa.select(albums.c.album_id).where(
            albums.c.artist_id == self._artist_id, albums.c.fetched_at.is_(None)
        )
        self._connection.execute(
            sa.delete(tracks).where(
                tracks.c.artist_id == self._artist_id, tracks.c.album_id.in_(without_body)
            )
        )

    def _forget_what_was_told_of_it(self) -> None:
        missing, albums = tables.missing_from_library, tables.spotify_albums
        nameless = sa.select(albums.c.album_id).where(
            albums.c.artist_id == self._artist_id, albums.c.name.is_(None)
        )
        self._connection.execute(
            sa.delete(missing).where(
                missing.c.artist_id == self._artist_id, missing.c.album_id.in_(nameless)
            )
        )
        gone = set(self._connection.execute(nameless).scalars())
        if gone:
            self._forget_candidates(gone)

    def _forget_candidates(self, gone: set[str]) -> None:
        matches = tables.album_matches
        found = self._connection.execute(
            sa.select(matches.c.beets_album_id, matches.c.candidates).where(
                matches.c.candidates != "[]"
            )
        ).all()
        for beets_album_id, text in found:
            candidates = json.loads(text or "[]")
            old = [each for each in candidates if each["album_id"] in gone]
            if not any(each["name"] for each in old):
                continue
            for each in old:
                each |= {"name": "", "release_date": ""}
            self._connection.execute(
                sa.update(matches)
                .where(matches.c.beets_album_id == beets_album_id)
                .values(candidates=json.dumps(candidates, ensure_ascii=False))
            )


def _forget_searches(connection: Connection, limit: str, done: Forgotten) -> None:
    """Searches and open questions are asked again when they matter again."""
    searches, review = tables.album_searches, tables.watchlist_review
    done.searches += connection.execute(
        sa.delete(searches).where(searches.c.searched_at < limit)
    ).rowcount
    asked_at = sa.func.coalesce(review.c.checked_at, review.c.first_seen_at)
    done.searches += connection.execute(sa.delete(review).where(asked_at < limit)).rowcount


def _all_but(table: sa.Table, kept: set[str]) -> list[str]:
    return [column.name for column in table.columns if column.name not in kept]
