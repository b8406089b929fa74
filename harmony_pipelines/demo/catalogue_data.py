"""The invented catalogue in memory, read from a file or built in a test, to be changed at will.

What the loopback server serves. How it looks as JSON is `spotify_json`'s business.
"""

import hashlib
import itertools
import json
import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harmony_pipelines.demo.entities import (
    Album,
    Artist,
    Image,
    Picture,
    Track,
    isrc_of,
    number_of,
    picture_seed,
    spotify_id,
    upc_of,
)
from harmony_pipelines.demo.recordings import recorded_albums, recorded_artists

CATALOGUE_FILE = Path(__file__).with_name("catalog.json")

COVER_EDGES = {640: "ab67616d0000b273", 300: "ab67616d00001e02", 64: "ab67616d00004851"}
PORTRAIT_EDGES = {640: "ab6761610000e5eb", 320: "ab67616100005174", 160: "ab6761610000f178"}
ARCHIVE_EDGES = {1200: "caa0000000000000"}

GivenTracks = int | Iterable[str | tuple[str, int] | Track]


class Catalogue:
    """Everything the server knows; safe to change from a test while requests are answered."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.artists: dict[str, Artist] = {}
        self.albums: dict[str, Album] = {}
        self.pictures: dict[str, Picture] = {}
        self.archive_covers: dict[str, str] = {}
        """MusicBrainz id of a release or release group → image id."""
        self.reported_totals: dict[str, int] = {}
        """Artist id → the `total` its listing claims, whatever is true."""
        self.ghosts: set[str] = set()
        """Album ids that take a place in a listing and are not delivered."""
        self._held_back: dict[str, Mapping[str, Any]] = {}
        self._running_number = itertools.count(1)

    @classmethod
    def load(cls, path: Path = CATALOGUE_FILE) -> "Catalogue":
        """The catalogue of a file in `catalog.json`'s format, without what is held back."""
        content = json.loads(path.read_text(encoding="utf-8"))
        catalogue = cls()
        for entry in content["artists"]:
            catalogue._add_artist_entry(entry)
        for entry in content["albums"]:
            if entry.get("held_back"):
                catalogue._held_back[entry["key"]] = entry
            else:
                catalogue._add_album_entry(entry)
        return catalogue

    @classmethod
    def from_recordings(cls, paths: Iterable[Path]) -> "Catalogue":
        """The catalogue of recorded answers: artist, listing pages, album bodies, full tracks."""
        catalogue = cls()
        for path in paths:
            recording = json.loads(path.read_text(encoding="utf-8"))
            for artist in recorded_artists(recording):
                if artist.images or artist.artist_id not in catalogue.artists:
                    catalogue._put_artist(artist)
            for album in recorded_albums(recording):
                catalogue._put_album(album)
        return catalogue

    def add_artist(self, name: str, **fields: Any) -> str:
        """Add an artist and return its id; `fields` are those of `Artist`."""
        artist_id = fields.pop("artist_id", None) or spotify_id("artist", self._seed(name))
        self._put_artist(Artist(artist_id, name, **fields))
        return artist_id

    def add_album(
        self,
        artist_ids: str | Sequence[str],
        name: str,
        *,
        tracks: GivenTracks = 3,
        appears_on: Sequence[str] = (),
        **fields: Any,
    ) -> str:
        """Add an album and return its id; `fields` are those of `Album`.

        `tracks` are titles, (title, milliseconds) pairs, `Track`s or just how many; what they do
        not say (ids, numbers, durations, ISRCs) is invented. `appears_on` names other artists
        whose listing shows the album too.
        """
        artist_ids = [artist_ids] if isinstance(artist_ids, str) else list(artist_ids)
        album_id = fields.pop("album_id", None) or spotify_id("album", self._seed(name))
        album = Album(album_id, name, artist_ids, tracks=_tracks_of(name, tracks), **fields)
        album.groups = dict.fromkeys(appears_on, "appears_on") | album.groups
        self._put_album(album)
        return album_id

    def remove_album(self, album_id: str) -> None:
        """Forget an album: no listing shows it and its address answers 404."""
        with self.lock:
            del self.albums[album_id]

    def publish(self, key: str) -> str:
        """Release an album that the file holds back; returns its id."""
        with self.lock:
            return self._add_album_entry(self._held_back.pop(key))

    def add_picture(self, data: bytes, image_id: str | None = None) -> str:
        """Serve these bytes, whatever they are, as an image; returns its id."""
        image_id = image_id or hashlib.sha256(data).hexdigest()[:40]
        with self.lock:
            self.pictures[image_id] = Picture(data=data)
        return image_id

    def track(self, track_id: str) -> tuple[Album, Track] | None:
        """The album that a track is on, and the track."""
        for album in self.albums.values():
            for track in album.tracks:
                if track.track_id == track_id:
                    return album, track
        return None

    def _seed(self, name: str) -> str:
        return f"{name}:{next(self._running_number)}"

    def _put_artist(self, artist: Artist) -> None:
        with self.lock:
            if artist.images is None:
                artist.images = _sizes(artist.artist_id, PORTRAIT_EDGES)
            self._draw(artist.images, Picture(artist.name))
            self.artists[artist.artist_id] = artist

    def _put_album(self, album: Album) -> None:
        with self.lock:
            album.upc = upc_of(album.album_id) if album.upc == "" else album.upc
            album.groups = dict.fromkeys(album.artist_ids, album.album_type) | album.groups
            if album.copyrights is None:
                text = f"{album.release_date[:4]} {album.label}"
                album.copyrights = [{"text": text, "type": "C"}]
            for number, track in enumerate(album.tracks, start=1):
                self._complete(album, number, track)
            self._put_covers(album)
            self.albums[album.album_id] = album

    def _put_covers(self, album: Album) -> None:
        byline = " & ".join(self.artists[artist_id].name for artist_id in album.artist_ids)
        like = Picture(album.name, byline, image_format=album.image_format)
        if album.images is None:
            album.images = _sizes(album.album_id, COVER_EDGES)
        self._draw(album.images, like)
        for mbid in filter(None, (album.mb_albumid, album.mb_releasegroupid)):
            [scan] = _sizes(album.album_id, ARCHIVE_EDGES)
            self._draw([scan], like)
            self.archive_covers[mbid] = scan.image_id

    def _draw(self, images: Iterable[Image], like: Picture) -> None:
        for image in images:
            if image.image_id not in self.pictures:
                self.pictures[image.image_id] = replace(
                    like, width=image.width, height=image.height
                )

    def _complete(self, album: Album, number: int, track: Track) -> None:
        track.track_number = track.track_number or number
        seed = f"{album.album_id}:{track.disc_number}:{track.track_number}"
        track.track_id = track.track_id or spotify_id("track", seed)
        track.artist_ids = track.artist_ids or album.artist_ids
        artist = self.artists[track.artist_ids[0]].name
        if track.duration_ms is None:
            track.duration_ms = 150_000 + number_of(f"ms:{artist}:{track.name}", 120_000)
        track.isrc = isrc_of(artist, track.name) if track.isrc == "" else track.isrc

    def _add_artist_entry(self, entry: Mapping[str, Any]) -> None:
        self.add_artist(
            entry["name"],
            artist_id=spotify_id("artist", entry["key"]),
            genres=entry["genres"],
            popularity=entry["popularity"],
            followers=entry["followers"],
        )

    def _add_album_entry(self, entry: Mapping[str, Any]) -> str:
        return self.add_album(
            _artist_ids(entry["artists"]),
            entry["name"],
            tracks=entry_tracks(entry),
            appears_on=_artist_ids(entry.get("appears_on", ())),
            album_id=spotify_id("album", entry["key"]),
            album_type=entry["type"],
            release_date=entry["released"],
            image_format=entry.get("cover", "jpeg").upper(),
            mb_albumid=entry.get("mb_albumid", ""),
            mb_releasegroupid=entry.get("mb_releasegroupid", ""),
        )


