"""The job `refresh_catalogue` over real answers, when the recordings lie beside the repository."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.recordings import recorded_albums
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.discography import album_row, is_tombstone, track_rows
from harmony_pipelines_tests.conftest import Home

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
COLUMNS = ("name", "release_date", "release_date_precision", "upc", "total_tracks", "album_type")

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside us")


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / name).read_text(encoding="utf-8"))


def stored(home: Home) -> dict[str, tuple[Any, ...]]:
    rows = home.rows(tables.spotify_albums)
    return {row["album_id"]: tuple(row[column] for column in COLUMNS) for row in rows}


def expected(albums: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    rows = {album_id: album_row("a", "album", body) for album_id, body in albums.items()}
    return {album_id: tuple(row[column] for column in COLUMNS) for album_id, row in rows.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["kora.json", "gorillat.json"])
def test_every_recorded_release_is_stored_as_it_was(
    home: Home, instance: dg.DagsterInstance, server: SpotifyServer, name: str
) -> None:
    recording = recorded(name)
    recordings = Catalogue.from_recordings([RECORDINGS / name])
    server.catalogue.__dict__.update(recordings.__dict__)
    home.watch(recording["artist"]["id"])
    result = home.refresh(instance)
    assert result.success
    assert stored(home) == expected(recording["albums"])
    listed = [item["id"] for page in recording["listing_pages"] for item in page["items"]]
    assert set(listed) == set(stored(home))
    assert all(row["fetched_at"] for row in home.rows(tables.spotify_albums))
    tracks = {row["track_id"] for row in home.rows(tables.spotify_tracks)}
    of_bodies = [
        row["track_id"] for body in recording["albums"].values() for row in track_rows("a", body)
    ]
    assert tracks == set(of_bodies)
    [artist] = home.rows(tables.spotify_artists)
    assert artist["name"] == recording["artist"]["name"]
    home.change(tables.refresh_state, next_due_at="2000-01-01T00:00:00Z")
    server.forget_requests()
    assert home.refresh(instance).success
    assert server.count("artist_albums") == (1 if len(listed) <= 10 else 2)
    assert (server.count("albums"), home.rows(tables.new_releases)) == (0, [])


def test_recorded_oddities_are_stored_too(
    home: Home, instance: dg.DagsterInstance, server: SpotifyServer
) -> None:
    odd = recorded("odd_bodies.json")["albums"]
    artist_id = home.artist("Everybody", singles=0)
    names = {
        artist["id"]: artist["name"]
        for body in odd.values()
        for one in (body, *body["tracks"]["items"])
        for artist in one["artists"]
    }
    for known, name in names.items():
        server.catalogue.add_artist(name, artist_id=known, images=[])
    listing = [{"id": album_id, "album_group": "album"} for album_id in odd]
    recording = {
        "artist": {"id": artist_id},
        "tracks": {},
        "listing_pages": [{"items": listing}],
        "albums": odd,
    }
    for album in recorded_albums(recording):
        server.catalogue._put_album(album)
    home.watch(artist_id)
    assert home.refresh(instance).success
    found = stored(home)
    assert found.keys() == odd.keys()
    for album_id, body in odd.items():
        row = found[album_id]
        assert row[0] == body["name"]
        assert row[1] == body["release_date"]
        assert row[4] == body["total_tracks"]
    assert any(is_tombstone(body) for body in odd.values())
    counts: dict[str, int] = {}
    for row in home.rows(tables.spotify_tracks):
        counts[row["album_id"]] = counts.get(row["album_id"], 0) + 1
    for album_id, body in odd.items():
        assert counts.get(album_id, 0) == len(track_rows("a", body))
    assert home.rows(tables.new_releases) == []
