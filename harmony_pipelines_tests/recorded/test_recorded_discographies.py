"""The client over real answers, when the recordings lie beside the repository."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.database import open_engine
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.clients.schema import bring_up_to_date
from harmony_pipelines.clients.spotify import SpotifyClient, list_artist, read_bodies
from harmony_pipelines.clients.spotify_config import SpotifyConfig
from harmony_pipelines.clients.spotify_refusals import Question, Refusal, explain
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.discography import (
    album_row,
    artist_row,
    is_tombstone,
    listed_album_row,
    track_isrc,
    track_rows,
)
from harmony_pipelines.domain.errors import ErrorCode
from harmony_pipelines.domain.identifiers import VARIOUS_ARTISTS, normalise_isrc

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"

pytestmark = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside us")


def recorded(name: str) -> Any:
    return json.loads((RECORDINGS / name).read_text(encoding="utf-8"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{tmp_path}/harmony.db")
    bring_up_to_date(engine)
    yield engine
    engine.dispose()


@pytest.mark.parametrize("profile", ["development", "extended"])
@pytest.mark.parametrize("name", ["kora.json", "gorillat.json"])
def test_a_recorded_discography_arrives_whole(database: sa.Engine, name: str, profile: str) -> None:
    recording = recorded(name)
    artist_id = recording["artist"]["id"]
    items = [item for page in recording["listing_pages"] for item in page["items"]]
    with SpotifyServer(Catalogue.from_recordings([RECORDINGS / name]), profile=profile) as server:
        config = SpotifyConfig(
            "demo-client",
            "demo-secret",
            market="DE",
            profile=profile,
            api_url=server.api_url,
            accounts_url=server.accounts_url,
        )
        quota = Quota(database, QuotaLimits(per_second=10_000))
        client = SpotifyClient(config, quota, Deadline.after(60))
        listed = list_artist(client, artist_id, ("album", "single"))
        groups = {str(row["album_id"]): str(row["album_group"]) for row in listed.albums}
        read = read_bodies(client, artist_id, groups)
    assert (listed.complete, listed.error, read.errors) == (True, None, ())
    assert groups == {item["id"]: item["album_group"] for item in items}
    of_bodies = sum(len(body["tracks"]["items"]) for body in recording["albums"].values())
    assert sum(len(body.tracks) for body in read.bodies.values()) == of_bodies
    for row in (body.album for body in read.bodies.values()):
        body = recording["albums"][row["album_id"]]
        assert (row["name"], row["upc"]) == (body["name"], body["external_ids"].get("upc"))
    if profile == "development":
        per_group = [
            sum(item["album_group"] == group for item in items) for group in ("album", "single")
        ]
        expected = 1 + sum(max(1, -(-count // 10)) for count in per_group) + len(groups)
        assert server.count() == 1 + expected
        assert client.requests.total() == 1 + expected


def test_recorded_bodies_become_rows_that_the_catalogue_stores(database: sa.Engine) -> None:
    odd, pitbull = recorded("odd_bodies.json"), recorded("pitbull_artist_albums_page.json")
    rows = [listed_album_row("p", item["album_group"], item) for item in pitbull["items"]]
    tracks: list[Any] = []
    for name in ("kora.json", "gorillat.json"):
        recording = recorded(name)
        artist_row(recording["artist"])
        for body in recording["albums"].values():
            rows.append(album_row("k", "album", body))
            tracks += track_rows("k", body)
    for body in odd["albums"].values():
        rows.append(album_row("o", "album", body))
        tracks += track_rows("o", body)
    seen = {"first_seen_at": "now", "last_seen_at": "now"}
    with database.begin() as connection:
        connection.execute(sa.insert(tables.spotify_albums), [row | seen for row in rows])
        connection.execute(sa.insert(tables.spotify_tracks), tracks)
    assert all(row["image_width"] in (640, None) for row in rows)


def test_recorded_oddities_are_recognised() -> None:
    albums = recorded("odd_bodies.json")["albums"]
    tombstones = [album_id for album_id, body in albums.items() if is_tombstone(body)]
    assert tombstones == ["0SD7WKX5j92D3g3N4JM8N3"]
    assert albums[tombstones[0]]["artists"][0]["id"] == VARIOUS_ARTISTS
    precisions = {album_row("o", "album", b)["release_date_precision"] for b in albums.values()}
    assert precisions >= {"year", "month"}


def test_recorded_isrcs_are_isrcs() -> None:
    for name in ("kora.json", "gorillat.json"):
        for track in recorded(name)["tracks"].values():
            assert normalise_isrc(track_isrc(track)) == track_isrc(track)
    batch = recorded("tracks_batch_with_nulls.json")["tracks"]
    assert [track_isrc(track) for track in batch if track] == ["USIR20400274"]


def test_recorded_errors_have_a_code() -> None:
    codes = {429: ErrorCode.RATE_LIMITED, 404: ErrorCode.NOT_FOUND}
    for answer in recorded("errors.json"):
        body = answer["body"]
        raw = body.encode() if isinstance(body, str) else json.dumps(body).encode()
        headers = {name.title(): value for name, value in answer["headers"].items()}
        refusal = Refusal(answer["status"], headers, raw)
        error = explain(refusal, Question("tracks", "tracks/x", "track x"), now=0.0)
        assert error.code is codes.get(answer["status"], ErrorCode.DEPENDENCY_ERROR)
        if answer["status"] == 429:
            assert error.details["retry_after_s"] == float(headers["Retry-After"])
