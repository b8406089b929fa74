import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, utc_text
from harmony_pipelines.clients.database import writing
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.ops.soundness import CHECKS
from harmony_pipelines.settings import load_settings
from harmony_pipelines_tests.conftest import Home

NOW = utc_text(datetime.now(UTC))
LONG_AGO = utc_text(datetime.now(UTC) - timedelta(days=3))

ARTIST = {"artist_id": "a1", "partition_key": "k1", "name": "Lumen Tide", "paused": 0}
ALBUM = {
    "artist_id": "a1", "album_id": "s1", "name": "Low Water", "release_date": "2019-05",
    "release_date_precision": "month", "total_tracks": 1, "upc": "0123456789012",
    "first_seen_at": NOW, "last_seen_at": NOW, "fetched_at": NOW,
}  # fmt: skip
TRACK = {"artist_id": "a1", "album_id": "s1", "track_id": "t1", "isrc": "GBAYE0601498"}
STATE = {
    "artist_id": "a1", "status": "complete", "attempts": 0, "bodies_pending": 0, "requests": 1,
    "last_complete_at": NOW, "next_due_at": NOW,
}  # fmt: skip
NEWS = {"artist_id": "a1", "album_id": "s1", "first_seen_at": NOW, "recent": 0}
MATCH = {"beets_album_id": 7, "album_id": "s1", "verdict": "matched"}

Break = Callable[[Catalogue], object]


def keyless(store: Catalogue, table: sa.Table, row: dict[str, Any]) -> None:
    """The same row twice, in a table that lost its key."""
    with writing(store.engine) as connection:
        connection.execute(sa.text(f"DROP TABLE {table.name}"))
        columns = ", ".join(column.name for column in table.columns)
        connection.execute(sa.text(f"CREATE TABLE {table.name} ({columns})"))
        connection.execute(sa.insert(table), [row, row])


def saves(table: sa.Table, row: dict[str, Any], **values: Any) -> Break:
    return lambda store: store.save(table, [row | values])


def twice(table: sa.Table, row: dict[str, Any]) -> Break:
    return lambda store: keyless(store, table, row)


def calls(number: int, before: float = 60) -> Break:
    """Calls that nobody counted."""

    def book(store: Catalogue) -> None:
        rows = [{"family": "albums", "called_at": time.time() - before} for _ in range(number)]
        with writing(store.engine) as connection:
            connection.execute(sa.insert(tables.spotify_calls), rows)

    return book


def booked(store: Catalogue, budget: int) -> None:
    """One call that was counted, when the budget was this."""
    limits = QuotaLimits(per_second=1000.0, daily_requests=budget, is_named=True)
    Quota(store.engine, limits).acquire("albums", Deadline.after(10, "the test"))


def call_beyond_what_spotify_gave(store: Catalogue) -> None:
    """Spotify ended the quota at 100 calls; one more than 80 is too many from then on."""
    calls(100)(store)
    Quota(store.engine, QuotaLimits()).cool_down(0.0, "quota_exceeded", "albums")
    with writing(store.engine) as connection:
        connection.execute(sa.delete(tables.spotify_calls))
    booked(store, budget=400)
    calls(80, before=0)(store)


def touched(path: str, status: str = "embedded") -> Break:
    row = {"run_id": "r1", "path": path, "status": status}
    return saves(tables.artwork_results, row)


