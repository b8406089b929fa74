"""Large catalogues and libraries, made by SQL in seconds."""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.home import Home
from benchmarks.measure import python
from harmony_pipelines.clients.catalogue import utc_text

NOW, LATER = "2026-01-01T00:00:00Z", utc_text(datetime.now(UTC) + timedelta(days=20))

_COUNT = "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < ?1) "

_WATCHED = (
    """INSERT INTO watchlist (artist_id, partition_key, name, line, source, groups, paused,
    added_at)
    SELECT printf('%022d', i), printf('artist-%022d', i), 'Artist ' || i, i + 2, 'file',
    '["album", "single"]', 0, '{now}' FROM n""",
    """INSERT INTO watchlist_names (text, artist_id, name, evidence, resolved_at)
    SELECT printf('%022d', i), printf('%022d', i), 'Artist ' || i, 'id', '{now}' FROM n""",
    """INSERT INTO spotify_artists (artist_id, name, genres, fetched_at)
    SELECT printf('%022d', i), 'Artist ' || i, '[]', '{now}' FROM n""",
    """INSERT INTO refresh_state (artist_id, status, attempts, last_attempt_at, last_complete_at,
    last_listed_at, materialised_at, baseline_at, next_due_at, market, groups, bodies_pending,
    requests) SELECT printf('%022d', i), 'complete', 0, '{now}', '{now}', '{now}', '{now}',
    '{now}', '{later}', 'DE', '["album", "single"]', 0, 30 FROM n""",
)
_ALBUMS = """INSERT INTO spotify_albums (artist_id, album_id, name, artists, album_type,
    album_group, release_date, release_date_precision, total_tracks, upc, image_url, image_width,
    image_height, spotify_url, first_seen_at, last_seen_at, fetched_at)
    SELECT printf('%022d', i / ?2), printf('A%021d', i), 'Record ' || i || ' of Many',
    json_array(json_object('id', printf('%022d', i / ?2), 'name', 'Artist ' || (i / ?2))),
    'album', 'album', '2001-02-03', 'day', ?3, printf('%013d', i), 'https://i.scdn.co/image/' || i,
    640, 640, 'https://open.spotify.com/album/' || i, '{now}', '{now}', '{now}' FROM n"""
_TRACKS = """INSERT INTO spotify_tracks (artist_id, track_id, album_id, name, artists, disc_number,
    track_number, duration_ms, explicit, isrc, spotify_url)
    SELECT printf('%022d', i / ?3 / ?2), printf('T%021d', i), printf('A%021d', i / ?3),
    'Song ' || i || ' of Many', '[]', 1, i % ?3 + 1, 180000 + i % 60000, 0,
    printf('XX%010d', i), 'https://open.spotify.com/track/' || i FROM n"""
_BEETS_ALBUMS = """INSERT INTO beets_albums (beets_album_id, albumartist, album, year, comp,
    barcode, tracks, missing_files) SELECT i + 1, 'Artist ' || (i * 7 / ?2),
    'Record ' || (i * 7) || ' of Many', 2001, 0, CASE i % 3 WHEN 0 THEN printf('%013d', i * 7) END,
    ?3, 0 FROM n"""
_BEETS_TRACKS = """INSERT INTO beets_tracks (beets_item_id, beets_album_id, path, title, artist,
    disc, track, duration_ms, size, mtime)
    SELECT i + 1, i / ?3 + 1, '/music/' || i || '.flac',
    'Song ' || (i / ?3 * 7 * ?3 + i % ?3) || ' of Many', 'Artist ' || (i / ?3 * 7 / ?2), 1,
    i % ?3 + 1, 180000 + (i / ?3 * 7 * ?3 + i % ?3) % 60000, 30000000, 1 FROM n"""


def artist_ids(artists: int) -> list[str]:
    """The ids that the watched artists have."""
    return [f"{number:022}" for number in range(artists)]


def fill(home: Home, artists: int, albums: int = 0, tracks: int = 0, in_library: int = 0) -> None:
    """Watch artists, none of them due, each with albums of tracks, some of those in the library."""
    home.watch(artist_ids(artists))
    home.store().close()
    with closing(sqlite3.connect(home.database)) as connection, connection:
        connection.execute("PRAGMA synchronous=OFF")
        for statement in _WATCHED:
            _insert(connection, statement, [artists])
        sizes = [max(1, albums), max(1, tracks)]
        _insert(connection, _ALBUMS, [artists * albums, *sizes])
        _insert(connection, _TRACKS, [artists * albums * tracks, *sizes])
        _insert(connection, _BEETS_ALBUMS, [in_library, *sizes])
        _insert(connection, _BEETS_TRACKS, [in_library * tracks, *sizes])
        connection.execute("ANALYZE")


def _insert(connection: sqlite3.Connection, statement: str, values: Sequence[int]) -> None:
    if values[0]:
        text = _COUNT + statement.format(now=NOW, later=LATER)
        connection.execute(text, values[: 3 if "?2" in text or "?3" in text else 1])


def make_beets_database(database: Path) -> None:
    """An empty beets database with all the columns that beets gives it."""
    database.parent.mkdir(parents=True, exist_ok=True)
    code = "import sys; from beets.library import Library; Library(*sys.argv[1:])._close()"
    python(
        "-c", code, str(database), str(database.parent / "music"),
        environment={**os.environ, "BEETSDIR": str(database.parent)},
    )  # fmt: skip
