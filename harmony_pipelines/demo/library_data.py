"""What the demo's beets library owns, read from the same file as the catalogue."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmony_pipelines.demo.catalogue_data import CATALOGUE_FILE, entry_tracks
from harmony_pipelines.demo.entities import Track, isrc_of, spotify_id, upc_of


@dataclass(frozen=True)
class LibraryTrack:
    """One audio file to make; an empty tag is not written."""

    number: int
    title: str
    artist: str
    duration_ms: int
    isrc: str


@dataclass(frozen=True)
class LibraryAlbum:
    """One album folder to make; what the library does not know is empty or 0."""

    key: str
    album_id: str
    albumartist: str
    album: str
    audio_format: str
    year: int
    barcode: str
    mb_albumid: str
    mb_releasegroupid: str
    cover: str
    tracks: tuple[LibraryTrack, ...]


def load_library(path: Path = CATALOGUE_FILE) -> list[LibraryAlbum]:
    """The albums that the demo's library owns, with exactly the tags it knows."""
    content = json.loads(path.read_text(encoding="utf-8"))
    names = {artist["key"]: artist["name"] for artist in content["artists"]}
    entries = [entry for entry in content["albums"] if "library" in entry]
    return [_library_album(entry, names) for entry in entries + content["library_only"]]


def _library_album(entry: Mapping[str, Any], names: Mapping[str, str]) -> LibraryAlbum:
    owned = entry["library"]
    is_known = set(owned["knows"]).__contains__
    albumartist = entry.get("albumartist") or " & ".join(names[key] for key in entry["artists"])
    album_id = spotify_id("album", entry["key"]) if "artists" in entry else ""
    return LibraryAlbum(
        key=entry["key"],
        album_id=album_id,
        albumartist=albumartist,
        album=owned.get("album", entry["name"]),
        audio_format=owned["format"],
        year=int(entry["released"][:4]) if is_known("year") else 0,
        barcode=upc_of(album_id) if is_known("barcode") else "",
        mb_albumid=entry["mb_albumid"] if is_known("mb_albumid") else "",
        mb_releasegroupid=entry["mb_releasegroupid"] if is_known("mb_releasegroupid") else "",
        cover=owned.get("cover", ""),
        tracks=tuple(
            _library_track(number, track, albumartist, has_isrc=is_known("isrc"))
            for number, track in enumerate(entry_tracks(entry), start=1)
            if number in owned.get("tracks", [number])
        ),
    )


def _library_track(number: int, track: Track, artist: str, *, has_isrc: bool) -> LibraryTrack:
    isrc = isrc_of(artist, track.name) if has_isrc else ""
    return LibraryTrack(number, track.name, artist, track.duration_ms or 0, isrc)
