"""What must hold of whole tables: each rule is a statement that finds the rows that break it.

Each function is the check of the same name in `ops/soundness.py`.
"""

import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.beets_config import find_config
from harmony_pipelines.clients.catalogue import Catalogue, Row, utc_text
from harmony_pipelines.clients.quota import ISRCS, QuotaLimits, calls_beyond_budget
from harmony_pipelines.domain.cadence import LONGEST
from harmony_pipelines.domain.paths import path_text
from harmony_pipelines.domain.undo import EMBEDDED, RESTORED
from harmony_pipelines.settings import Settings
from harmony_pipelines.steps.search_albums import searched_albums

SHOWN = 50

_GRACE = timedelta(days=2)
"""How long after it was due an artist counts as overdue: a night without the machine is none."""

_ISRC = "^[A-Z]{2}[A-Z0-9]{3}[0-9]{7}$"
_UPC = "^[0-9]{8,14}$"
_YEAR = "^[0-9]{4}"
_MONTH = f"{_YEAR}-(0[1-9]|1[0-2])"
_DAY = f"{_MONTH}-(0[1-9]|[12][0-9]|3[01])$"


@dataclass(frozen=True)
class World:
    """What a check may look at."""

    store: Catalogue
    settings: Settings
    now: datetime


@dataclass(frozen=True)
class Found:
    """The rows that break a rule: the first of them, and how many there are."""

    rows: list[Row]
    whole: int
    columns: tuple[str, ...]


def last_written(store: Catalogue) -> float:
    """When a refresh last wrote, at the latest; the tables tell seconds, so a second is added."""
    newest = (
        tables.watchlist.c.added_at,
        tables.refresh_state.c.last_attempt_at,
        tables.spotify_artists.c.fetched_at,
        tables.spotify_albums.c.fetched_at,
    )
    latest = sa.union_all(*(sa.select(sa.func.max(each).label("at")) for each in newest))
    rows = store.rows(sa.select(latest.subquery().c.at))
    moments = [datetime.fromisoformat(row["at"]) for row in rows if row["at"]]
    return max(moments).timestamp() + 1 if moments else 0.0


def every_partition_is_one_artist(world: World) -> Found:
    """Two artists under one partition key would share their state in the UI."""
    return _repeated(world, tables.watchlist, tables.watchlist.c.partition_key)


def artists_are_stored_once(world: World) -> Found:
    """By id."""
    return _repeated(world, tables.spotify_artists)


def albums_are_stored_once(world: World) -> Found:
    """By artist and id."""
    return _repeated(world, tables.spotify_albums)


def tracks_are_stored_once(world: World) -> Found:
    """By artist and id."""
    return _repeated(world, tables.spotify_tracks)


def releases_are_told_once(world: World) -> Found:
    """By artist and album: what was news never is again."""
    return _repeated(world, tables.new_releases)


def every_album_belongs_to_an_artist(world: World) -> Found:
    """An artist's albums and state are committed together."""
    albums, state = tables.spotify_albums, tables.refresh_state
    found = (
        sa.select(albums.c.artist_id, albums.c.album_id, albums.c.name)
        .outerjoin(state, state.c.artist_id == albums.c.artist_id)
        .where(state.c.artist_id.is_(None))
    )
    return _found(world, found)


def every_track_belongs_to_an_album(world: World) -> Found:
    """A body brings an album and its tracks in one transaction, and retention takes both."""
    albums, stored = tables.spotify_albums, _tracks_of_albums()
    found = (
        sa.select(stored.c.artist_id, stored.c.album_id, stored.c.stored.label("tracks"))
        .select_from(stored)
        .outerjoin(
            albums,
            (albums.c.artist_id == stored.c.artist_id) & (albums.c.album_id == stored.c.album_id),
        )
        .where(albums.c.album_id.is_(None))
    )
    return _found(world, found)


def complete_albums_have_all_their_tracks(world: World) -> Found:
    """Of albums whose body is stored; what Spotify withdrew has none, and is not counted."""
    albums, stored = tables.spotify_albums.c, _tracks_of_albums()
    how_many = sa.func.coalesce(stored.c.stored, 0)
    has_body = (how_many > 0) | albums.upc.is_not(None) | albums.label.is_not(None)
    found = (
        sa.select(
            albums.artist_id,
            albums.album_id,
            albums.name,
            albums.total_tracks,
            how_many.label("stored"),
        )
        .select_from(tables.spotify_albums)
        .outerjoin(
            stored,
            (stored.c.artist_id == albums.artist_id) & (stored.c.album_id == albums.album_id),
        )
        .where(
            albums.fetched_at.is_not(None),
            albums.name.is_not(None),
            albums.removed_at.is_(None),
            albums.total_tracks != how_many,
            has_body,
        )
    )
    return _found(world, found)


def isrcs_have_their_shape(world: World) -> Found:
    """Country, registrant, year and number, as ISO 3901 has them; empty is: Spotify knows none."""
    track = tables.spotify_tracks.c
    return _found(
        world,
        sa.select(track.artist_id, track.track_id, track.name, track.isrc).where(
            track.isrc != "", ~track.isrc.regexp_match(_ISRC)
        ),
    )


def upcs_have_their_shape(world: World) -> Found:
    """8 to 14 digits: UPC, EAN or GTIN."""
    album = tables.spotify_albums.c
    return _found(
        world,
        sa.select(album.artist_id, album.album_id, album.name, album.upc).where(
            album.upc != "", ~album.upc.regexp_match(_UPC)
        ),
    )


