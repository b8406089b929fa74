"""The bodies that wait, asked for one by one or several at once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.backlog import Backlog
from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.clients.catalogue import utc_text
from harmony_pipelines.clients.discographies import Attempt, save_discography
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.clients.spotify import SpotifyClient, list_artist
from harmony_pipelines.clients.spotify_config import DEVELOPMENT, EXTENDED, SpotifyConfig
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.steps.backlog import BodyWork

NOW = datetime.now(UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path}/harmony.db")
    yield store
    store.close()


def client_of(server: SpotifyServer, store: Store) -> SpotifyClient:
    config = SpotifyConfig(
        server.client_id,
        server.client_secret,
        market="DE",
        profile=server.profile,
        api_url=server.api_url,
        accounts_url=server.accounts_url,
    )
    quota = Quota(store.engine, QuotaLimits(per_second=10_000))
    return SpotifyClient(config, quota, Deadline.after(60))


def work_over_artists(
    server: SpotifyServer, store: Store, artists: int, albums: int
) -> tuple[BodyWork, list[str]]:
    """The bodies of artists whose listings were just read; the artists in the order of spending."""
    client = client_of(server, store)
    ids: list[str] = []
    for number in range(artists):
        artist_id = server.catalogue.add_artist(f"Artist {number}")
        for album in range(albums):
            released = f"{1990 - number}-01-{album + 1:02}"
            server.catalogue.add_album(artist_id, f"Album {album}", release_date=released, tracks=1)
        row = {"artist_id": artist_id, "partition_key": artist_id, "name": "", "paused": 0}
        store.save(tables.watchlist, [{**row, "groups": '["album"]', "added_at": utc_text(NOW)}])
        listed = list_artist(client, artist_id, ["album"])
        save_discography(store, listed, Attempt(NOW, "run", "DE"))
        ids.append(artist_id)
    until = Deadline.after(60)
    return BodyWork(client, store, Backlog(store, NOW), until, until), ids


@pytest.mark.parametrize("profile", [DEVELOPMENT, EXTENDED])
def test_what_another_run_reads_meanwhile_is_not_asked_for_again(
    profile: str, store: Store
) -> None:
    albums = tables.spotify_albums
    with SpotifyServer(Catalogue(), profile=profile) as server:
        work, [first, _, third] = work_over_artists(server, store, artists=3, albums=2)
        server.latency_s = 0.5
        done = work.artists()
        assert next(done) == first
        one = store.table(albums, albums.c.artist_id == third)[0]["album_id"]
        later = {"body_due_at": utc_text(NOW + timedelta(days=9))}
        with store.writing() as connection:
            connection.execute(sa.update(albums).where(albums.c.album_id == one).values(**later))
        rest = list(done)
        asked = [request for request in server.requests if request.family == "albums"]

    ids = [album for each in asked for album in ids_of(each.path, each.query.get("ids", ""))]
    assert len(ids) == 5
    assert one not in ids
    assert third in rest


def ids_of(path: str, several: str) -> list[str]:
    return several.split(",") if several else [path.rpartition("/")[2]]


def test_several_threads_ask_for_each_body_once(store: Store) -> None:
    with SpotifyServer(Catalogue(), profile=EXTENDED) as server:
        work, ids = work_over_artists(server, store, artists=6, albums=23)
        work.workers = 4
        assert sorted(work.artists()) == sorted(ids)
        assert server.count("albums") == 12

    assert store.count(tables.spotify_tracks) == 6 * 23
    assert Backlog(store, NOW).how_many_bodies() == {}
