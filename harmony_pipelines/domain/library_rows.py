"""Rows of the beets database, whatever strange values are in them, as rows of our tables."""

import re
from collections.abc import Collection, Mapping

Raw = bytes | str | int | float | None
RawRow = Mapping[str, Raw]
RawItem = tuple[Raw, ...]
LibraryRow = dict[str, str | int | None]

ITEM_COLUMNS = (
    "id",
    "album_id",
    "path",
    "title",
    "artist",
    "disc",
    "track",
    "length",
    "isrc",
    "spotify_album_id",
)
"""What an item is read as."""

_BIGGEST = 2**63 - 1
_LAST_YEAR = 9999
_SPOTIFY_ID = re.compile(r"[0-9A-Za-z]{22}")


def album_row(
    album: RawRow, spotify_ids: Collection[str | None], artpath: str | None
) -> LibraryRow:
    """A row of `beets_albums`, but for its counts; `spotify_ids` are those its tracks name."""
    return {
        "beets_album_id": _id(album["id"]),
        "albumartist": text_of(album["albumartist"]),
        "album": text_of(album["album"]),
        "year": whole_of(album["year"], _LAST_YEAR),
        "original_year": whole_of(album["original_year"], _LAST_YEAR),
        "comp": None if album["comp"] is None else int(whole_of(album["comp"]) is not None),
        "mb_albumartistid": text_of(album["mb_albumartistid"]),
        "mb_albumid": text_of(album["mb_albumid"]),
        "mb_releasegroupid": text_of(album["mb_releasegroupid"]),
        "barcode": text_of(album["barcode"]),
        "spotify_album_id": _spotify_album_id(album, spotify_ids),
        "artpath": artpath,
    }


def track_row(item: RawItem, path: str | None) -> LibraryRow:
    """A row of `beets_tracks`, as of a track that has no file."""
    beets_id, album_id, _, title, artist, disc, track, length, isrc, _ = item
    return {
        "beets_item_id": _id(beets_id),
        "beets_album_id": whole_of(album_id),
        "path": path,
        "title": text_of(title),
        "artist": text_of(artist),
        "disc": whole_of(disc),
        "track": whole_of(track),
        "duration_ms": milliseconds_of(length),
        "isrc": text_of(isrc),
        "size": None,
        "mtime": None,
    }


def text_of(value: Raw) -> str | None:
    """The value as text that any database takes; null if there is nothing to read in it."""
    if value is None:
        return None
    if isinstance(value, str):  # so are nearly all of them, and there are many
        text = value
    else:
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    if "\0" in text:
        text = text.replace("\0", "")
    return text if text and not text.isspace() else None


def whole_of(value: Raw, biggest: int = _BIGGEST) -> int | None:
    """The value as a positive whole number, else null; 0 is how beets says unknown."""
    if value is None:
        return None
    if isinstance(value, int):
        return value if 0 < value <= biggest else None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if 0 < number <= biggest else None


def milliseconds_of(seconds: Raw) -> int | None:
    """A duration in seconds as whole milliseconds; null if it is unknown or impossible."""
    if seconds is None:
        return None
    try:
        number = round(float(seconds) * 1000)
    except (ValueError, OverflowError):  # no number, or one that is none or has no end
        return None
    return number if 0 < number <= _BIGGEST else None


def _id(value: Raw) -> int:
    return value if isinstance(value, int) else 0


def _spotify_album_id(album: RawRow, of_tracks: Collection[str | None]) -> str | None:
    """The album's own id, or the one its tracks share.

    Older releases of beets put the id of whatever source they imported from into `mb_albumid`.
    """
    known = (
        text_of(album["spotify_album_id"]),
        next(iter(of_tracks)) if len(of_tracks) == 1 else None,
        text_of(album["mb_albumid"]),
    )
    return next((text for text in known if text and _SPOTIFY_ID.fullmatch(text)), None)
