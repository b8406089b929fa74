import contextlib
import json
import logging
import sqlite3
import threading
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.locks import Holder, held
from harmony_pipelines.clients.processes import identity
from harmony_pipelines.demo import faults
from harmony_pipelines.ops.refreshing import CHECK
from harmony_pipelines_tests.conftest import Home, failure_in, materialised_in

SPOTIFY_ASSETS = ("spotify_artists", "spotify_albums", "spotify_tracks")


def state_of(home: Home, artist_id: str) -> dict[str, object]:
    [row] = home.rows(tables.refresh_state, tables.refresh_state.c.artist_id == artist_id)
    return row


def make_due(home: Home) -> None:
    home.change(tables.refresh_state, next_due_at="2000-01-01T00:00:00Z")


def check_of(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> Any:
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    logged = [e.dagster_event for e in instance.all_logs(result.run_id, of_type=kind)]
    told = [event.asset_check_evaluation_data for event in logged if event]
    [entry] = [each for each in told if each.check_name == CHECK.name]
    return entry


# What a run costs


def test_a_first_fill_costs_a_name_an_artist_its_listings_and_its_bodies(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.artist("Lumen Tide", singles=12)
    home.watch("Lumen Tide")
    result = home.refresh(instance)
    assert result.success
    assert home.counts() == {
        "token": 2,
        "search": 1,
        "artists": 1,
        "artist_albums": 1 + 2,
        "albums": 12,
    }
    assert len(home.rows(tables.spotify_tracks)) == 12
    assert home.rows(tables.new_releases) == []


def test_an_artist_named_by_id_is_asked_for_once(home: Home, instance: dg.DagsterInstance) -> None:
    home.watch(home.artist("Lumen Tide", singles=2))
    assert home.refresh(instance).success
    assert home.counts() == {"token": 2, "artists": 1, "artist_albums": 2, "albums": 2}


def test_a_steady_artist_costs_one_combined_request(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.artist("Lumen Tide", singles=10)
    home.watch("Lumen Tide")
    assert home.refresh(instance).success
    make_due(home)
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert home.counts() == {"token": 1, "artist_albums": 1}


def test_a_steady_artist_of_many_releases_costs_one_request_a_group(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=35)
    home.watch("Lumen Tide")
    assert home.refresh(instance).success
    make_due(home)
    home.server.forget_requests()
    new = home.server.catalogue.add_album(artist_id, "New", release_date="2026-01-01", tracks=1)
    assert home.refresh(instance).success
    assert home.counts() == {"token": 1, "artist_albums": 2, "albums": 1}
    assert [row["album_id"] for row in home.rows(tables.new_releases)] == [new]
    assert all(row["removed_at"] is None for row in home.rows(tables.spotify_albums))


def test_a_run_in_which_nothing_is_due_asks_nothing(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.artist("Lumen Tide")
    home.watch("Lumen Tide", "Nobody at All")
    assert home.refresh(instance).success
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert home.server.count() == 0


@pytest.mark.parametrize("most", [1, 2, 3, 4, 9])
def test_a_run_never_makes_more_requests_than_it_may(
    home: Home, instance: dg.DagsterInstance, most: int
) -> None:
    for name in ("Lumen Tide", "Salt and Static"):
        home.artist(name, singles=2)
    home.watch("Lumen Tide", "Salt and Static")
    result = home.refresh(instance, max_requests=most)
    assert result.success
    assert home.server.count() - home.server.count("token") == most
    outcome = result.output_for_node("compare_with_library")
    assert (outcome["requests"], outcome["failures"]) == (most, [])
    assert home.refresh(instance).success
    assert len(home.rows(tables.spotify_tracks)) == 4


def test_named_artists_that_a_spent_budget_puts_off_end_the_run_red(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.watch(home.artist("Lumen Tide", singles=4))
    assert home.refresh(instance, max_requests=1).success
    result = home.refresh(instance, artists=["lumen tide"], max_requests=2)
    assert (failure_in(result)["code"], result.success) == ("RATE_LIMITED", False)


# One bad artist never costs the others


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.server_error(), "DEPENDENCY_ERROR"),
        (faults.html_page(), "DEPENDENCY_ERROR"),
        (faults.half_body(), "DEPENDENCY_ERROR"),
        (faults.null_body(), "DEPENDENCY_ERROR"),
        (faults.string_error(500), "DEPENDENCY_ERROR"),
    ],
)
def test_an_artist_that_fails_costs_no_other_and_the_run_says_which_and_why(
    home: Home, instance: dg.DagsterInstance, fault: faults.Fault, code: str
) -> None:
    good, bad, later = (home.artist(name) for name in ("Good", "Bad", "Later"))
    home.watch("Good", "Bad", "Later")
    home.server.faults.add(f"/v1/artists/{bad}", fault, times=None)
    result = home.refresh(instance)
    failure = failure_in(result)
    assert failure["code"] == code
    assert failure["message"].startswith("Bad: ")
    [problem] = failure["details"]["problems"]
    assert (problem["artist"], problem["code"]) == ("Bad", code)
    check = check_of(instance, result)
    assert not check.passed
    assert f"Bad | {code}".replace("_", "\\_") in str(check.metadata["artists"].value)
    assert state_of(home, bad)["status"] == "failed"
    whole = {row["artist_id"] for row in home.rows(tables.spotify_albums)}
    assert whole == {good, later}
    for asset in SPOTIFY_ASSETS:
        assert {key[-22:] for key in materialised_in(instance, asset)} == {good, later}
    assert instance.get_latest_materialization_event(dg.AssetKey("new_releases"))


@pytest.mark.slow
def test_an_album_that_fails_leaves_the_artist_partial_and_the_rest_of_it_stored(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=3)
    home.watch("Lumen Tide")
    bad = next(iter(home.server.catalogue.albums))
    home.server.faults.add(f"/v1/albums/{bad}", faults.html_page(), times=3)
    result = home.refresh(instance)
    assert failure_in(result)["code"] == "DEPENDENCY_ERROR"
    state = state_of(home, artist_id)
    assert (state["status"], state["bodies_pending"], state["attempts"]) == ("partial", 1, 1)
    assert len(home.rows(tables.spotify_tracks)) == 2
    assert materialised_in(instance, "spotify_albums") == set()
    make_due(home)
    assert home.refresh(instance).success
    assert len(home.rows(tables.spotify_tracks)) == 3


def test_an_artist_that_spotify_no_longer_knows_is_gone_and_not_red(
    home: Home, instance: dg.DagsterInstance
) -> None:
    gone, stays = home.artist("Gone"), home.artist("Stays")
    home.watch("Gone", "Stays")
    assert home.refresh(instance).success
    make_due(home)
    del home.server.catalogue.artists[gone]
    assert home.refresh(instance).success
    assert (state_of(home, gone)["status"], state_of(home, gone)["next_due_at"]) == ("gone", None)
    assert state_of(home, stays)["status"] == "complete"
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert home.server.count() == 0


# What is everybody's fault is said once


@pytest.mark.slow
def test_three_artists_in_a_row_that_spotify_cannot_answer_for_stop_the_run(
    home: Home, instance: dg.DagsterInstance
) -> None:
    ids = [home.artist(f"Artist {number}") for number in range(5)]
    home.watch(*ids)
    assert home.refresh(instance, max_requests=5).success
    home.server.faults.add("artist_albums", faults.server_error(), times=None)
    home.change(tables.spotify_artists, fetched_at="2100-01-01T00:00:00Z")
    result = home.refresh(instance)
    outcome = result.output_for_node("compare_with_library")
    assert (outcome["partial"] + outcome["failed"], outcome["deferred"]) == (3, 2)
    assert failure_in(result)["code"] == "DEPENDENCY_ERROR"
    tried = [row for row in home.rows(tables.refresh_state) if row["status"] != "never"]
    assert len(tried) == 3


@pytest.mark.parametrize(
    ("prepare", "code"),
    [
        (lambda home: home.set(SPOTIPY_CLIENT_SECRET="wrong"), "AUTH_REQUIRED"),
        (lambda home: home.unset("SPOTIPY_CLIENT_SECRET"), "AUTH_REQUIRED"),
        (lambda home: home.unset("HARMONY_SPOTIFY_MARKET"), "VALIDATION_ERROR"),
        (
            lambda home: home.server.faults.add("/v1", faults.premium_lapsed(), times=None),
            "AUTH_REQUIRED",
        ),
    ],
)
@pytest.mark.parametrize("settled", [True, False])
def test_what_is_wrong_with_the_app_is_said_once_and_nobody_failed(
    home: Home,
    instance: dg.DagsterInstance,
    prepare: Callable[[Home], None],
    code: str,
    settled: bool,
) -> None:
    home.watch(*(home.artist(name) for name in ("Good", "Better", "Best")))
    if settled:
        assert home.refresh(instance).success
        make_due(home)
    home.server.forget_requests()
    prepare(home)
    result = home.refresh(instance)
    failure = failure_in(result)
    assert failure["code"] == code
    assert len(failure["details"]["problems"]) == 1
    assert home.server.count() <= 2
    statuses = {row["status"] for row in home.rows(tables.refresh_state)}
    assert statuses <= ({"complete"} if settled else {"never"})
    assert instance.get_latest_materialization_event(dg.AssetKey("new_releases"))


def test_a_cooldown_puts_the_rest_off_and_the_run_is_green(
    home: Home, instance: dg.DagsterInstance
) -> None:
    ids = [home.artist(f"Artist {number}") for number in range(3)]
    home.watch(*ids)
    home.server.faults.add("artist_albums", faults.rate_limited(49_861), times=None)
    result = home.refresh(instance)
    assert result.success
    outcome = result.output_for_node("compare_with_library")
    assert (outcome["deferred"], outcome["failures"]) == (3, [])
    assert outcome["stopped"]["code"] == "RATE_LIMITED"
    assert check_of(instance, result).passed
    home.server.forget_requests()
    named = home.refresh(instance, artists=ids[:1])
    assert (failure_in(named)["code"], home.server.count()) == ("RATE_LIMITED", 0)


def test_listings_do_not_wait_for_bodies_whose_budget_is_spent(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.set(HARMONY_SPOTIFY_DAILY_REQUESTS="8")
    ids = [home.artist(f"Artist {number}", singles=4) for number in range(3)]
    home.watch(*ids[:2])
    result = home.refresh(instance)
    assert result.success
    assert len(home.rows(tables.spotify_albums)) == 8
    home.watch(*ids)
    result = home.refresh(instance)
    assert result.success
    assert len(home.rows(tables.spotify_albums)) == 12
    pending = state_of(home, ids[2])
    assert (pending["status"], pending["bodies_pending"]) == ("deferred", 4)
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert home.server.count() == 0  # listing again before there is budget would be waste


def test_what_a_killed_run_did_not_log_is_logged_by_the_next(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide")
    home.watch(artist_id)
    with dg.DagsterInstance.ephemeral() as lost:
        assert home.refresh(lost).success
    home.change(tables.refresh_state, materialised_at=None)
    for _ in range(2):
        assert home.refresh(instance).success
    for asset in SPOTIFY_ASSETS:
        assert materialised_in(instance, asset) == {f"lumen-tide-{artist_id}"}
        events = instance.fetch_materializations(dg.AssetKey(asset), limit=9).records
        assert len(events) == 1


@pytest.mark.slow
def test_a_run_whose_time_is_over_keeps_what_is_done_and_ends_red(
    home: Home, instance: dg.DagsterInstance
) -> None:
    ids = [home.artist(f"Artist {number}") for number in range(3)]
    home.watch(*ids)
    assert home.refresh(instance).success
    make_due(home)
    home.set(HARMONY_RUN_MAX_SECONDS="4")
    home.server.faults.add(f"/v1/artists/{ids[1]}/albums", faults.hang(), times=None)
    failure = failure_in(home.refresh(instance))
    assert failure["code"] == "DEADLINE_EXCEEDED"
    assert [state_of(home, one)["status"] for one in ids].count("failed") == 0
    assert instance.get_latest_materialization_event(dg.AssetKey("new_releases"))


# What is new


def test_a_release_is_news_once_also_after_a_failed_refresh(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=3)
    home.watch("Lumen Tide")
    assert home.refresh(instance).success
    make_due(home)
    home.server.faults.add("artist_albums", faults.empty_not_found(), times=1)
    home.server.faults.add("artist_albums", faults.forbidden(), times=1)
    home.refresh(instance)
    new = home.server.catalogue.add_album(artist_id, "New", release_date="1999-01-01")
    for _ in range(3):
        home.refresh(instance, artists=[artist_id])
    assert [row["album_id"] for row in home.rows(tables.new_releases)] == [new]


def test_what_was_added_with_an_old_date_is_found_by_a_full_sweep(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=25)
    home.watch("Lumen Tide")
    assert home.refresh(instance).success
    old = home.server.catalogue.add_album(
        artist_id, "Found Tapes", album_type="single", release_date="1940"
    )
    assert home.refresh(instance, artists=["Lumen Tide"]).success
    assert home.rows(tables.new_releases) == []
    assert home.refresh(instance, full_sweep=True).success
    assert [row["album_id"] for row in home.rows(tables.new_releases)] == [old]


def test_another_market_and_an_added_group_are_no_news(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=3)
    home.server.catalogue.add_album(artist_id, "Best Of", album_type="compilation")
    home.server.catalogue.add_album(
        artist_id, "Only There", album_type="single", release_date="1980", markets=["FR"]
    )
    home.watch("Lumen Tide")
    assert home.refresh(instance).success
    home.set(HARMONY_SPOTIFY_MARKET="FR")
    home.watch("{artist: Lumen Tide, groups: [album, single, compilation]}")
    assert home.refresh(instance, artists=["Lumen Tide"]).success
    assert len(home.rows(tables.spotify_albums)) == 5
    assert home.rows(tables.new_releases) == []
    assert all(row["removed_at"] is None for row in home.rows(tables.spotify_albums))


# The watchlist


def test_an_unreadable_watchlist_drops_nobody_and_the_rest_of_the_run_is_done(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide")
    home.watch("Lumen Tide")
    assert home.refresh(instance).success
    make_due(home)
    home.watch(text="artists:\n  - Lumen Tide\n  - {artist: X, colour: red}\n")
    failure = failure_in(home.refresh(instance))
    assert failure["code"] == "VALIDATION_ERROR"
    assert "line 3" in failure["message"]
    assert "column" in failure["message"]
    assert state_of(home, artist_id)["next_due_at"] != "2000-01-01T00:00:00Z"
    assert len(home.rows(tables.watchlist)) == 1


def test_removing_a_line_keeps_the_data_and_stops_the_calls(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide", singles=3)
    home.artist("Salt")
    home.watch("Lumen Tide", "Salt")
    assert home.refresh(instance).success
    make_due(home)
    kept = [
        home.rows(table, table.c.artist_id == artist_id)
        for table in (tables.spotify_albums, tables.spotify_tracks, tables.refresh_state)
    ]
    home.watch("Salt")
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert not [request for request in home.server.requests if artist_id in request.path]
    assert [
        home.rows(table, table.c.artist_id == artist_id)
        for table in (tables.spotify_albums, tables.spotify_tracks, tables.refresh_state)
    ] == kept
    new = home.server.catalogue.add_album(artist_id, "New", release_date="2026-01-01", tracks=1)
    home.watch("Salt", "Lumen Tide")
    home.server.forget_requests()
    assert home.refresh(instance).success
    assert home.counts() == {"token": 1, "artist_albums": 1, "albums": 1}
    assert [row["album_id"] for row in home.rows(tables.new_releases)] == [new]


def test_what_from_beets_costs_is_in_the_run_s_log_and_metadata_before_the_first_call(
    home: Home, instance: dg.DagsterInstance
) -> None:
    known, _ = home.artist("Lumen Tide"), home.artist("Salt")
    library = home.demo.library
    library.parent.mkdir(parents=True)
    with contextlib.closing(sqlite3.connect(library)) as made, made:
        made.executescript(
            "CREATE TABLE items (id INTEGER PRIMARY KEY, album_id INTEGER, path BLOB);"
            "CREATE TABLE albums (id INTEGER PRIMARY KEY, albumartist TEXT);"
            "CREATE TABLE album_attributes (id INTEGER PRIMARY KEY, entity_id INTEGER, key TEXT,"
            " value TEXT, UNIQUE(entity_id, key) ON CONFLICT REPLACE);"
            "CREATE TABLE item_attributes AS SELECT * FROM album_attributes;"
            "INSERT INTO albums VALUES (1, 'Lumen Tide'), (2, 'Lumen Tide'), (3, 'Salt'),"
            " (4, 'Salt'), (5, 'Rare');"
        )
        made.execute("INSERT INTO album_attributes VALUES (1, 1, 'spotify_artist_id', ?)", (known,))
    home.watch(text="from_beets: {}\n")
    result = home.refresh(instance)
    said = [e.user_message for e in instance.all_logs(result.run_id) if e.level == logging.INFO]
    [cost] = [line for line in said if line.startswith("from_beets")]
    assert "names 2 artists of the library, 2 of them new" in cost
    assert "2 requests (1 by an id that the library has, 1 by a search)" in cost
    shown = instance.get_latest_materialization_event(dg.AssetKey("watchlist"))
    assert shown
    assert shown.asset_materialization
    metadata = shown.asset_materialization.metadata
    assert metadata["from_beets, requests to settle"].value == 2
    assert metadata["from_beets, requests to list"].value == 5
    assert home.counts()["search"] == 1
    assert home.counts()["artists"] + home.counts()["artist_albums"] == 1 + 5
    evidence = {row["text"]: row["evidence"] for row in home.rows(tables.watchlist_names)}
    assert evidence == {"Lumen Tide": "library", "Salt": "search"}


@pytest.mark.parametrize("text", [None, "artists:\n", "artists: []\n"])
def test_a_fresh_home_without_a_watchlist_says_what_to_do(
    home: Home, instance: dg.DagsterInstance, text: str | None
) -> None:
    if text:
        home.watch(text=text)
    failure = failure_in(home.refresh(instance))
    assert failure["code"] == "VALIDATION_ERROR"
    assert "watchlist.example.yaml" in failure["message"]
    assert home.server.count() == 0


def test_bad_settings_are_one_failure_that_names_them_all(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.watch("Lumen Tide")
    home.set(HARMONY_ARTWORK_POLICY="bigger", HARMONY_RUN_MAX_SECONDS="soon")
    failure = failure_in(home.refresh(instance))
    assert (failure["code"], failure["details"]["reason"]) == ("VALIDATION_ERROR", "setting")
    assert "HARMONY_ARTWORK_POLICY" in failure["message"]
    assert "HARMONY_RUN_MAX_SECONDS" in failure["message"]


def test_names_that_are_not_watched_are_said_and_the_others_refreshed(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide")
    home.watch("Lumen Tide")
    failure = failure_in(home.refresh(instance, artists=["Nobody", f"spotify:artist:{artist_id}"]))
    assert (failure["code"], failure["details"]["reason"]) == ("VALIDATION_ERROR", "run_config")
    assert "'Nobody'" in failure["message"]
    assert state_of(home, artist_id)["status"] == "complete"


# What others wrote


@pytest.mark.parametrize(
    "name",
    [
        "\u0000\u0007 bell\n| row",
        "<script>alert(1)</script> [x](y) `z`",
        "\ud800 half",
        "x" * 10_000,
    ],
)
def test_any_name_can_be_stored_and_shown(
    home: Home, instance: dg.DagsterInstance, name: str
) -> None:
    def named(body: Any) -> Any:
        return json.loads(json.dumps(body).replace("NAME", json.dumps(name)[1:-1]))

    artist_id = home.artist("Lumen Tide", singles=1)
    home.watch(artist_id)
    assert home.refresh(instance).success
    home.server.faults.add("/v1/", faults.edited(named), times=None)
    home.server.catalogue.add_album(artist_id, "NAME", release_date="2026-01-01", tracks=["NAME"])
    home.server.catalogue.artists[artist_id].name = "NAME"
    result = home.refresh(instance, artists=[artist_id], full_sweep=True)
    assert result.success
    shown = instance.get_latest_materialization_event(dg.AssetKey("new_releases"))
    assert shown
    assert shown.asset_materialization
    lines = str(shown.asset_materialization.metadata["latest"].value).splitlines()
    assert len(lines) == 3
    assert "<script>" not in lines[2]
    [row] = home.rows(tables.watchlist)
    assert row["partition_key"] == f"lumen-tide-{artist_id}"
    assert row["name"] == home.rows(tables.spotify_artists)[0]["name"]


def test_no_event_of_a_run_shows_a_secret(home: Home, instance: dg.DagsterInstance) -> None:
    secret = "s3cr3t-that-nobody-may-see"
    home.set(SPOTIPY_CLIENT_SECRET=secret)
    home.watch(home.artist("Lumen Tide"))
    result = home.refresh(instance)
    assert not result.success
    logs = instance.all_logs(result.run_id)
    assert logs
    assert not any(secret in str(entry) for entry in logs)


def test_of_two_runs_at_once_one_does_it_and_the_other_is_a_conflict(home: Home) -> None:
    artist_id = home.artist("Lumen Tide", singles=6)
    home.watch("Lumen Tide")
    with dg.DagsterInstance.ephemeral() as first:
        assert home.refresh(first).success
    new = home.server.catalogue.add_album(artist_id, "New", release_date="2026-01-01")
    outcomes: list[str] = []

    def run() -> None:
        with dg.DagsterInstance.ephemeral() as own:
            result = home.refresh(own, artists=["Lumen Tide"])
            outcomes.append("done" if result.success else failure_in(result)["code"])

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert "done" in outcomes
    assert set(outcomes) <= {"done", "CONFLICT"}
    assert [row["album_id"] for row in home.rows(tables.new_releases)] == [new]
    assert len(home.rows(tables.spotify_albums)) == 7


def test_a_run_beside_another_asks_spotify_nothing_and_names_that_run(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.watch(home.artist("Lumen Tide"))
    with held(home.folder / "locks" / "refresh.lock", Holder("the-first", identity())):
        failure = failure_in(home.refresh(instance))
    assert (failure["code"], failure["details"]["reason"]) == ("CONFLICT", "locked")
    assert "the-first" in failure["message"]
    assert home.server.requests == []
    assert home.refresh(instance).success


def test_an_artist_at_whom_another_run_is_just_now_is_left_to_that_one(
    home: Home, instance: dg.DagsterInstance
) -> None:
    one, other = home.artist("Lumen Tide"), home.artist("Sable Choir")
    home.watch(one, other)
    lock = home.folder / "locks" / f"artist-{one}.lock"
    with held(lock, Holder("the-first", identity())):
        assert home.refresh(instance).success
        assert [row["artist_id"] for row in home.rows(tables.refresh_state)] == [other]
        failure = failure_in(home.refresh(instance, artists=[one]))
    assert failure["code"] == "CONFLICT"
    assert [row["artist_id"] for row in home.rows(tables.refresh_state)] == [other]


@pytest.mark.parametrize(
    "config", [{"max_requests": 0}, {"max_requests": 10**9}, {"artists": ["Lumen Tide"] * 251}]
)
def test_a_value_out_of_its_range_is_named_with_a_code(
    home: Home, instance: dg.DagsterInstance, config: dict[str, Any]
) -> None:
    home.watch(home.artist("Lumen Tide"))
    failure = failure_in(home.refresh(instance, **config))
    [name] = config
    assert failure["code"] == "VALIDATION_ERROR"
    assert failure["details"]["reason"] == "run_config"
    assert f"`{name}`" in failure["message"]


def test_an_artist_that_stops_every_run_does_not_starve_the_others(
    home: Home, instance: dg.DagsterInstance
) -> None:
    bad, good = home.artist("First"), home.artist("Second")
    home.watch(bad, good)
    assert home.refresh(instance).success
    make_due(home)
    home.server.faults.add(f"/v1/artists/{bad}/", faults.forbidden(), times=None)
    assert not home.refresh(instance).success
    assert state_of(home, good)["next_due_at"] == "2000-01-01T00:00:00Z"
    assert not home.refresh(instance).success
    assert str(state_of(home, good)["next_due_at"]) > str(state_of(home, bad)["next_due_at"])
    assert state_of(home, bad)["status"] == "complete"


def test_a_new_artist_whose_page_is_refused_for_ever_does_not_stay_first_in_line(
    home: Home, instance: dg.DagsterInstance
) -> None:
    bad, good = home.artist("First"), home.artist("Second")
    home.watch("First", "Second")
    home.server.faults.add(f"/v1/artists/{bad}", faults.forbidden(), times=None)
    assert not home.refresh(instance).success
    assert [row["status"] for row in home.rows(tables.refresh_state)] == ["never"]
    assert not home.refresh(instance).success
    assert state_of(home, bad)["status"] == "never"
    assert state_of(home, good)["baseline_at"]
