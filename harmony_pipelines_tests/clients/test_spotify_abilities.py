from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from harmony_pipelines.clients.database import open_engine
from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.clients.schema import bring_up_to_date
from harmony_pipelines.clients.spotify import SpotifyClient
from harmony_pipelines.clients.spotify_abilities import BATCHES, NONE, NONE_FOR_NOW, App, AppMemory
from harmony_pipelines.clients.spotify_config import AUTO, SpotifyConfig
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError, Reason

BATCH = "/v1/albums*ids=*"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{tmp_path}/harmony.db")
    bring_up_to_date(engine)
    yield engine
    engine.dispose()


class Auto:
    """A user who wrote no profile, and whose app has one."""

    def __init__(self, server: SpotifyServer, engine: sa.Engine) -> None:
        self.server, self.engine = server, engine
        self.quota = Quota(engine, QuotaLimits(per_second=10_000))
        self.artist_id = server.catalogue.add_artist("Lumen Tide")
        self.albums = [
            server.catalogue.add_album(self.artist_id, f"{n}", album_type="single", tracks=1)
            for n in range(12)
        ]
        self.now = 1_800_000_000.0

    def memory(self, client_id: str = "demo-client") -> AppMemory:
        return AppMemory(self.engine, client_id, self.server.api_url, lambda: self.now)

    def client(self) -> SpotifyClient:
        """That of another run: it knows what is remembered."""
        config = SpotifyConfig(
            self.server.client_id,
            self.server.client_secret,
            market="DE",
            profile=AUTO,
            api_url=self.server.api_url,
            accounts_url=self.server.accounts_url,
        )
        patience = Patience(Deadline.after(60), sleep=lambda _: None)
        return SpotifyClient(config, self.quota, patience, App(AUTO, self.memory()))

    def costs(self) -> dict[str, int]:
        """What a listing of 12 singles and their bodies costs by family, in a run of its own."""
        client = self.client()
        listing = client.listing(self.artist_id, "single")
        assert len(listing) == 12
        assert all(isinstance(answer, dict) for _, answer in client.albums(self.albums))
        return {family: n for family, n in client.requests.items() if family != "token"}


@pytest.fixture(params=["development", "extended"])
def auto(request: Any, database: sa.Engine) -> Iterator[Auto]:
    with SpotifyServer(Catalogue(), profile=request.param) as server:
        yield Auto(server, database)


@pytest.fixture
def extended(database: sa.Engine) -> Iterator[Auto]:
    with SpotifyServer(Catalogue(), profile="extended") as server:
        yield Auto(server, database)


def test_what_the_app_may_do_is_found_out_once_and_remembered(auto: Auto) -> None:
    is_extended = auto.server.profile == "extended"
    cost = {"artist_albums": 1, "albums": 1} if is_extended else {"artist_albums": 2, "albums": 12}
    assert auto.costs() == {"probe": 1, **cost}
    assert auto.quota.spent("albums") == cost["albums"] + 1
    assert auto.costs() == cost
    assert auto.memory().recall() == (BATCHES if is_extended else NONE)


def test_another_app_and_another_address_are_found_out_for_themselves(extended: Auto) -> None:
    extended.costs()
    assert extended.memory("another-client").recall() is None
    other = AppMemory(extended.engine, "demo-client", "https://api.example.com/v1")
    assert other.recall() is None


def test_a_batch_that_is_refused_is_asked_for_one_by_one_from_then_on(extended: Auto) -> None:
    extended.costs()
    extended.server.faults.add(BATCH, faults.forbidden(), times=None)
    assert extended.costs() == {"artist_albums": 1, "albums": 1 + 12}
    assert extended.costs() == {"artist_albums": 1, "albums": 12}
    extended.now += 8 * 86_400  # the refusal may have had other reasons: it is tried again
    assert extended.costs() == {"probe": 1, "artist_albums": 2, "albums": 12}


def test_a_page_that_is_too_long_is_asked_for_in_short_ones(extended: Auto) -> None:
    extended.costs()
    long_page = "/v1/artists/*limit=50*"
    extended.server.faults.add(long_page, faults.server_error(400, "Invalid limit"), times=None)
    assert extended.costs() == {"artist_albums": 1 + 2, "albums": 1}
    assert extended.costs() == {"artist_albums": 2, "albums": 1}


@pytest.mark.parametrize(
    ("fault", "remembered"),
    [
        (faults.rate_limited(1), NONE_FOR_NOW),
        (faults.server_error(400, "Bad request"), NONE),
        (faults.empty_not_found(), NONE),
        (faults.server_error(), None),
        (faults.html_page(), None),
    ],
)
def test_a_probe_that_fails_is_asked_once_and_costs_the_run_nothing_else(
    extended: Auto, fault: faults.Fault, remembered: object
) -> None:
    extended.server.faults.add(BATCH, fault, times=None)
    assert extended.costs() == {"probe": 1, "artist_albums": 2, "albums": 12}
    assert extended.memory().recall() == remembered


def test_a_probe_that_meets_what_is_everybody_s_ends_the_run(extended: Auto) -> None:
    extended.server.faults.add(BATCH, faults.premium_lapsed(), times=None)
    with pytest.raises(HarmonyError) as failed:
        extended.costs()
    assert failed.value.reason is Reason.PREMIUM_LAPSED
    assert extended.memory().recall() is None


def test_a_spent_budget_for_albums_does_not_keep_listings_from_being_read(extended: Auto) -> None:
    limits = QuotaLimits(per_second=10_000, by_family={"albums": 0})
    extended.quota = Quota(extended.engine, limits)
    assert len(extended.client().listing(extended.artist_id, "single")) == 12
    assert extended.memory().recall() is None
