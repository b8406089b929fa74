import gc
import json
import logging
import math
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_pipelines.clients.database import open_engine
from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.clients.schema import bring_up_to_date
from harmony_pipelines.clients.spotify import (
    BodiesRead,
    Look,
    SpotifyClient,
    concerns_everybody,
    list_artist,
    read_bodies,
    waits_for_tracks,
)
from harmony_pipelines.clients.spotify_config import SpotifyConfig
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.exchange import Answer
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.discography import ArtistCatalogue
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

SECRET = "demo-secret"


class Spotify:
    """A loopback Spotify, a quota of its own, and clients that do not really wait."""

    def __init__(self, server: SpotifyServer, engine: sa.Engine) -> None:
        self.server = server
        self.catalogue = server.catalogue
        self.quota = Quota(engine, QuotaLimits(per_second=10_000))
        self.waits: list[float] = []
        self.config = SpotifyConfig(
            "demo-client",
            SECRET,
            market="DE",
            profile=server.profile,
            api_url=server.api_url,
            accounts_url=server.accounts_url,
            call_seconds=10,
        )
        self.artist_id = self.catalogue.add_artist("Sigur Rós")

    def client(self, seconds: float = 60, **config: Any) -> SpotifyClient:
        patience = Patience(Deadline.after(seconds), sleep=self.waits.append)
        return SpotifyClient(replace(self.config, **config), self.quota, patience)

    def add(self, count: int, album_type: str = "single", tracks: int = 1) -> list[str]:
        return [
            self.catalogue.add_album(
                self.artist_id,
                f"{album_type} {number}",
                album_type=album_type,
                release_date=f"{1950 + number}-01-01",
                tracks=tracks,
            )
            for number in range(count)
        ]

    def families(self) -> dict[str, int]:
        asked = [request.family for request in self.server.requests]
        return {family: asked.count(family) for family in asked}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{tmp_path}/harmony.db")
    bring_up_to_date(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def spotify(database: sa.Engine) -> Iterator[Spotify]:
    with SpotifyServer(Catalogue()) as server:
        yield Spotify(server, database)


@pytest.fixture
def extended(database: sa.Engine) -> Iterator[Spotify]:
    with SpotifyServer(Catalogue(), profile="extended") as server:
        yield Spotify(server, database)


def read_artist(
    client: SpotifyClient, artist_id: str, groups: tuple[str, ...]
) -> tuple[ArtistCatalogue, BodiesRead]:
    """The artist's listings and, if they came whole, the bodies of all that is listed."""
    listed = list_artist(client, artist_id, groups)
    wanted = {str(row["album_id"]): str(row["album_group"]) for row in listed.albums}
    return listed, read_bodies(client, artist_id, {} if listed.error else wanted)


def failure(ask: Callable[[], object]) -> HarmonyError:
    with pytest.raises(HarmonyError) as failed:
        ask()
    return failed.value


# What is asked


@pytest.mark.parametrize("singles", [0, 1, 9, 10, 11, 20, 23])
def test_a_first_fill_costs_what_it_must_and_no_more(spotify: Spotify, singles: int) -> None:
    spotify.add(singles)
    spotify.add(2, "album", tracks=3)
    spotify.catalogue.add_album(spotify.artist_id, "Long", tracks=101)
    client = spotify.client()
    listed, read = read_artist(client, spotify.artist_id, ("single", "album"))
    expected = {
        "token": 1,
        "artists": 1,
        "artist_albums": max(1, -(-singles // 10)) + 1,
        "albums": singles + 3,
        "album_tracks": 2,
    }
    assert client.requests == spotify.families() == expected
    assert (listed.complete, listed.error, read.errors) == (True, None, ())
    assert len(listed.albums) == len(read.bodies) == singles + 3
    assert sum(len(body.tracks) for body in read.bodies.values()) == singles + 6 + 101


def test_an_extended_app_needs_fewer_calls(extended: Spotify) -> None:
    extended.add(45, tracks=2)
    client = extended.client()
    listed, read = read_artist(client, extended.artist_id, ("album", "single"))
    assert client.requests == {"token": 1, "artists": 1, "artist_albums": 2, "albums": 3}
    assert len(listed.albums) == 45
    assert sum(len(body.tracks) for body in read.bodies.values()) == 90


def test_every_request_names_the_market_and_asks_only_for_what_it_may(spotify: Spotify) -> None:
    spotify.add(11)
    read_artist(spotify.client(), spotify.artist_id, ("album", "single"))
    spotify.client().search_artists("Sigur Rós")
    asked = [request for request in spotify.server.requests if request.family != "token"]
    assert {request.query["market"] for request in asked} == {"DE"}
    assert not any("country" in request.query for request in asked)
    assert [r.query["offset"] for r in asked if r.family == "artist_albums"] == ["0", "0", "10"]
    assert {r.query["limit"] for r in asked if r.family in ("artist_albums", "search")} == {"10"}


def test_a_name_is_searched_with_one_request(spotify: Spotify) -> None:
    client = spotify.client()
    assert [found["id"] for found in client.search_artists("Sigur Rós")] == [spotify.artist_id]
    assert client.requests == {"token": 1, "search": 1}


def test_tracks_have_their_isrc(spotify: Spotify) -> None:
    [album_id] = spotify.add(1)
    [track] = spotify.catalogue.albums[album_id].tracks
    [(_, body)] = spotify.client().tracks([str(track.track_id)])
    assert isinstance(body, dict)
    assert body["external_ids"]["isrc"] == track.isrc


def test_a_total_that_lies_is_not_believed(spotify: Spotify) -> None:
    spotify.add(12)
    spotify.catalogue.reported_totals[spotify.artist_id] = 3
    listing = spotify.client().listing(spotify.artist_id, "single")
    assert (len(listing), listing.ended) == (12, True)


def test_a_listing_that_never_ends_is_left(spotify: Spotify) -> None:
    spotify.add(10)

    def say_there_is_more(page: Any) -> None:
        page["next"] = "http://example.com/elsewhere"

    spotify.server.faults.add("artist_albums", faults.edited(say_there_is_more), times=None)
    client = spotify.client()
    assert len(client.listing(spotify.artist_id, "single")) == 10
    assert client.requests["artist_albums"] == 2


def test_a_listing_without_end_is_left_at_a_limit(extended: Spotify) -> None:
    extended.add(50)

    def ever_more(page: Any) -> None:
        offset = page["offset"]
        for number, item in enumerate(page["items"]):
            item["id"] = f"album{offset + number}"
        page["next"] = "more"

    def full(page: Any) -> Any:
        pages.setdefault("first", json.dumps(page))
        ever = json.loads(pages["first"]) | {"offset": page["offset"]}
        ever_more(ever)
        return ever

    pages: dict[str, str] = {}
    extended.server.faults.add("artist_albums", faults.edited(full), times=None)
    client = extended.client()
    read = list_artist(client, extended.artist_id, ("single",), Look(with_artist=False))
    assert client.requests["artist_albums"] == 100
    assert len(read.albums) == 5000
    assert read.capped == {"single"}


def test_a_page_that_repeats_itself_is_not_asked_for_again(spotify: Spotify) -> None:
    spotify.add(30)
    pages: list[Any] = []

    def always_the_first(page: Any) -> Any:
        pages.append(page)
        return pages[0]

    spotify.server.faults.add("artist_albums", faults.edited(always_the_first), times=None)
    assert len(spotify.client().listing(spotify.artist_id, "single")) == 10
    assert len(pages) == 2


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    there=st.integers(0, 60),
    added=st.lists(st.integers(0, 9), max_size=8),
    totals=st.lists(st.integers(-1, 10_000), max_size=8),
)
def test_a_listing_that_grows_while_it_is_read_misses_nothing_and_repeats_nothing(
    spotify: Spotify, there: int, added: list[int], totals: list[int]
) -> None:
    spotify.artist_id = spotify.catalogue.add_artist("Whoever")
    before = spotify.add(there)

    def grow(page: Any) -> None:
        for _ in range(added.pop() if added else 0):
            spotify.catalogue.add_album(
                spotify.artist_id, "Newest", album_type="single", release_date="2026-01-01"
            )
        page["total"] = totals.pop() if totals else page["total"]

    spotify.server.faults.clear()
    spotify.server.faults.add("artist_albums", faults.edited(grow), times=None)
    listing = spotify.client().listing(spotify.artist_id, "single")
    ids = [album["id"] for album in listing]
    assert listing.ended
    assert len(ids) == len(set(ids))
    assert set(before) <= set(ids)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pages=st.lists(
        st.tuples(
            st.lists(st.none() | st.integers(0, 40).map("album{}".format), max_size=12),
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_whatever_pages_come_a_listing_ends_and_says_each_album_once(
    spotify: Spotify, pages: list[tuple[list[str | None], bool]]
) -> None:
    def drawn(page: Any) -> None:
        number = page["offset"] // 10
        ids, goes_on = pages[number] if number < len(pages) else ([], True)
        page["items"] = [one and {"id": one} for one in ids]
        page["next"] = "http://example.com/elsewhere" if goes_on else None

    spotify.server.faults.clear()
    spotify.server.faults.add("artist_albums", faults.edited(drawn), times=None)
    client = spotify.client()
    ids = [album["id"] for album in client.listing(spotify.artist_id, "single")]
    asked = client.requests["artist_albums"]
    read = pages[:asked]
    assert 1 <= asked <= len(pages) + 1
    assert ids == list(dict.fromkeys(one for page, _ in read for one in page if one))
    assert all(goes_on for _, goes_on in read[:-1])


def test_albums_an_artist_only_appears_on_are_capped(spotify: Spotify) -> None:
    other = spotify.catalogue.add_artist("Various")
    for number in range(25):
        spotify.catalogue.add_album(other, f"Sampler {number}", appears_on=[spotify.artist_id])
    client = spotify.client(appears_on_max=15)
    read = list_artist(client, spotify.artist_id, ("appears_on",))
    assert (len(read.albums), read.complete) == (15, True)
    assert read.capped == {"appears_on"}
    assert client.requests["artist_albums"] == 2


def test_an_album_of_two_groups_counts_for_the_first(spotify: Spotify) -> None:
    [album_id] = spotify.add(1, "album")
    spotify.server.faults.add(
        "/v1/artists/*include_groups=single*",
        faults.edited(lambda page: page["items"].append({"id": album_id})),
        times=None,
    )
    read = list_artist(spotify.client(), spotify.artist_id, ("single", "album"))
    assert [(row["album_id"], row["album_group"]) for row in read.albums] == [(album_id, "album")]


def test_one_combined_listing_tells_the_groups_apart(spotify: Spotify) -> None:
    spotify.add(3)
    spotify.add(2, "album")
    client = spotify.client()
    read = list_artist(client, spotify.artist_id, ("album", "single"), Look(True, False))
    assert client.requests == {"token": 1, "artist_albums": 1}
    groups = [row["album_group"] for row in read.albums]
    assert (groups.count("album"), groups.count("single")) == (2, 3)
    assert (read.artist, read.complete) == (None, True)


def test_albums_an_artist_only_appears_on_are_never_listed_with_its_own(spotify: Spotify) -> None:
    other = spotify.catalogue.add_artist("Various")
    spotify.catalogue.add_album(other, "Guest", album_type="single", appears_on=[spotify.artist_id])
    groups = ("single", "appears_on")
    read = list_artist(spotify.client(), spotify.artist_id, groups, Look(combined=True))
    assert [row["album_group"] for row in read.albums] == ["appears_on"]


def test_bodies_are_asked_for_in_the_order_given(spotify: Spotify) -> None:
    oldest, gone, newest = spotify.add(3)
    spotify.catalogue.remove_album(gone)
    groups = dict.fromkeys((newest, gone, oldest), "single")
    read = read_bodies(spotify.client(), spotify.artist_id, groups)
    asked = [r.path[-22:] for r in spotify.server.requests if r.family == "albums"]
    assert asked == [newest, gone, oldest]
    assert (read.bodies.keys(), read.gone, read.errors) == ({newest, oldest}, {gone}, ())
    assert read.bodies[oldest].album["album_group"] == "single"


def test_a_listing_goes_on_where_only_the_artists_budget_is_spent(
    spotify: Spotify, database: sa.Engine
) -> None:
    spotify.add(3)
    limits = QuotaLimits(per_second=10_000, by_family={"artists": 0})
    spotify.quota = Quota(database, limits)
    read = list_artist(spotify.client(), spotify.artist_id, ("single",))
    assert (read.artist, read.complete, len(read.albums)) == (None, True, 3)


def test_a_look_at_the_newest_leaves_a_listing_where_it_meets_what_is_known(
    spotify: Spotify,
) -> None:
    known = spotify.add(25)
    spotify.add(3, "album")
    client = spotify.client()
    look = Look(with_artist=False, known=frozenset(known))
    read = list_artist(client, spotify.artist_id, ("album", "single"), look)
    assert client.requests == {"token": 1, "artist_albums": 2}
    assert (read.complete, read.newest_only, read.capped) == (True, True, {"single"})
    assert len(read.albums) == 3 + 10


def test_a_look_at_the_newest_goes_on_while_all_of_it_is_new(spotify: Spotify) -> None:
    known = spotify.add(5)
    newer = [
        spotify.catalogue.add_album(spotify.artist_id, f"New {day}", release_date=f"2026-01-{day}")
        for day in range(10, 22)
    ]
    client = spotify.client()
    look = Look(with_artist=False, known=frozenset(known))
    read = list_artist(client, spotify.artist_id, ("album", "single"), look)
    assert {row["album_id"] for row in read.albums} == {*newer, *known}


def test_an_app_without_batches_is_told_so(extended: Spotify) -> None:
    extended.add(2)
    extended.server.faults.add("albums", faults.forbidden())
    listed, read = read_artist(extended.client(), extended.artist_id, ("single",))
    assert {error.reason for error in read.errors} == {Reason.ENDPOINT_REMOVED}
    assert "HARMONY_SPOTIFY_PROFILE=development" in read.errors[0].message
    assert (listed.complete, read.bodies) == (True, {})


def test_nulls_in_a_batch_are_albums_that_spotify_does_not_know(extended: Spotify) -> None:
    known, withdrawn = extended.add(2)
    extended.server.faults.add(
        "albums",
        faults.edited(
            lambda batch: {"albums": [a if a["id"] == known else None for a in batch["albums"]]}
        ),
    )
    answers = dict(extended.client().albums([known, withdrawn]))
    assert isinstance(answers[known], dict)
    unknown = answers[withdrawn]
    assert isinstance(unknown, HarmonyError)
    assert (unknown.code, unknown.reason) == (ErrorCode.NOT_FOUND, Reason.UNKNOWN_ALBUM)


# What goes wrong


@pytest.mark.parametrize(
    ("fault", "code", "reason", "tries"),
    [
        (faults.server_error(503), ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR, 3),
        (faults.server_error(408), ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR, 3),
        (faults.html_page(), ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER, 3),
        (faults.html_page(502), ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR, 3),
        (faults.null_body(), ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER, 3),
        (faults.half_body(), ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER, 3),
        (faults.cut_off(), ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER, 3),
        (faults.body(b"{}"), ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER, 3),
        (faults.body(b"[]"), ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER, 3),
        (faults.body(b"[" * 200_000), ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER, 3),
        (faults.body(b"\xff\xfe\0"), ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER, 3),
        (faults.connection_reset(), ErrorCode.DEPENDENCY_ERROR, Reason.CONNECTION_FAILED, 3),
        (faults.endless(), ErrorCode.PAYLOAD_TOO_LARGE, Reason.TOO_MANY_BYTES, 1),
        (faults.premium_lapsed(), ErrorCode.AUTH_REQUIRED, Reason.PREMIUM_LAPSED, 1),
        (faults.forbidden(), ErrorCode.AUTH_REQUIRED, Reason.FORBIDDEN, 1),
        (faults.string_error(403), ErrorCode.AUTH_REQUIRED, Reason.FORBIDDEN, 1),
        (faults.string_error(500), ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR, 3),
        (faults.empty_not_found(), ErrorCode.NOT_FOUND, Reason.UNKNOWN_ARTIST, 1),
        (
            faults.body(b"", status=302),
            ErrorCode.DEPENDENCY_ERROR,
            Reason.REQUEST_REFUSED,
            1,
        ),
        (
            faults.body(b'{"error":{"message":"Invalid limit"}}', status=400),
            ErrorCode.DEPENDENCY_ERROR,
            Reason.REQUEST_REFUSED,
            1,
        ),
    ],
)
def test_every_fault_is_named_and_only_what_may_pass_is_tried_again(
    spotify: Spotify, fault: faults.Fault, code: ErrorCode, reason: Reason, tries: int
) -> None:
    spotify.server.faults.add("artists", fault, times=None)
    client = spotify.client(most_bytes=2**20)
    error = failure(lambda: client.artist(spotify.artist_id))
    assert (error.code, error.reason) == (code, reason)
    assert spotify.artist_id in error.message
    assert spotify.server.count("artists") == client.requests["artists"] == tries
    assert spotify.quota.spent("artists") == tries
    assert client.requests["retries"] == tries - 1
    assert len(spotify.waits) == tries - 1
    assert all(0 < wait <= 8 for wait in spotify.waits)


def test_a_fault_that_passes_is_not_noticed(spotify: Spotify) -> None:
    spotify.server.faults.add("artists", faults.server_error(), times=2)
    assert spotify.client().artist(spotify.artist_id)["id"] == spotify.artist_id


@pytest.mark.parametrize("path", ["items", "tracks"])
def test_an_answer_without_its_essentials_is_a_bad_one(spotify: Spotify, path: str) -> None:
    spotify.add(1)

    def forget(body: Any) -> None:
        body.pop(path, None)

    spotify.server.faults.add("artist_albums", faults.edited(forget), times=None)
    spotify.server.faults.add("albums", faults.edited(forget), times=None)
    listed, read = read_artist(spotify.client(), spotify.artist_id, ("single",))
    error = listed.error or read.errors[0]
    assert error.reason is Reason.BAD_ANSWER
    assert path in error.message
    assert listed.complete is (path == "tracks")


def test_an_expired_token_is_replaced_once(spotify: Spotify) -> None:
    client = spotify.client()
    client.artist(spotify.artist_id)
    spotify.server.expire_tokens()
    client.artist(spotify.artist_id)
    assert client.requests == {"token": 2, "artists": 3, "retries": 1}


def test_a_token_that_is_always_refused_is_not_asked_for_for_ever(spotify: Spotify) -> None:
    spotify.server.faults.add("artists", faults.token_expired(), times=None)
    client = spotify.client()
    error = failure(lambda: client.artist(spotify.artist_id))
    assert (error.code, error.reason) == (ErrorCode.AUTH_REQUIRED, Reason.TOKEN_REFUSED)
    assert client.requests == {"token": 2, "artists": 2, "retries": 1}


def test_wrong_credentials_cost_no_catalogue_request(spotify: Spotify) -> None:
    client = spotify.client(client_secret="not-the-secret-of-this-app")
    error = failure(lambda: client.artist(spotify.artist_id))
    assert (error.code, error.reason) == (ErrorCode.AUTH_REQUIRED, Reason.INVALID_CLIENT)
    assert "Invalid client secret" in error.message
    assert spotify.families() == {"token": 1}
    assert spotify.quota.spent("artists") == 0


def test_no_credentials_ask_nobody(spotify: Spotify) -> None:
    error = failure(lambda: spotify.client(client_id=""))
    assert error.reason is Reason.MISSING_CREDENTIALS


@pytest.mark.parametrize(
    "answer", [b"null", b"[]", b"{}", b'{"access_token": 7}', b"<html>", b'{"access_token":"\xc3"}']
)
def test_a_token_answer_that_makes_no_sense_is_a_bad_answer(
    spotify: Spotify, answer: bytes
) -> None:
    spotify.server.faults.add("token", faults.body(answer), times=None)
    client = spotify.client()
    error = failure(lambda: client.artist(spotify.artist_id))
    assert error.reason is Reason.BAD_ANSWER
    assert spotify.families() == {"token": 3}
    assert spotify.quota.spent("artists") == 0


# Rate limits


def test_a_short_rest_is_waited_for(spotify: Spotify) -> None:
    spotify.server.faults.add("artists", faults.rate_limited(0.3))
    patience = Patience(Deadline.after(20))
    client = SpotifyClient(spotify.config, spotify.quota, patience)
    before = time.monotonic()
    client.artist(spotify.artist_id)
    assert time.monotonic() - before >= 0.28
    assert spotify.quota.cooldown_left() == 0


def test_a_missing_retry_after_is_a_few_seconds(spotify: Spotify) -> None:
    spotify.server.faults.add("artists", faults.rate_limited(None), times=None)
    error = failure(lambda: spotify.client(seconds=3).artist(spotify.artist_id))
    assert (error.reason, error.details["retry_after_s"]) == (Reason.RATE_LIMIT, 5.0)


def test_a_long_rest_is_stored_and_not_waited_for(spotify: Spotify) -> None:
    spotify.server.faults.add("artists", faults.rate_limited(600))
    error = failure(lambda: spotify.client().artist(spotify.artist_id))
    assert (error.code, error.reason) == (ErrorCode.RATE_LIMITED, Reason.RATE_LIMIT)
    assert error.details["retry_after_s"] == 600
    assert spotify.quota.cooldown_left() == pytest.approx(600, abs=5)
    again = failure(lambda: spotify.client().artist(spotify.artist_id))
    assert again.reason is Reason.COOLDOWN
    assert spotify.families() == {"token": 1, "artists": 1}


def test_a_rest_that_passes_the_deadline_is_stored_too(spotify: Spotify) -> None:
    spotify.server.faults.add("artists", faults.rate_limited(30))
    failure(lambda: spotify.client(seconds=10).artist(spotify.artist_id))
    assert spotify.quota.cooldown_left() == pytest.approx(30, abs=2)
    assert spotify.waits == []


def test_a_rest_until_a_date_is_understood(spotify: Spotify) -> None:
    until = datetime.now(UTC) + timedelta(seconds=500)
    spotify.server.faults.add("artists", faults.rate_limited(until))
    error = failure(lambda: spotify.client().artist(spotify.artist_id))
    assert error.details["retry_after_s"] == pytest.approx(500, abs=5)


def test_a_spent_quota_is_a_cooldown_and_a_lower_budget(spotify: Spotify) -> None:
    client = spotify.client()
    for _ in range(5):
        client.artist(spotify.artist_id)
    spotify.server.faults.add("artists", faults.rate_limited(49_861, quota=True))
    error = failure(lambda: client.artist(spotify.artist_id))
    assert (error.reason, error.details["retry_after_s"]) == (Reason.QUOTA_EXCEEDED, 49_861)
    assert concerns_everybody(error)
    assert spotify.quota.cooldown_left() == pytest.approx(49_861, abs=5)
    assert spotify.quota.budget("artists") == 4
    assert "The budget for artists is now 4 requests a day" in error.message


def test_a_spent_budget_asks_nobody(spotify: Spotify, database: sa.Engine) -> None:
    spotify.quota = Quota(database, QuotaLimits(per_second=10_000, daily_requests=0))
    error = failure(lambda: spotify.client().artist(spotify.artist_id))
    assert error.reason is Reason.BUDGET_SPENT
    assert spotify.families() == {}


# Partial readings


def test_bodies_that_fail_leave_the_listing_whole(spotify: Spotify) -> None:
    ids = spotify.add(6)
    spotify.server.faults.add("albums", faults.rate_limited(3600, quota=True), after=2)
    listed, read = read_artist(spotify.client(), spotify.artist_id, ("single",))
    assert (listed.complete, len(listed.albums)) == (True, 6)
    assert read.bodies.keys() == set(ids[4:])
    assert [error.reason for error in read.errors] == [Reason.QUOTA_EXCEEDED]
    assert spotify.server.count("albums") == 3


def test_one_album_that_cannot_be_had_does_not_hold_up_the_others(spotify: Spotify) -> None:
    broken, gone, good = spotify.add(3)
    spotify.server.faults.add(f"/v1/albums/{broken}", faults.server_error(), times=None)
    spotify.server.faults.add(f"/v1/albums/{gone}", faults.empty_not_found(), times=None)
    _, read = read_artist(spotify.client(), spotify.artist_id, ("single",))
    assert (read.bodies.keys(), read.gone) == ({good}, {gone})
    assert [error.reason for error in read.errors] == [Reason.SERVER_ERROR]


def test_a_body_whose_tracks_are_cut_off_is_not_half_stored(spotify: Spotify) -> None:
    spotify.catalogue.add_album(spotify.artist_id, "Long", album_type="single", tracks=60)
    spotify.server.faults.add("album_tracks", faults.server_error(), times=None)
    _, read = read_artist(spotify.client(), spotify.artist_id, ("single",))
    assert (read.bodies, len(read.errors)) == ({}, 1)


def test_albums_of_a_batch_do_not_wait_for_the_further_tracks_of_one(
    extended: Spotify, database: sa.Engine
) -> None:
    long = extended.catalogue.add_album(extended.artist_id, "Long", tracks=60)
    short = extended.add(2)
    limits = QuotaLimits(per_second=10_000, by_family={"album_tracks": 0})
    extended.quota = Quota(database, limits)
    groups = dict.fromkeys([long, *short], "single")
    read = read_bodies(extended.client(), extended.artist_id, groups)
    assert (read.bodies.keys(), len(read.errors)) == ({*short}, 1)
    assert waits_for_tracks(read.errors[0])


def test_a_listing_that_fails_is_not_complete_but_kept(spotify: Spotify) -> None:
    spotify.add(1, "album")
    spotify.add(15)
    spotify.server.faults.add("/v1/artists/*offset=10*", faults.server_error(), times=None)
    read, _ = read_artist(spotify.client(), spotify.artist_id, ("album", "single"))
    assert (read.complete, len(read.albums)) == (False, 11)
    assert read.artist is not None
    assert read.error is not None
    assert spotify.server.count("albums") == 0


def test_where_nothing_came_the_failure_is_raised(spotify: Spotify) -> None:
    spotify.server.faults.add("artists", faults.empty_not_found())
    error = failure(lambda: read_artist(spotify.client(), spotify.artist_id, ("single",)))
    assert error.reason is Reason.UNKNOWN_ARTIST
    spotify.server.faults.add("artist_albums", faults.empty_not_found())
    error = failure(
        lambda: list_artist(
            spotify.client(), spotify.artist_id, ("single",), Look(with_artist=False)
        )
    )
    assert error.reason is Reason.UNKNOWN_ARTIST


# Time


@pytest.mark.parametrize("fault", [faults.hang(), faults.slow_drip()])
def test_no_call_is_longer_than_its_limit(spotify: Spotify, fault: faults.Fault) -> None:
    spotify.server.faults.add("artists", fault, times=None)
    before = time.monotonic()
    error = failure(lambda: spotify.client(call_seconds=0.4).artist(spotify.artist_id))
    assert time.monotonic() - before < 3
    assert (error.code, error.reason) == (ErrorCode.DEADLINE_EXCEEDED, Reason.TIMEOUT)
    assert spotify.server.count("artists") == 3


@pytest.mark.parametrize("family", ["artists", "token"])
def test_the_deadline_ends_a_call_in_its_middle(spotify: Spotify, family: str) -> None:
    spotify.server.faults.add(family, faults.slow_drip(), times=None)
    before = time.monotonic()
    error = failure(lambda: spotify.client(seconds=0.5).artist(spotify.artist_id))
    assert time.monotonic() - before < 2
    assert (error.code, error.reason) == (ErrorCode.DEADLINE_EXCEEDED, Reason.DEADLINE)
    assert concerns_everybody(error)


@pytest.mark.parametrize(
    ("first", "drop"),
    [
        pytest.param(b"HTTP/1.1 200 OK\r\n", b"X-Drip: 1\r\n", id="headers"),
        pytest.param(b'HTTP/1.0 200 OK\r\n\r\n{"id": "1"}', b" ", id="a body without length"),
    ],
)
def test_a_call_whose_answer_drips_ends_and_leaves_no_thread(
    spotify: Spotify, first: bytes, drop: bytes
) -> None:
    over = threading.Event()

    def drip(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            connection.sendall(first)
            while not over.wait(0.05):
                try:
                    connection.sendall(drop)
                except OSError:
                    return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        before = time.monotonic()
        error = failure(lambda: spotify.client(0.5, api_url=url).artist(spotify.artist_id))
        assert time.monotonic() - before < 2
        assert error.code is ErrorCode.DEADLINE_EXCEEDED
        thread.join(5)
        over.set()
        assert not thread.is_alive()
    until = time.monotonic() + 5
    while any(t.name in ("connect", "exchanges") for t in threading.enumerate()):
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.parametrize("fault", [faults.hang(), faults.rate_limited(30), faults.server_error()])
def test_the_end_of_the_run_ends_every_wait(spotify: Spotify, fault: faults.Fault) -> None:
    spotify.server.faults.add("artists", fault, times=None)
    stop = threading.Event()
    client = SpotifyClient(spotify.config, spotify.quota, Patience(Deadline.after(60), stop))
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    before = time.monotonic()
    error = failure(lambda: client.artist(spotify.artist_id))
    assert time.monotonic() - before < 2
    assert (error.code, error.reason) == (ErrorCode.CONFLICT, Reason.RUN_OVER)
    timer.join()


def test_the_end_of_the_run_ends_the_wait_for_a_connection(spotify: Spotify) -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, ExitStack() as waiting:
        address = listener.getsockname()
        for _ in range(2):  # one is connected, one waits for its turn: no third gets an answer
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(address)
        config = replace(spotify.config, api_url=f"http://127.0.0.1:{address[1]}/v1")
        client = SpotifyClient(config, spotify.quota, Patience(Deadline.after(60), stop))
        timer = threading.Timer(0.3, stop.set)
        timer.start()
        before = time.monotonic()
        error = failure(lambda: client.artist(spotify.artist_id))
        assert 0.3 <= time.monotonic() - before < 2
        assert (error.code, error.reason) == (ErrorCode.CONFLICT, Reason.RUN_OVER)
        timer.join()


def test_nothing_listens(spotify: Spotify) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    client = spotify.client(api_url=f"http://127.0.0.1:{port}/v1")
    error = failure(lambda: client.artist(spotify.artist_id))
    assert error.reason is Reason.CONNECTION_FAILED


# Threads and secrets


def test_threads_share_one_token(spotify: Spotify) -> None:
    ids = spotify.add(12)
    client = spotify.client()
    with ThreadPoolExecutor(8) as pool:
        bodies = list(pool.map(lambda one: dict(client.albums([one]))[one], ids))
    assert all(isinstance(body, dict) for body in bodies)
    assert client.requests == {"token": 1, "albums": 12}


def test_a_client_with_another_deadline_shares_the_token_and_counts_anew(spotify: Spotify) -> None:
    client = spotify.client()
    client.artist(spotify.artist_id)
    part = client.within(Deadline.after(10))
    part.artist(spotify.artist_id)
    assert part.requests == {"artists": 1}
    assert client.requests == {"token": 1, "artists": 1}


def test_the_environments_proxy_is_not_used(
    spotify: Spotify, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert spotify.client().artist(spotify.artist_id)


def test_no_secret_and_no_token_is_ever_shown(
    spotify: Spotify,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    client = spotify.client()
    for name in (None, "spotipy", "spotipy.client", "spotipy.oauth2", "urllib3", "requests"):
        caplog.set_level(logging.DEBUG, logger=name)
    shown = [repr(spotify.config), repr(client)]
    client.artist(spotify.artist_id)
    stored = client._calls._store.cache.get_cached_token()
    assert stored is not None
    token = str(stored["access_token"])

    echo = {"error": {"status": 403, "message": f"Bearer {token} of {SECRET} is bad"}}
    spotify.server.faults.add("artists", faults.edited(lambda _: echo))
    spotify.server.faults.add("artists", faults.string_error(400))
    for fault in (faults.premium_lapsed(), faults.html_page(500)):
        spotify.server.faults.add("artists", fault, times=3)
    for _ in range(5):
        try:
            shown.append(json.dumps(client.artist(spotify.artist_id)))
        except HarmonyError as error:
            shown += [str(error), repr(error), str(error.as_dict())]
    everything = " ".join([*shown, caplog.text])
    assert token not in everything
    assert SECRET not in everything
    assert "Basic " not in everything
    assert not list(tmp_path.glob(".cache*"))


def test_no_text_is_made_of_an_answer_for_a_log_that_nobody_keeps(spotify: Spotify) -> None:
    answer = spotify.client().artist(spotify.artist_id)
    assert answer["name"] == "Sigur Rós"
    assert (f"{answer}", str(answer), repr(answer)) == ("{…}",) * 3


def test_a_server_that_echoes_the_credentials_does_not_get_them_into_a_message(
    spotify: Spotify,
) -> None:
    token = "ZmFrZQ"
    granted = b'{"access_token": "ZmFrZQ", "expires_in": 3600}'
    echo = f'{{"error": {{"message": "Bearer {token}, {SECRET}!"}}}}'.encode()
    spotify.server.faults.add("token", faults.body(granted))
    spotify.server.faults.add("artists", faults.body(echo, status=403))
    error = failure(lambda: spotify.client().artist(spotify.artist_id))
    assert "Bearer …, …!" in error.message


@pytest.mark.slow
def test_importing_the_client_does_not_import_spotipy() -> None:
    code = (
        "import sys, harmony_pipelines.clients.spotify;"
        "sys.exit(bool({'spotipy', 'requests', 'dagster'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_title_of_broken_text_spoils_only_itself(spotify: Spotify) -> None:
    [album_id] = spotify.add(1)

    def broken(answer: Answer) -> Answer:
        return replace(answer, body=answer.body.replace(b"single 0", b"half \\ud800 and \xff"))

    spotify.server.faults.add("albums", broken)
    spotify.server.faults.add("albums", faults.edited(lambda body: body | {"nobody": math.nan}))
    names: list[str] = []
    for _ in range(2):
        [(_, answer)] = spotify.client().albums([album_id])
        assert not isinstance(answer, HarmonyError)
        names.append(answer["name"])
    assert names == ["half \ud800 and \ufffd", "single 0"]


def test_who_comes_later_uses_the_connections_of_those_before(spotify: Spotify) -> None:
    first = spotify.client()
    for _ in range(3):
        first.within(Deadline.after(10)).artist(spotify.artist_id)
        gc.collect()  # spotipy closes the session of what is dropped

    adapter: Any = first._calls._session.adapters["http://"]
    pools = adapter.poolmanager.pools
    assert [pools[key].num_connections for key in pools.keys()] == [1]  # noqa: SIM118
