"""Plain SQL over a private copy of a beets database of any age; beets itself is not involved."""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.library_rows import ITEM_COLUMNS, Raw, RawItem, RawRow

_ALBUM_COLUMNS = (
    "id",
    "albumartist",
    "album",
    "year",
    "original_year",
    "comp",
    "mb_albumartistid",
    "mb_albumid",
    "mb_releasegroupid",
    "barcode",
    "artpath",
    "spotify_album_id",
)
_ALBUMS = ("albums", "album_attributes", _ALBUM_COLUMNS)
_ITEMS = ("items", "item_attributes", ITEM_COLUMNS)
_CREDITS = (
    ("albums", "album_attributes", ("albumartist", "spotify_artist_id", "mb_albumartistid")),
    ("items", "item_attributes", ("artist", "spotify_artist_id", "mb_artistid")),
)
_PATHS = ("artpath", "path")
_NEEDED = {"albums": {"id"}, "items": {"id", "album_id", "path"}}
_STEPS_BETWEEN_LOOKS = 100_000
_as_text = partial(str, encoding="utf-8", errors="replace")


def read_tables(connection: sqlite3.Connection) -> tuple[list[RawRow], list[RawItem]]:
    """Albums and items as they are stored, paths as bytes.

    Items are tuples, in the order of ITEM_COLUMNS: a library has many.
    """
    try:
        return _read_as(str, connection)
    except sqlite3.OperationalError:  # among others, where a text is not UTF-8
        return _read_as(_as_text, connection)


def paths_of_items(connection: sqlite3.Connection) -> str:
    """What selects the items' paths as `read_tables` has them, in the same order."""
    table, attributes, _ = _ITEMS
    return _selected(connection, table, attributes, ("path",))


def _read_as(
    text: Callable[[bytes], str], connection: sqlite3.Connection
) -> tuple[list[RawRow], list[RawItem]]:
    connection.text_factory = text
    items = connection.execute(_selected(connection, *_ITEMS)).fetchall()
    return _rows(connection, *_ALBUMS), items


def read_credits(copy: Path, named: Path, deadline: Deadline) -> list[tuple[Raw, ...]]:
    """Whom albums and items name as their artist, each with a Spotify and a MusicBrainz id."""
    with opened(copy, named, deadline) as connection:
        return [tuple(row.values()) for source in _CREDITS for row in _rows(connection, *source)]


@contextmanager
def opened(copy: Path, named: Path, deadline: Deadline) -> Iterator[sqlite3.Connection]:
    """A private copy of a beets database, repaired by SQLite; `named` is the original."""
    try:
        with closing(sqlite3.connect(copy, timeout=0)) as connection:
            connection.text_factory = bytes  # texts may hold anything, paths above all
            connection.set_progress_handler(lambda: deadline.passed, _STEPS_BETWEEN_LOOKS)
            _check_schema(connection, named)
            yield connection
    except sqlite3.Error as error:
        deadline.check()
        raise HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.UNREADABLE,
            f"{named} is not a sound beets database: {error}. Look at it with `beet stats`; if it "
            "is damaged, bring it back from a backup.",
            path=str(named),
        ) from error


def digest(copy: Path, named: Path, deadline: Deadline) -> str:
    """The SHA-256 of all that is read here: equal where nothing we look at has changed."""
    found = hashlib.sha256()
    with opened(copy, named, deadline) as connection:
        for source in (_ALBUMS, _ITEMS):
            for row in connection.execute(_selected(connection, *source)):
                found.update(repr(row).encode())
    return found.hexdigest()


def schema(copy: Path) -> list[tuple[object, ...]]:
    """How the tables are made, and which of beets' migrations they have behind them."""
    with closing(sqlite3.connect(copy, timeout=0)) as connection:
        made = connection.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()
        if _columns(connection, "migrations"):
            made += connection.execute("SELECT * FROM migrations ORDER BY 1, 2").fetchall()
        return made


def _check_schema(connection: sqlite3.Connection, named: Path) -> None:
    missing = [
        f"{table}.{column}"
        for table, needed in _NEEDED.items()
        for column in sorted(needed - _columns(connection, table))
    ]
    if missing:
        raise HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.LIBRARY_SCHEMA,
            f"{named} does not look like a beets library: it has no {', '.join(missing)}. "
            "Does HARMONY_BEETS_LIBRARY name the right file?",
            path=str(named),
            missing=missing,
        )


def _columns(connection: sqlite3.Connection, table: str) -> set[str]:
    named = connection.execute("SELECT CAST(name AS BLOB) FROM pragma_table_info(?)", (table,))
    return {name.decode() for (name,) in named}


def _rows(
    connection: sqlite3.Connection, table: str, attributes: str, columns: Sequence[str]
) -> list[RawRow]:
    selected = connection.execute(_selected(connection, table, attributes, columns))
    return [dict(zip(columns, row, strict=True)) for row in selected]


def _selected(
    connection: sqlite3.Connection, table: str, attributes: str, wanted: Sequence[str]
) -> str:
    columns = _columns(connection, table)
    has_attributes = _columns(connection, attributes) >= {"entity_id", "key", "value"}

    def is_among_attributes(column: str) -> bool:
        named = f"SELECT 1 FROM {attributes} WHERE key = ? LIMIT 1"
        return has_attributes and connection.execute(named, (column,)).fetchone() is not None

    def source(column: str) -> str:
        if column in columns:
            return f"t.{column}"
        if is_among_attributes(column):  # what has no column of its own in that release of beets
            return f"(SELECT value FROM {attributes} WHERE entity_id = t.id AND key = '{column}')"
        return "NULL"

    def stored(column: str) -> str:
        if column in _PATHS:
            return f"NULLIF(CAST({source(column)} AS BLOB), x'')"
        return source(column)

    # not indexed: in one order, also where an index is stale or ids come twice
    return f"SELECT {', '.join(map(stored, wanted))} FROM {table} AS t NOT INDEXED ORDER BY t.id"
