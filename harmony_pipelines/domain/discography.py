"""Spotify's JSON turned into rows; the keys of a row are the catalogue's columns.

The JSON is another program's word: any of it may be missing, of a wrong type or not storable.
What identifies a thing must be there, else the answer is refused; everything else may be None.
"""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.identifiers import normalise_isrc

Json = dict[str, Any]
Row = dict[str, str | int | None]

BODY_COLUMNS = ("upc", "label")
"""The columns of an album that only its body fills: a listing must not blank them."""

_SHOWN_IN_LISTINGS = ("name", "album_type", "release_date", "total_tracks")
_PICTURE = 24
"""The last characters of an image's URL: the picture, in whatever size and from whatever host."""

GROUPS = ("album", "single", "compilation", "appears_on")
"""How an album can relate to an artist; an album that is in two counts for the earlier."""

_LONGEST_TEXT = 1000
_LARGEST_NUMBER = 2**63 - 1
_ID = re.compile(r"[0-9A-Za-z]{1,64}")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class ArtistCatalogue:
    """What reading one artist's listings brought, whole or in part."""

    artist_id: str
    groups: tuple[str, ...]
    artist: Row | None = None
    albums: tuple[Row, ...] = ()
    tracks: tuple[Row, ...] = ()
    complete: bool = False
    """Whether every group was listed as far as it had to be."""
    newest_only: bool = False
    """Whether a listing was left where it met what was known: it says nothing of older albums."""
    capped: frozenset[str] = frozenset()
    """The groups of which only the newest were listed, by a limit of ours: nothing that is
    missing from them was removed."""
    error: HarmonyError | None = None


@dataclass(frozen=True)
class Body:
    """The rows that one album's body gives."""

    album: Row
    tracks: tuple[Row, ...]


def body_rows(artist_id: str, group: str, body: object) -> Body:
    """The rows for an album's body, the album's own and its tracks'."""
    return Body(album_row(artist_id, group, body), tuple(track_rows(artist_id, body)))


def artist_row(body: object) -> Row:
    """The row of `spotify_artists` for an artist's body."""
    artist = _object(body, "artist")
    return {
        "artist_id": _id(artist, "artist"),
        "name": _text(artist.get("name")),
        "genres": _json([genre for genre in map(_text, _list(artist.get("genres"))) if genre]),
        "image_url": _text(_largest(artist.get("images")).get("url")),
        "spotify_url": _spotify_url(artist),
        "popularity": _number(artist.get("popularity")),
        "followers": _number(_dict(artist.get("followers")).get("total")),
    }


def listed_album_row(artist_id: str, group: str, item: object) -> Row:
    """The row of `spotify_albums` for an entry of a listing: what only a body tells is None."""
    album = _object(item, "album")
    image = _largest(album.get("images"))
    return {
        "artist_id": artist_id,
        "album_id": _id(album, "album"),
        "name": _text(album.get("name")),
        "artists": _artists(album.get("artists")),
        "album_type": _text(album.get("album_type")),
        "album_group": group,
        "release_date": _text(album.get("release_date")),
        "release_date_precision": _text(album.get("release_date_precision")),
        "total_tracks": _number(album.get("total_tracks")),
        "upc": None,
        "label": None,
        "image_url": _text(image.get("url")),
        "image_width": _number(image.get("width")),
        "image_height": _number(image.get("height")),
        "spotify_url": _spotify_url(album),
    }


def album_row(artist_id: str, group: str, body: object) -> Row:
    """The row of `spotify_albums` for an album's body; the UPC's digits as Spotify gives them."""
    row = listed_album_row(artist_id, group, body)
    album = _object(body, "album")
    row["upc"] = _text(_dict(album.get("external_ids")).get("upc"))
    row["label"] = _text(album.get("label"))
    return row


def track_rows(artist_id: str, body: object) -> list[Row]:
    """The rows of `spotify_tracks` for an album's body; a track without an id cannot be a row."""
    album = _object(body, "album")
    album_id = _id(album, "album")
    page = _object(album.get("tracks"), f"album {album_id}: tracks")
    items: object = page.get("items")
    if not isinstance(items, list):
        raise _bad_answer(f"album {album_id}: tracks.items")
    rows: dict[str, Row] = {}
    for item in cast("list[object]", items):
        track = _dict(item)
        if track.get("id") is not None:
            row = _track_row(artist_id, album_id, track)
            rows.setdefault(str(row["track_id"]), row)
    return list(rows.values())


