"""Compare the library with the catalogue: snapshot, matches, and what is missing."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any

import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.beets_library import BeetsLibrary
from harmony_pipelines.clients.catalogue import Catalogue, Row, chunks, rows_of
from harmony_pipelines.clients.collector import collected_rarely
from harmony_pipelines.clients.spool import spool
from harmony_pipelines.clients.watchlist import read_decisions
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.identifiers import normalise_isrc
from harmony_pipelines.domain.library import shrank
from harmony_pipelines.domain.matching import (
    AlbumMatch,
    CatalogueIndex,
    SpotifyAlbum,
    comparable,
    match_library,
)
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
_ALBUMS_AT_ONCE, _ARTISTS_AT_ONCE, _ARTISTS_A_QUERY = 200, 50, 20

_TITLED = ("artist_id", "album_id", "name", "artists", "album_group", "upc")
_COMPARED = (*_TITLED, "release_date", "release_date_precision", "total_tracks", "removed_at")
_LISTED = (*_COMPARED, "album_type", "spotify_url")
_RECORDED = ("track_id", "album_id", "name", "disc_number", "track_number", "duration_ms", "isrc")
_TOLD_TRACK = (*_RECORDED, "spotify_url")
"""Of large tables only what is looked at is read."""


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


@collected_rarely()
def match(store: Catalogue, settings: Settings) -> list[Row]:
    """Bring `album_matches` up to date; returns its rows with the albums' names."""
    names, searched = _names(store), searched_albums(store)
    decisions = read_decisions(settings.decisions_path)
    listed = store.each(rows_of(tables.spotify_albums, _NAMED, columns=_TITLED))
    index = CatalogueIndex(chain(listed, searched), _with_isrcs_of_library(store), names)

    def bodies(album_ids: set[str]) -> dict[str, SpotifyAlbum]:
        stored = [(artist, each) for each in album_ids for artist in index.artists_of(each)]
        albums = _of_albums(store, tables.spotify_albums, stored, _COMPARED, _NAMED)
        found = (row for row in searched if row["album_id"] in album_ids)
        tracks = _of_albums(store, tables.spotify_tracks, stored, _RECORDED)
        return comparable(chain(albums, found), tracks, names)

    rows: list[Row] = []
    for albums in chunks(store.each(rows_of(tables.beets_albums)), _ALBUMS_AT_ONCE):
        ids = [album["beets_album_id"] for album in albums]
        tracks = store.table(tables.beets_tracks, tables.beets_tracks.c.beets_album_id.in_(ids))
        found = match_library(albums, tracks, index, bodies, decisions)
        rows += [{**each.as_row(), **album} for album, each in zip(albums, found, strict=True)]
    columns = tables.album_matches.c.keys()
    store.replace(tables.album_matches, ({name: row[name] for name in columns} for row in rows))
    return rows


@dataclass(frozen=True)
class Missing:
    """How many albums, and tracks of albums that are there, are missing; the first albums."""

    albums: int
    tracks: int
    first: list[Row]


@collected_rarely()
def missing(store: Catalogue, settings: Settings, shown: int) -> Missing:
    """Bring `missing_from_library` up to date, some artists at a time; hidden rows do not count."""
    followed = {
        row["artist_id"]: frozenset[str](json.loads(row["groups"]))
        for row in store.each(rows_of(tables.watchlist))
    }
    names, also_by = _names(store), _stored_twice(store, followed)
    library = Library(
        store.each(rows_of(tables.beets_albums)),
        store.each(rows_of(tables.beets_tracks)),
        map(AlbumMatch.of_row, store.each(rows_of(tables.album_matches))),
    )
    wishes = Wishes(Wanted(settings.missing), followed, read_decisions(settings.decisions_path))
    counts, first = Counter[str](), list[Row]()
    with spool(settings.home) as found:
        for artists in chunks(followed, _ARTISTS_AT_ONCE):
            of_them = tables.spotify_albums.c.artist_id.in_(artists)
            albums = store.rows(rows_of(tables.spotify_albums, _NAMED, of_them, columns=_LISTED))
            tracks = partial(_tracks_by_any, store, albums, also_by)
            rows = missing_from_library(Listings(names, albums, tracks), library, wishes)
            found.add(rows)
            told = [row for row in rows if row["hidden_reason"] is None]
            whole = [row for row in told if not row["track_id"]]
            counts.update(albums=len(whole), tracks=len(told) - len(whole))
            first += whole[: shown - len(first)]
        store.replace(tables.missing_from_library, found)
    return Missing(counts["albums"], counts["tracks"], first)


def _with_isrcs_of_library(store: Catalogue) -> Iterator[Row]:
    """The catalogue's tracks whose ISRC the library has, each as its album's id and its ISRC."""
    own, track = tables.beets_tracks.c.isrc, tables.spotify_tracks.c
    known = {
        normalise_isrc(row["isrc"]) for row in store.each(sa.select(own).where(own.is_not(None)))
    } - {None}
    if known:
        for row in store.each(sa.select(track.album_id, track.isrc).where(track.isrc != "")):
            if normalise_isrc(row["isrc"]) in known:
                yield row


def _of_albums(
    store: Catalogue,
    table: sa.Table,
    stored: Iterable[tuple[str, str]],
    columns: Collection[str],
    *where: sa.ColumnElement[bool],
) -> Iterator[Row]:
    """Columns of the rows of the albums, of each under every artist that it is stored under.

    Asked for some artists at a time: the database looks up each of them with each of the albums.
    """
    albums_of: defaultdict[str, list[str]] = defaultdict(list)
    for artist, album in sorted(stored):
        albums_of[artist].append(album)
    for artists in chunks(albums_of, _ARTISTS_A_QUERY):
        albums = {album for artist in artists for album in albums_of[artist]}
        theirs = table.c.artist_id.in_(artists), table.c.album_id.in_(albums)
        yield from store.rows(rows_of(table, *theirs, *where, columns=columns))


def _tracks_by_any(
    store: Catalogue,
    albums: Collection[Row],
    also_by: Mapping[str, set[str]],
    album_ids: Collection[str],
) -> Iterator[Row]:
    """The tracks of these of the albums, also those stored under another artist on the album."""
    listed = {(row["artist_id"], row["album_id"]) for row in albums if row["album_id"] in album_ids}
    others = {(artist, each) for each in album_ids for artist in also_by.get(each, ())}
    return _of_albums(store, tables.spotify_tracks, listed | others, _TOLD_TRACK)


def _stored_twice(store: Catalogue, watched: Collection[str]) -> dict[str, set[str]]:
    """The artists of each album that is stored under several of the watched ones."""
    albums = tables.spotify_albums.c
    several = sa.select(albums.album_id).group_by(albums.album_id).having(sa.func.count() > 1)
    found: defaultdict[str, set[str]] = defaultdict(set)
    rows = sa.select(albums.album_id, albums.artist_id).where(albums.album_id.in_(several))
    for row in store.each(rows):
        if row["artist_id"] in watched:
            found[row["album_id"]].add(row["artist_id"])
    return found


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
    return int(store.rows(size)[0]["size"] or 0)  # PostgreSQL sums bigints as decimals


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
