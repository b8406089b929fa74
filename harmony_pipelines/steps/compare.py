"""Compare the library with the catalogue: snapshot, matches, and what is missing."""

import json
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.beets_library import BeetsLibrary
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.watchlist import read_decisions
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.library import shrank
from harmony_pipelines.domain.matching import AlbumMatch, CatalogueIndex, match_library
from harmony_pipelines.domain.missing import (
    Library,
    Listings,
    Wanted,
    Wishes,
    missing_from_library,
)
from harmony_pipelines.settings import Settings
from harmony_pipelines.steps.search_albums import searched_albums

_FRONT = [column.name for column in tables.beets_tracks.columns if "front" in column.name]
_NAMED = tables.spotify_albums.c.name.is_not(None)
"""What retention blanked is known no more."""

_SAME_FILE = ("path", "size", "mtime")


@dataclass(frozen=True)
class Snapshot:
    """How large the library is, and what was odd about it."""

    albums: int
    tracks: int
    missing_files: int
    warnings: list[str]


def snapshot(
    library: BeetsLibrary, store: Catalogue, deadline: Deadline, accept_shrink: bool = False
) -> Snapshot:
    """Bring `beets_albums` and `beets_tracks` up to date with the user's library.

    What a file's own tags said of its front cover stays known as long as the file is the same.
    """
    found = library.snapshot(deadline)
    known = {row["beets_item_id"]: row for row in store.table(tables.beets_tracks)}
    if not accept_shrink:
        _refuse_if_shrunk(known.values(), found.tracks)
    tracks = [
        {**track, **_front_of(known.get(track["beets_item_id"]), track)} for track in found.tracks
    ]
    store.replace_all({tables.beets_albums: found.albums, tables.beets_tracks: tracks})
    missing = sum(track["size"] is None for track in tracks)
    return Snapshot(len(found.albums), len(tracks), missing, found.warnings)


def match(store: Catalogue, settings: Settings) -> list[Row]:
    """Bring `album_matches` up to date; returns its rows with the albums' names."""
    index = CatalogueIndex(
        [*store.table(tables.spotify_albums, _NAMED), *searched_albums(store)],
        store.table(tables.spotify_tracks),
        _names(store),
    )
    albums = store.table(tables.beets_albums)
    matches = match_library(
        albums,
        store.table(tables.beets_tracks),
        index,
        read_decisions(settings.decisions_path),
    )
    rows = [found.as_row() for found in matches]
    store.replace(tables.album_matches, rows)
    return [{**album, **row} for album, row in zip(albums, rows, strict=True)]


def missing(store: Catalogue, settings: Settings) -> list[Row]:
    """Bring `missing_from_library` up to date; returns its rows that are not hidden."""
    watched = store.table(tables.watchlist)
    ids = [row["artist_id"] for row in watched]
    listings = Listings(
        artist_names=_names(store),
        albums=store.table(
            tables.spotify_albums, _NAMED, tables.spotify_albums.c.artist_id.in_(ids)
        ),
        tracks=store.table(tables.spotify_tracks, tables.spotify_tracks.c.artist_id.in_(ids)),
    )
    library = Library(
        store.table(tables.beets_albums),
        store.table(tables.beets_tracks),
        [AlbumMatch.of_row(row) for row in store.table(tables.album_matches)],
    )
    wishes = Wishes(
        Wanted(settings.missing),
        {row["artist_id"]: frozenset(json.loads(row["groups"])) for row in watched},
        read_decisions(settings.decisions_path),
    )
    rows = missing_from_library(listings, library, wishes)
    store.replace(tables.missing_from_library, rows)
    return [row for row in rows if row["hidden_reason"] is None]


def reviewed(store: Catalogue) -> list[Row]:
    """The library's albums with the matches that `album_matches` holds of them."""
    albums = {row["beets_album_id"]: row for row in store.table(tables.beets_albums)}
    return [
        {**albums[row["beets_album_id"]], **row}
        for row in store.table(tables.album_matches)
        if row["beets_album_id"] in albums
    ]


def bytes_with_cover(store: Catalogue) -> int:
    """The size of the library's files that are known to have a front cover."""
    tracks = tables.beets_tracks
    size = sa.select(sa.func.sum(tracks.c.size).label("size")).where(tracks.c.has_front == 1)
    return store.rows(size)[0]["size"] or 0


_SHOWN_NEWS = (
    tables.new_releases.c.hidden_reason.is_(None),
    tables.new_releases.c.name.is_not(None),
)


def how_many_news(store: Catalogue) -> int:
    """The number of new releases that are not hidden."""
    return store.count(tables.new_releases, *_SHOWN_NEWS)


def news(store: Catalogue, limit: int) -> list[Row]:
    """The latest new releases that are not hidden."""
    table = tables.new_releases
    return store.rows(
        sa.select(table)
        .where(*_SHOWN_NEWS)
        .order_by(table.c.first_seen_at.desc(), table.c.release_date.desc(), table.c.album_id)
        .limit(limit)
    )


def _names(store: Catalogue) -> dict[str, str]:
    return {row["artist_id"]: row["name"] or "" for row in store.table(tables.spotify_artists)}


def _front_of(known: Row | None, track: Row) -> Row:
    same = known is not None and all(known[name] == track[name] for name in _SAME_FILE)
    return {name: known[name] if same and known else None for name in _FRONT}


def _refuse_if_shrunk(known: Any, found: list[Row]) -> None:
    before = sum(row["size"] is not None for row in known)
    now = sum(row["size"] is not None for row in found)
    if shrank(before, now):
        raise HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.LIBRARY_SHRANK,
            f"The library has {now} files where the last snapshot had {before}. Is a disk or "
            "share missing? Nothing was changed. If it is right, run embed_artwork once with "
            "accept_shrink.",
            before=before,
            now=now,
        )
