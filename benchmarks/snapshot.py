"""Reading the user's library."""

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from benchmarks.bench import Bench
from benchmarks.data import make_beets_database
from benchmarks.measure import in_process, in_turn
from benchmarks.table import Row, at_most

TRACKS_AN_ALBUM = 10
ALBUM_COLUMNS = (
    "albumartist, album, year, original_year, comp, mb_albumartistid, mb_albumid, "
    "mb_releasegroupid, barcode, artpath"
)
ITEM_COLUMNS = "album_id, path, title, artist, disc, track, length, isrc"
SPOTIFY_ID = "spotify_album_id"
"""Neither table has a column for it: beets keeps it among the attributes."""


def rows(bench: Bench) -> Iterator[Row]:
    """A snapshot, with every file looked at, against the same rows by plain SQL."""
    tracks = bench.size(50_000, 5000)
    library = _library(bench.place("snapshot"), tracks)
    figures = in_turn(
        bench.times,
        lambda: in_process(snapshot, database=str(library))["seconds"],
        lambda: in_process(plain_sql, database=str(library))["seconds"],
    )
    yield at_most(
        f"library snapshot, {tracks:,} tracks", "reading the same rows with plain SQL",
        figures, 2.0, times=bench.times,
    )  # fmt: skip


def _library(folder: Path, tracks: int) -> Path:
    database, music = folder / "library.db", folder / "music"
    make_beets_database(database)
    albums: list[tuple[Any, ...]] = []
    items: list[tuple[Any, ...]] = []
    for number in range(tracks):
        album, track = divmod(number, TRACKS_AN_ALBUM)
        place = music / f"Artist {album // 10}" / f"Record {album}"
        if not track:
            place.mkdir(parents=True)
            albums.append((album + 1, f"Artist {album // 10}", f"Record {album}", 2001))
        file = place / f"{track + 1:02} A Song of the Record.flac"
        file.touch()
        title = f"A Song of the Record, Part {track}"
        items.append((os.fsencode(file), album + 1, title, track + 1, 181.5, "XX0123456789"))
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.executemany(
            "INSERT INTO albums (id, albumartist, album, year) VALUES (?, ?, ?, ?)", albums
        )
        connection.executemany(
            "INSERT INTO items (path, album_id, title, track, length, isrc) "
            "VALUES (?, ?, ?, ?, ?, ?)",
            items,
        )
    os.sync()  # else the disk is still busy with all these files while they are looked at
    return database


def snapshot(database: str) -> dict[str, Any]:
    """Through a private copy, as every run does."""
    from harmony_pipelines.clients.beets_config import BeetsConfig
    from harmony_pipelines.clients.beets_library import BeetsLibrary
    from harmony_pipelines.domain.deadline import Deadline

    library = BeetsLibrary(BeetsConfig(Path(database), Path(database).parent / "music"))
    began = time.perf_counter()
    found = library.snapshot(Deadline.after(600))
    return {"seconds": time.perf_counter() - began, "tracks": len(found.tracks)}


def plain_sql(database: str) -> dict[str, Any]:
    """All albums and items, of each what a snapshot reads, as dictionaries; no files."""
    began = time.perf_counter()
    with closing(sqlite3.connect(database)) as connection:
        connection.row_factory = sqlite3.Row
        connection.text_factory = bytes
        albums = _rows(connection, "albums", "album_attributes", ALBUM_COLUMNS)
        items = _rows(connection, "items", "item_attributes", ITEM_COLUMNS)
    return {"seconds": time.perf_counter() - began, "tracks": len(items), "albums": len(albums)}


def _rows(
    connection: sqlite3.Connection, table: str, attributes: str, columns: str
) -> list[dict[str, Any]]:
    found = connection.execute(
        f"SELECT t.id, {columns}, a.value AS {SPOTIFY_ID} FROM {table} AS t "
        f"LEFT JOIN {attributes} AS a ON a.entity_id = t.id AND a.key = '{SPOTIFY_ID}' "
        "ORDER BY t.id"
    )
    return [dict(row) for row in found]