BROKEN: dict[str, list[Break]] = {
    "every_partition_is_one_artist": [
        saves(tables.watchlist, ARTIST | {"added_at": NOW}, artist_id="a2")
    ],
    "artists_are_stored_once": [twice(tables.spotify_artists, {"artist_id": "a1"})],
    "albums_are_stored_once": [twice(tables.spotify_albums, ALBUM)],
    "tracks_are_stored_once": [twice(tables.spotify_tracks, TRACK)],
    "releases_are_told_once": [twice(tables.new_releases, NEWS)],
    "every_album_belongs_to_an_artist": [saves(tables.spotify_albums, ALBUM, artist_id="a2")],
    "every_track_belongs_to_an_album": [
        saves(tables.spotify_tracks, TRACK, album_id="s2", track_id="t2"),
        saves(tables.spotify_tracks, TRACK, artist_id="a2"),
    ],
    "complete_albums_have_all_their_tracks": [
        saves(tables.spotify_albums, ALBUM, total_tracks=2),
        saves(tables.spotify_albums, ALBUM, album_id="s2"),
    ],
    "isrcs_have_their_shape": [
        saves(tables.spotify_tracks, TRACK, isrc="gb-aye-06-01498"),
        saves(tables.spotify_tracks, TRACK, isrc="?"),
    ],
    "upcs_have_their_shape": [
        saves(tables.spotify_albums, ALBUM, upc="1234567"),
        saves(tables.spotify_albums, ALBUM, upc="12345678x"),
    ],
    "release_dates_parse_by_their_precision": [
        saves(tables.spotify_albums, ALBUM, release_date_precision="day"),
        saves(tables.spotify_albums, ALBUM, release_date="2019-13"),
        saves(tables.spotify_albums, ALBUM, release_date="0000", release_date_precision="year"),
        saves(tables.spotify_albums, ALBUM, release_date=None),
        saves(tables.spotify_albums, ALBUM, release_date_precision=None),
    ],
    "listings_are_as_fresh_as_their_cadence": [
        saves(tables.refresh_state, STATE, next_due_at=LONG_AGO),
        saves(tables.refresh_state, STATE, last_complete_at="2020-01-01T00:00:00Z"),
    ],
    "every_match_names_a_known_album": [
        saves(tables.album_matches, MATCH, album_id="s9"),
        saves(tables.album_matches, MATCH, beets_album_id=8, album_id=None),
    ],
    "nothing_outside_the_library_was_touched": [
        touched("/etc/passwd"),
        touched("/MUSIC/other case.flac", "restored"),
        saves(tables.cover_files, {"folder": "/x", "path": "/x/cover.jpg", "run_id": "r1"}),
    ],
    "no_daily_budget_was_exceeded": [calls(401), call_beyond_what_spotify_gave],
}


@pytest.fixture
def store(home: Home) -> Iterator[Catalogue]:
    """A sound catalogue with one of everything."""
    home.set(HARMONY_MUSIC_DIRECTORY="/music")
    with home.store() as store:
        store.save(tables.watchlist, [ARTIST | {"added_at": NOW}])
        store.save(tables.spotify_artists, [{"artist_id": "a1"}])
        store.save(tables.spotify_albums, [ALBUM])
        store.save(tables.spotify_tracks, [TRACK])
        store.save(tables.refresh_state, [STATE])
        store.save(tables.new_releases, [NEWS])
        store.save(tables.beets_albums, [{"beets_album_id": 7}])
        store.save(tables.album_matches, [MATCH])
        touched("/music/a/01.flac")(store)
        touched("/elsewhere/01.flac", "skipped")(store)
        yield store


def broken(store: Catalogue) -> set[str]:
    settings = load_settings()
    return {check.name for check in CHECKS if not check.evaluate(store, settings)["passed"]}


def test_a_sound_catalogue_passes_every_check(store: Catalogue) -> None:
    assert broken(store) == set()
    assert {check.name for check in CHECKS} == set(BROKEN)


@pytest.mark.parametrize(
    ("name", "how"),
    [(name, how) for name, ways in BROKEN.items() for how in range(len(ways))],
)
def test_what_breaks_a_rule_fails_its_check_and_is_shown(
    store: Catalogue, name: str, how: int
) -> None:
    BROKEN[name][how](store)
    assert name in broken(store)
    [check] = [each for each in CHECKS if each.name == name]
    shown = check.evaluate(store, load_settings())["metadata"]
    assert shown["found"] == 1
    assert str(shown["rows"].value).count("\n") == 2


def test_what_spotify_withdrew_breaks_no_rule(store: Catalogue) -> None:
    gone = {"upc": None, "label": None, "total_tracks": 12, "fetched_at": NOW}
    store.save(tables.spotify_albums, [ALBUM | gone | {"album_id": "s2"}])
    store.save(tables.spotify_albums, [ALBUM | {"album_id": "s3", "removed_at": NOW}])
    store.save(tables.spotify_tracks, [TRACK | {"track_id": "t4", "isrc": ""}])
    store.save(tables.spotify_albums, [ALBUM | {"total_tracks": 2}])
    assert broken(store) == set()


