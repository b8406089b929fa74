"""In which order a refresh spends its requests, and what it says of it."""

import json
import os
import time
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines_tests.conftest import Home, failure_in, materialised_in


def make_due(home: Home) -> None:
    home.change(tables.refresh_state, next_due_at="2000-01-01T00:00:00Z")


def state_of(home: Home, artist_id: str) -> dict[str, Any]:
    [row] = home.rows(tables.refresh_state, tables.refresh_state.c.artist_id == artist_id)
    return row


def asked_for(home: Home, family: str) -> list[str]:
    return [r.path.split("/")[3] for r in home.server.requests if r.family == family]


def outcome_of(result: dg.ExecuteInProcessResult) -> dict[str, Any]:
    return result.output_for_node("refresh_artists")


# The order of spending


def test_all_listings_come_before_all_bodies(home: Home, instance: dg.DagsterInstance) -> None:
    home.watch(*(home.artist(f"Artist {number}", singles=3) for number in range(4)))
    assert home.refresh(instance).success
    families = [r.family for r in home.server.requests if r.family in ("artist_albums", "albums")]
    assert families == ["artist_albums"] * 8 + ["albums"] * 12


def test_artists_with_a_baseline_are_listed_before_those_without(
    home: Home, instance: dg.DagsterInstance
) -> None:
    old = [home.artist(f"Old {number}") for number in range(2)]
    home.watch(*old)
    assert home.refresh(instance).success
    make_due(home)
    new = [home.artist(f"New {number}") for number in range(2)]
    home.watch(*new, *old)
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert list(dict.fromkeys(asked_for(home, "artist_albums"))) == old + new


def test_bodies_of_new_releases_come_first_then_the_newest(
    home: Home, instance: dg.DagsterInstance
) -> None:
    first, second = home.artist("First", singles=2), home.artist("Second", singles=2)
    home.watch(first)
    assert home.refresh(instance, max_requests=3).success
    make_due(home)
    back_dated = home.server.catalogue.add_album(first, "Back", release_date="1940-01-01")
    newest = home.server.catalogue.add_album(second, "Newest", release_date="2020-01-01")
    home.watch(second, first)
    home.server.forget_requests()
    assert home.refresh(instance).success
    bodies = asked_for(home, "albums")
    assert bodies[:2] == [back_dated, newest]
    dates = [home.server.catalogue.albums[one].release_date for one in bodies[2:]]
    assert dates == sorted(dates, reverse=True)
    assert len(bodies) == 6


def test_bodies_that_wait_are_read_when_no_listing_is_due(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=5)
    home.watch(artist_id)
    assert home.refresh(instance, max_requests=5).success
    assert (state_of(home, artist_id)["status"], state_of(home, artist_id)["bodies_pending"]) == (
        "deferred",
        3,
    )
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert home.counts() == {"token": 1, "albums": 3}
    assert state_of(home, artist_id)["status"] == "complete"
    events = instance.fetch_materializations(dg.AssetKey("spotify_tracks"), limit=9).records
    assert [r.asset_materialization.metadata["tracks"].value for r in events] == [5, 2]  # pyright: ignore[reportOptionalMemberAccess]


def test_no_body_is_read_while_more_artists_are_due_than_a_run_takes(
    home: Home, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harmony_pipelines.ops.catalogue.MOST_ARTISTS", 2)
    home.watch(*(home.artist(f"Artist {number}") for number in range(3)))
    assert home.refresh(instance).success
    assert "albums" not in home.counts()
    assert len(materialised_in(instance, "spotify_albums")) == 2
    assert home.refresh(instance).success
    assert home.counts()["albums"] == 3


def test_listings_whose_budget_is_spent_do_not_hold_up_bodies(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="3")
    first, second = home.artist("First", singles=2), home.artist("Second")
    home.watch(first, second)
    result = home.refresh(instance)
    assert result.success
    assert home.counts()["artist_albums"] == 3
    assert state_of(home, first)["status"] == "complete"
    assert outcome_of(result)["stopped"]["reason"] == "budget_spent"


def test_one_request_in_ten_is_left_for_what_the_user_names(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="20")
    many, other = home.artist("Many", singles=30), home.artist("Other", singles=1)
    home.watch(many)
    assert home.refresh(instance).success
    assert home.counts()["albums"] == 18
    assert state_of(home, many)["reason"] == "budget_spent"
    home.watch(many, other)
    assert home.refresh(instance).success
    assert home.counts()["albums"] == 18
    assert home.refresh(instance, artists=["Other"]).success
    assert state_of(home, other)["status"] == "complete"
    assert home.counts()["albums"] == 19
    failure = failure_in(home.refresh(instance, artists=["Many"]))
    assert (failure["code"], home.counts()["albums"]) == ("RATE_LIMITED", 20)


def test_an_album_whose_tracks_have_no_budget_is_not_asked_for_in_vain(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=0)
    for number in range(3):
        home.server.catalogue.add_album(
            artist_id, f"Long {number}", release_date=f"200{number}-01-01", tracks=120
        )
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="4")
    home.watch(artist_id)
    for _ in range(3):
        assert home.refresh(instance).success
    assert {name: n for name, n in home.counts().items() if "album" in name} == {
        "artist_albums": 2,
        "albums": 2,
        "album_tracks": 4,
    }
    assert state_of(home, artist_id)["bodies_pending"] == 1
    assert len(home.rows(tables.spotify_tracks)) == 240


