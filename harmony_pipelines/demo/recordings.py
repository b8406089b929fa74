"""Recorded answers of the Web API as artists and albums of a catalogue."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from harmony_pipelines.demo.entities import Album, Artist, Image, Track

Recording = Mapping[str, Any]


def recorded_artists(recording: Recording) -> list[Artist]:
    """The artist recorded, after those that its albums and tracks only name."""
    bodies = recording["albums"].values()
    named = [
        artist
        for body in (*bodies, *(item for body in bodies for item in body["tracks"]["items"]))
        for artist in body["artists"]
    ]
    main = recording["artist"]
    full = Artist(
        main["id"],
        main["name"],
        main["genres"],
        main["popularity"],
        main["followers"]["total"],
        _images(main),
    )
    return [Artist(artist["id"], artist["name"], images=[]) for artist in named] + [full]


def recorded_albums(recording: Recording) -> list[Album]:
    """The albums recorded, each in the group in which the listing pages had it."""
    artist_id, tracks = recording["artist"]["id"], recording["tracks"]
    groups = {
        item["id"]: item["album_group"]
        for page in recording["listing_pages"]
        for item in page["items"]
    }
    return [
        _album(body, tracks, {artist_id: groups[body["id"]]})
        for body in recording["albums"].values()
    ]


def _album(body: Recording, full_tracks: Recording, groups: dict[str, str]) -> Album:
    return Album(
        album_id=body["id"],
        name=body["name"],
        artist_ids=_ids(body["artists"]),
        album_type=body["album_type"],
        release_date=body["release_date"],
        tracks=[_track(item, full_tracks.get(item["id"], {})) for item in body["tracks"]["items"]],
        groups=groups,
        upc=body["external_ids"].get("upc"),
        label=body["label"],
        popularity=body["popularity"],
        images=_images(body),
        copyrights=body["copyrights"],
        total_tracks=body["total_tracks"],
    )


def _track(item: Recording, full: Recording) -> Track:
    return Track(
        name=item["name"],
        duration_ms=item["duration_ms"],
        isrc=full.get("external_ids", {}).get("isrc"),
        explicit=item["explicit"],
        artist_ids=_ids(item["artists"]),
        disc_number=item["disc_number"],
        track_number=item["track_number"],
        popularity=full.get("popularity", 0),
        track_id=item["id"],
    )


def _images(body: Recording) -> list[Image]:
    return [
        Image(image["url"].rsplit("/", 1)[-1], image["width"], image["height"])
        for image in body["images"]
    ]


def _ids(bodies: Iterable[Recording]) -> Sequence[str]:
    return [body["id"] for body in bodies]