def entry_tracks(entry: Mapping[str, Any]) -> list[Track]:
    """The tracks of one album of the file, as far as the file says."""
    tracks, explicit = entry["tracks"], entry.get("explicit", False)
    if isinstance(tracks, dict):
        titles = [tracks["title"].format(n=n) for n in range(1, tracks["count"] + 1)]
        return [Track(title, explicit=explicit) for title in titles]
    return [_entry_track(track, explicit) for track in tracks]


def _entry_track(given: Any, explicit: bool) -> Track:
    if isinstance(given, dict):
        return Track(given["title"], artist_ids=_artist_ids(given["artists"]), explicit=explicit)
    title, duration_ms = (given, None) if isinstance(given, str) else given
    return Track(title, duration_ms, explicit=explicit)


def _tracks_of(album: str, given: GivenTracks) -> list[Track]:
    if isinstance(given, int):
        given = [f"{album}, Part {number}" for number in range(1, given + 1)]
    return [track if isinstance(track, Track) else _track_of(track) for track in given]


def _track_of(given: str | tuple[str, int]) -> Track:
    return Track(given) if isinstance(given, str) else Track(given[0], given[1])


def _sizes(owner_id: str, edges: Mapping[int, str]) -> list[Image]:
    seed = picture_seed(owner_id)
    return [Image(prefix + seed, edge, edge) for edge, prefix in edges.items()]


def _artist_ids(keys: Iterable[str]) -> list[str]:
    return [spotify_id("artist", key) for key in keys]