@pytest.mark.parametrize("profile", ["development", "extended"])
def test_isrcs_have_a_budget_of_their_own_and_go_on_the_next_day(
    home: Home, instance: dg.DagsterInstance, profile: str
) -> None:
    with SpotifyServer(home.server.catalogue, profile=profile) as server:
        home.set(
            HARMONY_SPOTIFY_PROFILE=profile,
            HARMONY_SPOTIFY_CONCURRENCY="1",
            HARMONY_SPOTIFY_API_URL=server.api_url,
            HARMONY_SPOTIFY_ACCOUNTS_URL=server.accounts_url,
        )
        artist_id = home.artist("Lumen Tide", singles=0)
        for number in range(4):
            home.server.catalogue.add_album(artist_id, f"{number}", tracks=15)
        home.watch(artist_id)
        assert home.refresh(instance).success
        assert server.count("tracks") == 0
        home.set(HARMONY_SPOTIFY_ISRC_DAILY_REQUESTS="1" if profile == "extended" else "50")
        result = home.refresh(instance)
        assert result.success
        assert (outcome_of(result)["isrcs"], outcome_of(result)["isrcs_pending"]) == (50, 10)
        assert home.refresh(instance).success
        assert server.count("tracks") == (1 if profile == "extended" else 50)
        home.change(tables.spotify_calls, called_at=time.time() - 90_000)
        assert home.refresh(instance).success
        assert server.count("tracks") == (2 if profile == "extended" else 60)
        known = {
            str(track.track_id): track.isrc
            for album in home.server.catalogue.albums.values()
            for track in album.tracks
        }
        assert {r["track_id"]: r["isrc"] for r in home.rows(tables.spotify_tracks)} == known
        assert home.refresh(instance).success
        assert server.count("tracks") == (2 if profile == "extended" else 60)


# What is everybody's fault, what is an album's


def test_an_artist_whose_bodies_fail_is_left_after_three_and_the_others_are_read(
    home: Home, instance: dg.DagsterInstance
) -> None:
    bad, good = home.artist("Bad", singles=6), home.artist("Good", singles=2)
    home.watch(bad, good)
    for album in [*home.server.catalogue.albums.values()][:6]:
        home.server.faults.add(
            f"/v1/albums/{album.album_id}", faults.server_error(400, "odd"), times=None
        )
    result = home.refresh(instance)
    [problem] = failure_in(result)["details"]["problems"]
    assert (problem["artist"], problem["code"]) == ("Bad", "DEPENDENCY_ERROR")
    assert home.counts()["albums"] == 3 + 2
    assert (state_of(home, bad)["status"], state_of(home, bad)["bodies_pending"]) == ("partial", 6)
    assert state_of(home, good)["status"] == "complete"
    assert {key[-22:] for key in materialised_in(instance, "spotify_albums")} == {good}
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert home.server.count() == 0  # it is tried again when it is due for that


def test_a_cooldown_among_the_bodies_is_green_and_said_of_who_waits(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=3)
    home.watch(artist_id)
    home.server.faults.add("albums", faults.rate_limited(49_861, quota=True), after=1)
    result = home.refresh(instance)
    assert result.success
    state = state_of(home, artist_id)
    assert (state["status"], state["reason"], state["bodies_pending"]) == (
        "deferred",
        "quota_exceeded",
        2,
    )
    assert outcome_of(result)["stopped"]["reason"] == "quota_exceeded"
    assert outcome_of(result)["budget_left_albums"] == 0
    assert home.server.count("albums") == 2