def release_dates_parse_by_their_precision(world: World) -> Found:
    """Year, month or day, as the precision says; `0000` is what Spotify leaves of some albums."""
    album = tables.spotify_albums.c
    date = sa.func.coalesce(album.release_date, "")
    parses = sa.case(
        (album.release_date_precision == "year", date.regexp_match(_YEAR)),
        (album.release_date_precision == "month", date.regexp_match(_MONTH)),
        (album.release_date_precision == "day", date.regexp_match(_DAY)),
        else_=sa.false(),
    )
    return _found(
        world,
        sa.select(
            album.artist_id,
            album.album_id,
            album.name,
            album.release_date,
            album.release_date_precision,
        ).where(
            album.name != "",  # what retention blanked, and the shells of what was withdrawn
            album.removed_at.is_(None),
            sa.not_(parses) | date.startswith("0000"),
        ),
    )


def listings_are_as_fresh_as_their_cadence(world: World) -> Found:
    """Of artists that were listed before: those of the first fill wait for the budget, in turn."""
    watched, state = tables.watchlist, tables.refresh_state.c
    overdue = state.next_due_at < utc_text(world.now - _GRACE)
    old = state.last_complete_at < utc_text(world.now - LONGEST - _GRACE)
    found = (
        sa.select(
            watched.c.name.label("artist"), state.status, state.last_complete_at, state.next_due_at
        )
        .join(tables.refresh_state, state.artist_id == watched.c.artist_id)
        .where(
            watched.c.paused == 0,
            state.status != "gone",
            state.last_complete_at.is_not(None),
            overdue | old,
        )
        .order_by(state.last_complete_at)
    )
    return _found(world, found)


def every_match_names_a_known_album(world: World) -> Found:
    """Of the catalogue or of a search on Spotify's side, of the library on the other."""
    match, library = tables.album_matches.c, tables.beets_albums.c
    known = sa.select(tables.spotify_albums.c.album_id)
    strange = world.store.rows(
        sa.select(
            match.beets_album_id,
            match.album_id,
            match.verdict,
            match.decided_by,
            library.beets_album_id.is_(None).label("is_gone"),
        )
        .select_from(tables.album_matches)
        .outerjoin(tables.beets_albums, library.beets_album_id == match.beets_album_id)
        .where(
            (match.album_id.is_not(None) & match.album_id.not_in(known))
            | library.beets_album_id.is_(None)
        )
    )
    searched = {str(row["album_id"]) for row in searched_albums(world.store)}
    rows = [row for row in strange if row["is_gone"] or row["album_id"] not in searched]
    columns = ("beets_album_id", "album_id", "verdict", "decided_by")
    return Found(rows[:SHOWN], len(rows), columns)


def nothing_outside_the_library_was_touched(world: World) -> Found:
    """Every file of which a run says that it changed it lies in one of the library's folders."""
    done, covers = tables.artwork_results.c, tables.cover_files.c
    touched = sa.union_all(
        sa.select(done.run_id, done.path, done.status).where(done.status.in_([EMBEDDED, RESTORED])),
        sa.select(covers.run_id, covers.path, sa.literal("cover file").label("status")).where(
            covers.path.is_not(None)
        ),
    ).subquery()
    outside = [
        sa.func.substr(touched.c.path, 1, len(root)) != root for root in _roots(world.settings)
    ]
    return _found(world, sa.select(touched).where(*outside).order_by(touched.c.path))


def no_daily_budget_was_exceeded(world: World) -> Found:
    """The calls of 24 hours, by family, against the budget that the last of them was within."""
    settings = world.settings
    limits = QuotaLimits(
        daily_requests=settings.spotify_daily_requests,
        by_family={ISRCS: settings.spotify_isrc_daily_requests},
    )
    rows = calls_beyond_budget(world.store.engine, limits, world.now.timestamp())
    return Found(rows, len(rows), ("family", "requests", "budget"))


def _found(world: World, statement: sa.Select[*tuple[Any, ...]]) -> Found:
    rows = world.store.rows(statement.limit(SHOWN))
    whole = len(rows)
    if whole == SHOWN:
        counted = sa.select(sa.func.count().label("n")).select_from(statement.subquery())
        whole = world.store.rows(counted)[0]["n"]
    return Found(rows, whole, tuple(column.name for column in statement.selected_columns))


def _repeated(world: World, table: sa.Table, *key: sa.Column[Any]) -> Found:
    columns = key or tuple(table.primary_key)
    times = sa.func.count().label("times")
    return _found(world, sa.select(*columns, times).group_by(*columns).having(times > 1))


def _tracks_of_albums() -> sa.Subquery:
    track = tables.spotify_tracks.c
    counted = sa.select(track.artist_id, track.album_id, sa.func.count().label("stored"))
    return counted.group_by(track.artist_id, track.album_id).subquery()


def _roots(settings: Settings) -> list[str]:
    """The library's folders as the tables have paths, also those of the machine it is from."""
    library = find_config(
        settings.beets_library,
        settings.music_directory,
        settings.path_map,
        settings.beets_dir,
    )
    folders = [library.music_directory, *(each for pair in library.path_map for each in pair)]
    return [f"{path_text(os.fsencode(folder)).rstrip('/')}/" for folder in folders]
