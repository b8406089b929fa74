"""Secrets that cannot be overlooked, the forms they travel in, and a search of all that is kept."""

import base64
import contextlib
import itertools
import json
import sqlite3
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote, quote_plus

CLIENT_SECRET = "Pl4nted+client/secret=1"
DATABASE_PASSWORD = "Pl4nted+database/word=2"
NOTIFY_PASSWORD = "Pl4nted+notify/word=3"
NOTIFY_PATH = "pl4nted-notify-path-4"
BEAT_PASSWORD = "Pl4nted+beat/word=5"
BEAT_PATH = "pl4nted-beat-path-6"
ALL = {
    "client secret": CLIENT_SECRET,
    "database password": DATABASE_PASSWORD,
    "notification password": NOTIFY_PASSWORD,
    "notification path": NOTIFY_PATH,
    "heartbeat password": BEAT_PASSWORD,
    "heartbeat path": BEAT_PATH,
}

_LEAST_CHARACTERS = 12
_EVERY_LOGGER = """
import logging
logging.basicConfig(filename={file!r}, level=logging.DEBUG, force=True)
"""
_TO_DAGSTER = """
python_logs:
  python_log_level: DEBUG
  managed_python_loggers: [root]
"""


def forms(secret: str) -> set[str]:
    """The secret as it may be written: plain, quoted for a URL or JSON, in base64 at any place."""
    quoted = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    found = {secret, *quoted, *(quote(each, safe="") for each in quoted), json.dumps(secret)[1:-1]}
    for encode, shift in itertools.product((base64.b64encode, base64.urlsafe_b64encode), range(3)):
        # Whatever stands before it, the characters in the middle are these or their two shifts.
        middle = encode(b"." * shift + secret.encode()).decode().rstrip("=")
        found.add(middle[4:-2])
    return {each for each in found if len(each) >= _LEAST_CHARACTERS}


def found_in(texts: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """Which secret stands in which text, in which form."""
    wanted = [(name, form.encode()) for name, secret in secrets.items() for form in forms(secret)]
    return [
        f"{name} as {form.decode()!r} in {where}"
        for where, text in texts.items()
        for name, form in wanted
        if form in text
    ]


def everything_below(*folders: Path) -> dict[str, bytes]:
    """Every file, and every cell of those that are SQLite databases, unpacked where it is packed.

    A long text lies in pieces in a database file, so that only its cells can be searched.
    """
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    found = {str(path): path.read_bytes() for path in files}
    for path in files:
        if found[str(path)].startswith(b"SQLite format 3\0"):
            found |= {f"{path}: {table}": cells for table, cells in _cells(path)}
    return found


def _cells(path: Path) -> Iterator[tuple[str, bytes]]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        for (table,) in tables.fetchall():
            rows = connection.execute(f'SELECT * FROM "{table}"')
            yield table, b"\n".join(_as_bytes(row) for row in rows)


def _as_bytes(row: Iterable[object]) -> bytes:
    return b"\t".join(
        _unpacked(cell) if isinstance(cell, bytes) else str(cell).encode() for cell in row
    )


def _unpacked(cell: bytes) -> bytes:
    with contextlib.suppress(zlib.error):
        return zlib.decompress(cell)
    return cell


def log_all(folder: Path, dagster_home: Path) -> dict[str, str]:
    """Have every logger of every process write all it can; what the environment needs for it.

    Into a file, as a program that only wants to see all does; into Dagster's own log as well.
    """
    folder.mkdir()
    text = _EVERY_LOGGER.format(file=str(folder / "all.log"))
    (folder / "sitecustomize.py").write_text(text)
    with (dagster_home / "dagster.yaml").open("a") as file:
        file.write(_TO_DAGSTER)
    return {"PYTHONPATH": str(folder)}


if __name__ == "__main__":
    print(json.dumps(found_in(everything_below(*map(Path, sys.argv[1:])), ALL), indent=1))