def track_isrc(body: object) -> str:
    """The ISRC of a full track, normalised; as given where it is none; empty where there is none.

    Empty is not None: it says that the track was asked for and need not be again.
    """
    track = _object(body, "track")
    given = _text(_dict(track.get("external_ids")).get("isrc")) or ""
    return normalise_isrc(given) or given.strip()


def listed_as(album: Row) -> str:
    """A fingerprint of a listing's entry: where it changes, the body is worth another look."""
    picture = str(album["image_url"] or "")[-_PICTURE:]
    shown = _json([picture, *(album[column] for column in _SHOWN_IN_LISTINGS)])
    return hashlib.sha256(shown.encode()).hexdigest()[:16]


def is_tombstone(body: object) -> bool:
    """Whether a body or row is the empty shell that Spotify leaves of a withdrawn album."""
    album = _dict(body)
    date = album.get("release_date")
    return not album.get("name") and isinstance(date, str) and date.startswith("0000")


def group_of(item: object, groups: Sequence[str]) -> str:
    """The album group of an entry in a listing of one or several groups.

    Spotify does not tell new apps the group: asked for one, it is that one; asked for several of
    the artist's own, it is what the album is.
    """
    if len(groups) == 1:
        return groups[0]
    album = _dict(item)
    for word in (album.get("album_group"), album.get("album_type")):
        if word in groups:
            return str(word)
    return groups[0]


def _track_row(artist_id: str, album_id: str, track: Json) -> Row:
    explicit = track.get("explicit")
    isrc = track_isrc(track) or None
    return {
        "artist_id": artist_id,
        "track_id": _id(track, f"album {album_id}: track"),
        "album_id": album_id,
        "name": _text(track.get("name")),
        "artists": _artists(track.get("artists")),
        "disc_number": _number(track.get("disc_number")),
        "track_number": _number(track.get("track_number")),
        "duration_ms": _number(track.get("duration_ms")),
        "explicit": int(explicit) if isinstance(explicit, bool) else None,
        "isrc": isrc,
        "spotify_url": _spotify_url(track),
    }


def _artists(value: object) -> str:
    """The artists as a JSON array of objects, so that a credit keeps both its id and its name."""
    artists = filter(None, map(_dict, _list(value)))
    return _credits(tuple((_text(each.get("id")), _text(each.get("name"))) for each in artists))


@lru_cache(maxsize=256)
def _credits(artists: tuple[tuple[str | None, str | None], ...]) -> str:
    """Made once for the tracks of an album, which are mostly by the same."""
    return _json([{"id": artist_id, "name": name} for artist_id, name in artists])


def _largest(images: object) -> Json:
    """The widest image, whatever the order; the first where none says how wide it is."""
    nothing: Json = {}
    pictures = [image for image in map(_dict, _list(images)) if _text(image.get("url"))]
    return max(pictures, key=lambda image: _number(image.get("width")) or 0, default=nothing)


def _spotify_url(body: Json) -> str | None:
    return _text(_dict(body.get("external_urls")).get("spotify"))


def _object(value: object, what: str) -> Json:
    if not isinstance(value, dict):
        raise _bad_answer(what)
    return cast("Json", value)


def _id(body: Json, what: str) -> str:
    value = body.get("id")
    if not (isinstance(value, str) and _ID.fullmatch(value)):
        raise _bad_answer(f"{what}: id")
    return value


def _dict(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else []


def _text(value: object) -> str | None:
    """The text as any database can store it and any terminal can show it.

    No NUL, no half of a surrogate pair, no escape sequence, not endless.
    """
    if not isinstance(value, str):
        return None
    if value.isascii() and value.isprintable():
        return value[:_LONGEST_TEXT]
    whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return _CONTROL_CHARACTER.sub(" ", whole.replace("\0", ""))[:_LONGEST_TEXT]


def _number(value: object) -> int | None:
    """The whole number that a signed 64-bit column can store."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) <= _LARGEST_NUMBER else None


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _bad_answer(what: str) -> HarmonyError:
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.BAD_ANSWER,
        f"Spotify's answer lacks what we need: {what}. It is tried again with the next run.",
        missing=what,
    )