# What a run says


def test_a_run_s_numbers_are_numbers_and_plot_over_time(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="10")
    home.watch(home.artist("Lumen Tide", singles=12), home.artist("Sable Choir", singles=9))
    result = home.refresh(instance)
    assert result.success
    [record] = instance.fetch_materializations(dg.AssetKey("new_releases"), limit=1).records
    assert record.asset_materialization
    shown = {
        name: value.value
        for name, value in record.asset_materialization.metadata.items()
        if isinstance(value, dg.IntMetadataValue | dg.FloatMetadataValue)
    }
    expected = {
        "due": 2,
        "complete": 0,
        "deferred": 2,
        "watched": 2,
        "requests": 2 + 5 + 9,
        "requests_artists": 2,
        "requests_artist_albums": 5,
        "requests_albums": 9,
        "requests_album_tracks": 0,
        "requests_tracks": 0,
        "requests_search": 0,
        "requests_probe": 0,
        "requests_token": 2,
        "requests_retries": 0,
        "listings_pending": 0,
        "bodies_pending": 12,
        "isrcs_pending": 0,
        "budget_left_albums": 1,
        "budget_left_artist_albums": 5,
        "budget_left_artists": 8,
        "estimate_days": 1.3,
    }
    assert expected.items() <= shown.items()
    assert json.dumps(shown)
    [event] = [
        e for e in result.all_events
        if e.event_type_value == "STEP_OUTPUT" and e.step_key == "refresh_artists"
    ]  # fmt: skip
    assert event.step_output_data.metadata["requests_albums"].value == 9


def test_what_the_app_may_do_is_found_out_once_and_said(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.set(HARMONY_SPOTIFY_PROFILE="auto")
    home.watch(home.artist("Lumen Tide", singles=2))
    result = home.refresh(instance)
    assert result.success
    outcome = outcome_of(result)
    assert (outcome["by_family"]["probe"], outcome["by_family"]["albums"]) == (1, 2)
    assert outcome["requests"] == 1 + 2 + 2 + 1
    batches = [r for r in home.server.requests if "ids" in r.query]
    assert len(batches) == 1
    make_due(home)
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert home.counts() == {"token": 1, "artist_albums": 1}


def test_what_was_withdrawn_is_counted_as_that_and_not_as_an_album(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=2)
    gone = home.server.catalogue.add_album(artist_id, "Gone", release_date="2001", tracks=1)

    def hollow(body: Any) -> None:
        body.update(name="", release_date="0000", release_date_precision="year")

    home.server.faults.add(f"/v1/albums/{gone}", faults.edited(hollow), times=None)
    home.watch(artist_id)
    assert home.refresh(instance).success
    [record] = instance.fetch_materializations(dg.AssetKey("spotify_albums"), limit=9).records
    assert record.asset_materialization
    metadata = record.asset_materialization.metadata
    assert (metadata["albums"].value, metadata["withdrawn"].value) == (2, 1)


# The schedule


def test_a_tick_starts_a_run_for_bodies_and_isrcs_when_there_is_budget(
    home: Home, instance: dg.DagsterInstance
) -> None:
    from datetime import UTC, datetime

    from harmony_pipelines.settings import load_settings
    from harmony_pipelines.steps.ticks import why_not_refresh

    def why_not() -> str | None:
        return why_not_refresh(load_settings(), datetime.now(UTC))

    home.watch(home.artist("Lumen Tide", singles=4))
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="2")
    assert home.refresh(instance).success
    yesterday = time.time() - 86_400
    os.utime(home.folder / "watchlist.yaml", (yesterday, yesterday))
    assert str(why_not()).startswith("Budget spent, album bodies wait. ")
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="4")
    assert why_not() is None
    assert home.refresh(instance).success
    assert str(why_not()).startswith("Nothing is due; ")
    home.set(HARMONY_SPOTIFY_ISRC_DAILY_REQUESTS="3")
    assert why_not() is None
    assert home.refresh(instance).success
    assert str(why_not()).startswith("Budget spent, ISRCs wait. ")
