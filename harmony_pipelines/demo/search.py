"""A plain name search over the catalogue, with the field filters that matter to a library."""

import re
from collections.abc import Callable

from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.entities import Album, Artist, Track

_FILTERS = {"album", "artist", "isrc", "track", "upc", "year"}
_TERM = re.compile(r'(?:(\w+):)?(?:"([^"]*)"|(\S+))')


def found_artists(catalogue: Catalogue, text: str) -> list[Artist]:
    """Artists whose name holds every word asked for; equal names first, then the best known."""
    terms = _terms(text)
    wanted = " ".join(value for _, value in terms)
    found = [
        artist
        for artist in catalogue.artists.values()
        if all(
            field in ("", "artist") and value in artist.name.casefold() for field, value in terms
        )
    ]
    return sorted(found, key=lambda a: (a.name.casefold() != wanted, -a.popularity))


def found_albums(catalogue: Catalogue, text: str) -> list[Album]:
    """Albums that satisfy every term."""
    terms = _terms(text)
    return [
        album
        for album in catalogue.albums.values()
        if all(_album_has(catalogue, album, field, value) for field, value in terms)
    ]


def found_tracks(catalogue: Catalogue, text: str) -> list[tuple[Album, Track]]:
    """Tracks, each with its album, that satisfy every term."""
    terms = _terms(text)
    return [
        (album, track)
        for album in catalogue.albums.values()
        for track in album.tracks
        if all(_track_has(catalogue, album, track, term) for term in terms)
    ]


def _terms(text: str) -> list[tuple[str, str]]:
    """Pairs of a filter's name, or nothing, and the text wanted; `re:stacks` is no filter."""
    return [
        (match[1].lower(), (match[2] or match[3] or "").casefold())
        if (match[1] or "").lower() in _FILTERS
        else ("", match[0].strip('"').casefold())
        for match in _TERM.finditer(text)
    ]


def _album_has(catalogue: Catalogue, album: Album, field: str, value: str) -> bool:
    checks: dict[str, Callable[[], bool]] = {
        "album": lambda: value in album.name.casefold(),
        "artist": lambda: value in _names(catalogue, album),
        "upc": lambda: value.lstrip("0") == (album.upc or "").lstrip("0") != "",
        "isrc": lambda: any(value == (track.isrc or "").casefold() for track in album.tracks),
        "year": lambda: album.release_date.startswith(value),
    }
    if field:
        return field in checks and checks[field]()
    return value in album.name.casefold() or value in _names(catalogue, album)


def _track_has(catalogue: Catalogue, album: Album, track: Track, term: tuple[str, str]) -> bool:
    field, value = term
    if field == "isrc":
        return value == (track.isrc or "").casefold()
    if field == "track":
        return value in track.name.casefold()
    return _album_has(catalogue, album, field, value) or (
        field == "" and value in track.name.casefold()
    )


def _names(catalogue: Catalogue, album: Album) -> str:
    return "\n".join(catalogue.artists[artist_id].name for artist_id in album.artist_ids).casefold()
