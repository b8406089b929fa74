from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.clients.spotify import SpotifyClient
from harmony_pipelines.clients.spotify_config import SpotifyConfig
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.settings import load_settings
from harmony_pipelines.steps import compare
from harmony_pipelines.steps.search_albums import Searched, matched, search_albums
from harmony_pipelines_tests.small_library import SmallLibrary

ALBUM = {"albumartist": "Lumen Tide", "album": "Low Tide", "year": 2024}


class Night:
    """A library whose albums are matched and searched, with a budget of its own."""

    def __init__(self, library: SmallLibrary, server: SpotifyServer, folder: Path) -> None:
        self.library, self.server = library, server
        self.settings = load_settings({"HARMONY_HOME": str(folder)})
        self.daily = 400
        artist = server.catalogue.add_artist("Lumen Tide")
        server.catalogue.add_album(artist, "Low Tide", release_date="2024-03-08", tracks=2)

    def own(self, count: int = 1, **known: object) -> None:
        for _ in range(count):
            self.library.album("tone.flac", "tone.mp3", **(ALBUM | known))
        self.library.plan()

    def client(self) -> SpotifyClient:
        config = SpotifyConfig(
            self.server.client_id,
            self.server.client_secret,
            market="DE",
            api_url=self.server.api_url,
            accounts_url=self.server.accounts_url,
        )
        limits = QuotaLimits(per_second=10_000, daily_requests=self.daily)
        return SpotifyClient(config, Quota(self.library.store.engine, limits), Deadline.after(20))

    def run(self, client: Callable[[], SpotifyClient] | None = None) -> Searched:
        compare.match(self.library.store, self.settings)
        searched = search_albums(
            self.library.store, client or self.client, lambda: self.library.now
        )
        compare.match(self.library.store, self.settings)
        return searched

    @property
    def asked(self) -> int:
        return sum(request.family == "search" for request in self.server.requests)


@pytest.fixture
def night(library: SmallLibrary, served: SpotifyServer, tmp_path: Path) -> Night:
    return Night(library, served, tmp_path / "home")


def refused() -> SpotifyClient:
    raise HarmonyError(ErrorCode.AUTH_REQUIRED, Reason.MISSING_CREDENTIALS, "Nothing is set.")


def test_one_search_finds_the_album_and_the_matcher_decides(night: Night) -> None:
    night.own()
    searched = night.run()
    assert (matched(night.library.store, searched), searched.waiting, night.asked) == (1, 0, 1)
    [row] = night.library.store.table(tables.album_matches)
    assert (row["verdict"], row["reason"]) == ("matched", "alike")
    [album] = night.library.plan().albums
    assert [source.name for source in album.sources] == ["spotify"]


def test_an_album_that_is_found_is_not_asked_about_again(night: Night) -> None:
    night.own()
    night.run()
    night.library.now += timedelta(days=1000)
    assert night.run(refused) == Searched()
    assert night.asked == 1


def test_another_edition_is_unsure_and_gets_no_cover(night: Night) -> None:
    night.own(year=1999)
    assert matched(night.library.store, night.run()) == 0
    [row] = night.library.store.table(tables.album_matches)
    assert row["verdict"] == "unsure"
    assert night.library.plan().albums == ()


def test_what_is_not_found_is_asked_again_after_growing_gaps(night: Night) -> None:
    night.own(album="Nothing Like It")
    days: list[int] = []
    for day in range(30):
        if night.run().asked:
            days.append(day)
        night.library.now += timedelta(days=1)
    assert days == [0, 7, 21]
    assert night.asked == 3


def test_albums_of_watched_artists_are_not_searched(night: Night) -> None:
    watched = {"artist_id": "x", "partition_key": "x", "name": "Lumen Tide", "paused": 0}
    night.library.store.save(tables.watchlist, [watched | {"added_at": "2030"}])
    night.own()
    assert night.run(refused) == Searched()


def test_a_spent_budget_leaves_the_rest_for_another_run(night: Night) -> None:
    night.daily = 2
    for number in range(4):
        night.own(album=f"Album {number}")
    searched = night.run()
    assert (len(searched.asked), searched.waiting) == (2, 2)
    assert searched.stopped
    assert searched.stopped.code is ErrorCode.RATE_LIMITED
    night.daily = 400
    assert len(night.run().asked) == 2
    assert night.asked == 4


def test_a_cooldown_stops_the_searching_at_once(night: Night) -> None:
    night.own(album="One")
    night.own(album="Two")
    night.server.faults.add("search", faults.rate_limited(3600), times=None)
    searched = night.run()
    assert (searched.asked, searched.waiting, night.asked) == ((), 2, 1)
    assert searched.stopped
    assert searched.stopped.code is ErrorCode.RATE_LIMITED


def test_a_bad_answer_costs_its_album_only(night: Night) -> None:
    for number in range(3):
        night.own(album=f"Album {number}")
    night.server.faults.add("search", faults.html_page(), times=1)
    searched = night.run()
    assert len(searched.asked) + searched.waiting == 3
    assert searched.stopped is None
    assert night.run().waiting == 0


def test_albums_of_one_name_cost_one_search(night: Night) -> None:
    night.own(count=2)
    night.run()
    assert night.asked == 1
    assert {r["verdict"] for r in night.library.store.table(tables.album_matches)} == {"matched"}