def test_an_album_that_only_a_search_found_is_known(store: Catalogue) -> None:
    store.save(tables.album_matches, [MATCH | {"album_id": "s9"}])
    found = json.dumps([{"album_id": "s9"}])
    search = {"query": "q", "attempts": 1, "searched_at": NOW, "next_search_at": NOW}
    store.save(tables.album_searches, [search | {"albums": found}])
    assert broken(store) == set()


def test_artists_that_wait_for_their_first_look_or_are_paused_are_not_overdue(
    store: Catalogue,
) -> None:
    late = STATE | {"next_due_at": LONG_AGO}
    store.save(tables.refresh_state, [late | {"last_complete_at": None}])
    assert broken(store) == set()
    store.save(tables.refresh_state, [late | {"status": "gone", "last_complete_at": LONG_AGO}])
    assert broken(store) == set()


def test_calls_that_were_within_the_budget_then_are_right_when_it_is_less_now(
    store: Catalogue,
) -> None:
    calls(99)(store)
    booked(store, budget=400)
    Quota(store.engine, QuotaLimits()).cool_down(0.0, "quota_exceeded", "albums")
    assert Quota(store.engine, QuotaLimits()).budget("albums") == 80
    settings = replace(load_settings(), spotify_daily_requests=50)
    [check] = [each for each in CHECKS if each.name == "no_daily_budget_was_exceeded"]
    assert check.evaluate(store, settings)["passed"]


def test_many_rows_are_counted_and_the_first_are_shown(store: Catalogue) -> None:
    rows = [TRACK | {"track_id": f"x{n}", "isrc": "?"} for n in range(120)]
    store.save(tables.spotify_tracks, rows)
    [check] = [each for each in CHECKS if each.name == "isrcs_have_their_shape"]
    shown = check.evaluate(store, load_settings())["metadata"]
    assert shown["found"] == 120
    assert "and 70 more" in str(shown["rows"].value)


def test_a_refresh_leaves_its_assets_checked(home: Home, instance: dg.DagsterInstance) -> None:
    home.watch(home.artist("Lumen Tide"))
    assert home.refresh(instance).success
    for check in CHECKS:
        key = dg.AssetCheckKey(dg.AssetKey(check.asset), check.name)
        found = instance.get_latest_asset_check_evaluation_record(key)
        assert (found is None) == (check.asset == "embedded_artwork"), check.name


def evaluated_in(instance: dg.DagsterInstance, run_id: str) -> set[str]:
    kind = dg.DagsterEventType.ASSET_CHECK_EVALUATION
    logged = [entry.dagster_event for entry in instance.all_logs(run_id, of_type=kind)]
    return {event.asset_check_evaluation_data.check_name for event in logged if event}


def test_a_refresh_that_asked_for_nothing_leaves_what_was_seen_to_hold(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.watch(home.artist("Lumen Tide"))
    assert home.refresh(instance).success
    written_long_ago(home)
    assert home.refresh(instance).success
    idle = evaluated_in(instance, home.refresh(instance).run_id)
    assert idle == {
        "every_due_artist_was_refreshed",
        "listings_are_as_fresh_as_their_cadence",
        "no_daily_budget_was_exceeded",
        "every_match_names_a_known_album",
    }


def test_what_did_not_hold_or_was_written_since_is_checked_though_nothing_was_asked_for(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.watch(home.artist("Lumen Tide", singles=1))
    assert home.refresh(instance).success
    written_long_ago(home)
    home.change(tables.spotify_tracks, isrc="?")
    whole = {check.name for check in CHECKS if check.asset != "embedded_artwork"}
    home.change(tables.refresh_state, last_attempt_at="2999-01-01T00:00:00Z")
    assert whole <= evaluated_in(instance, home.refresh(instance).run_id)
    written_long_ago(home)
    again = evaluated_in(instance, home.refresh(instance).run_id)
    assert "isrcs_have_their_shape" in again
    assert "tracks_are_stored_once" not in again


def written_long_ago(home: Home) -> None:
    long_ago = "2020-01-01T00:00:00Z"
    home.change(tables.watchlist, added_at=long_ago)
    home.change(tables.refresh_state, last_attempt_at=long_ago)
    home.change(tables.spotify_artists, fetched_at=long_ago)
    home.change(tables.spotify_albums, fetched_at=long_ago)
