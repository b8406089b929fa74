from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.backlog import Backlog, save_bodies
from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.clients.discographies import (
    Attempt,
    due_artists,
    how_many_due,
    least_recently_listed,
    save_discography,
    save_failure,
)
from harmony_pipelines.clients.spotify import BodiesRead
from harmony_pipelines.domain.discography import (
    ArtistCatalogue,
    artist_row,
    body_rows,
    listed_album_row,
)
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
ARTIST = "a1"
DOWN = HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR, "Spotify is down.")


def attempt(day: int = 0, **changes: Any) -> Attempt:
    return replace(Attempt(START + timedelta(days=day), f"run {day}", "DE"), **changes)


def body(album_id: str, date: str = "1980-01-01", **fields: Any) -> dict[str, Any]:
    tracks = [{"id": f"{album_id}t1", "name": f"Track of {album_id}", "duration_ms": 200_000}]
    return {
        "id": album_id,
        "name": album_id,
        "release_date": date,
        "release_date_precision": "day",
        "album_type": "single",
        "external_ids": {"upc": f"upc of {album_id}"},
        "tracks": {"items": tracks},
        **fields,
    }


def listing(*albums: str | tuple[str, str], group: str = "single") -> ArtistCatalogue:
    """A complete listing without bodies; an album is an id, or an id and a date."""
    pairs = [(one, "1980-01-01") if isinstance(one, str) else one for one in albums]
    rows = tuple(listed_album_row(ARTIST, group, body(*pair)) for pair in pairs)
    return ArtistCatalogue(
        ARTIST, ("album", "single"), artist=artist_row({"id": ARTIST, "name": "Lumen Tide"}),
        albums=rows, complete=True,
    )  # fmt: skip


class Artist:
    """What is stored of one artist."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def save(self, brought: ArtistCatalogue, day: int = 0, **changes: Any) -> Any:
        return save_discography(self.store, brought, attempt(day, **changes))

    def whole(self, *albums: str | tuple[str, str], day: int = 0) -> None:
        """A complete listing, and the bodies of all of it."""
        self.save(listing(*albums), day)
        pairs = [(one, "1980-01-01") if isinstance(one, str) else one for one in albums]
        self.bodies(*(body(*pair) for pair in pairs), day=day)

    def bodies(self, *bodies: dict[str, Any], gone: tuple[str, ...] = (), day: int = 0) -> None:
        rows = {each["id"]: body_rows(ARTIST, "single", each) for each in bodies}
        read = BodiesRead(ARTIST, rows, frozenset(gone))
        save_bodies(self.store, read, 1, START + timedelta(days=day))

    def waiting(self, day: int = 0) -> list[str]:
        moment = START + timedelta(days=day)
        return [row["album_id"] for row in Backlog(self.store, moment).bodies()]

    def albums(self, column: str) -> dict[str, Any]:
        return {r["album_id"]: r[column] for r in self.store.table(tables.spotify_albums)}

    def removed(self) -> set[str]:
        return {album for album, at in self.albums("removed_at").items() if at}

    def news(self) -> list[str]:
        return [row["album_id"] for row in self.store.table(tables.new_releases)]

    def state(self) -> dict[str, Any]:
        [row] = self.store.table(tables.refresh_state)
        return row


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path}/harmony.db")
    yield store
    store.close()


@pytest.fixture
def artist(store: Store) -> Artist:
    return Artist(store)


# What is stored


def test_a_listing_does_not_blank_what_a_body_told(artist: Artist) -> None:
    artist.whole("x", "y")
    artist.save(listing("x", "y", "z"), 1)
    assert artist.albums("upc") == {"x": "upc of x", "y": "upc of y", "z": None}
    assert artist.albums("fetched_at")["z"] is None
    assert len(artist.store.table(tables.spotify_tracks)) == 2


def test_when_an_album_was_first_and_last_seen_is_remembered(artist: Artist) -> None:
    artist.whole("x")
    artist.save(listing("x"), 3)
    assert artist.albums("first_seen_at") == {"x": "2026-11-20T12:00:00Z"}
    assert artist.albums("last_seen_at") == {"x": "2026-11-23T12:00:00Z"}
    assert artist.albums("fetched_at") == {"x": "2026-11-20T12:00:00Z"}


def test_a_track_keeps_the_isrc_it_once_had(artist: Artist) -> None:
    artist.whole("x")
    [track] = artist.store.table(tables.spotify_tracks)
    artist.store.save(tables.spotify_tracks, [{**track, "isrc": "DEA010800001"}])
    artist.whole("x", day=1)
    assert artist.store.table(tables.spotify_tracks)[0]["isrc"] == "DEA010800001"


def test_nothing_is_written_once_the_run_is_over(store: Store) -> None:
    def over() -> None:
        raise HarmonyError(ErrorCode.CONFLICT, Reason.RUN_OVER, "Over.")

    with pytest.raises(HarmonyError):
        save_discography(Store(store.engine, over), listing("x"), attempt())
    for table in (tables.spotify_albums, tables.spotify_artists, tables.refresh_state):
        assert store.table(table) == []


def test_a_new_name_reaches_the_watchlist(artist: Artist) -> None:
    row = {"artist_id": ARTIST, "partition_key": "old-a1", "name": "Old", "paused": 0}
    artist.store.save(tables.watchlist, [{**row, "added_at": "2026"}])
    artist.whole("x")
    [row] = artist.store.table(tables.watchlist)
    assert (row["name"], row["partition_key"]) == ("Lumen Tide", "old-a1")


# What is new


def test_the_first_complete_listing_is_no_news_but_for_what_is_recent(artist: Artist) -> None:
    artist.whole("old", ("fresh", "2026-11-01"))
    assert artist.news() == ["fresh"]
    assert artist.store.table(tables.new_releases)[0]["recent"] == 1
    artist.save(listing("old", ("fresh", "2026-11-01")), 1)
    assert artist.news() == ["fresh"]


def test_a_release_is_news_once_whatever_its_date(artist: Artist) -> None:
    artist.whole("old")
    artist.save(listing("old", "backdated", ("today", "2026-11-21")), 1)
    assert artist.news() == ["backdated", "today"]
    artist.save(listing("old", "backdated", ("today", "2026-11-21")), 2)
    artist.save(listing("old"), 3)
    artist.save(listing("old", "backdated"), 4)
    assert artist.news() == ["backdated", "today"]
    assert {row["run_id"] for row in artist.store.table(tables.new_releases)} == {"run 1"}


def test_a_release_that_a_failed_listing_brought_is_news_all_the_same(artist: Artist) -> None:
    artist.whole("old")
    broken = replace(listing("new"), complete=False, error=DOWN)
    assert artist.save(broken, 1).status == "partial"
    artist.save(listing("old", "new", "newer"), 2)
    assert artist.news() == ["new", "newer"]
    assert artist.removed() == set()


def test_a_first_listing_that_failed_is_no_baseline(artist: Artist) -> None:
    artist.save(replace(listing("x"), complete=False, error=DOWN))
    artist.save(listing("x", "y", "z"), 1)
    assert artist.news() == []
    assert artist.state()["baseline_at"] == "2026-11-21T12:00:00Z"
    artist.save(listing("x", "y", "z", "new"), 2)
    assert artist.news() == ["new"]


def test_another_market_is_a_new_baseline(artist: Artist) -> None:
    artist.whole("x", "onlyhere")
    artist.save(listing("x", "onlythere"), 1, market="FR")
    assert (artist.news(), artist.removed()) == ([], set())
    artist.save(listing("x", "onlythere", "new"), 2, market="FR")
    assert artist.news() == ["new"]


def test_an_added_group_is_a_new_baseline_for_what_it_adds(artist: Artist) -> None:
    artist.whole("x")
    wider = replace(
        listing("x", "newsingle"),
        groups=("album", "single", "compilation"),
        albums=listing("x", "newsingle").albums + listing("best", group="compilation").albums,
    )
    artist.save(wider, 1)
    assert (artist.news(), artist.removed()) == (["newsingle"], set())


# What is gone


def test_an_album_is_removed_when_two_complete_listings_lack_it(artist: Artist) -> None:
    artist.whole("x", "y")
    artist.save(listing("x"), 1)
    assert artist.removed() == set()
    artist.save(listing("x"), 2)
    assert artist.removed() == {"y"}
    artist.save(listing("x", "y"), 3)
    assert artist.removed() == set()
    assert artist.news() == []


def test_a_listing_that_failed_or_saw_only_the_newest_removes_nothing(artist: Artist) -> None:
    artist.whole("x", "y")
    artist.save(listing("x"), 1)
    artist.save(replace(listing("x"), complete=False, error=DOWN), 2)
    artist.save(replace(listing("x"), newest_only=True), 3)
    assert artist.removed() == set()
    artist.save(listing("x"), 4)
    assert artist.removed() == {"y"}


def test_looks_at_the_newest_do_not_count_as_listings(artist: Artist) -> None:
    artist.whole("x", "y")
    artist.save(replace(listing("x"), newest_only=True), 1)
    artist.save(listing("x"), 2)
    assert artist.removed() == set()


def test_a_group_that_was_cut_short_by_our_own_limit_loses_nothing(artist: Artist) -> None:
    artist.whole("x", "y")
    for day in (1, 2, 3):
        artist.save(replace(listing("x"), capped=frozenset({"single"})), day)
    assert artist.removed() == set()


def test_a_group_that_is_no_longer_followed_loses_nothing(artist: Artist) -> None:
    artist.whole("x", "y")
    for day in (1, 2, 3):
        artist.save(replace(listing(), groups=("album",)), day)
    assert artist.removed() == set()


# How it ended


def test_a_failure_keeps_what_is_stored_and_is_tried_again_within_the_hour(artist: Artist) -> None:
    artist.whole("x")
    for number in (1, 2):
        saved = save_failure(artist.store, ARTIST, DOWN, "failed", attempt(number))
        assert (saved.status, artist.state()["attempts"]) == ("failed", number)
    state = artist.state()
    assert (state["code"], state["reason"], state["message"]) == (
        "DEPENDENCY_ERROR",
        "server_error",
        "Spotify is down.",
    )
    assert state["last_complete_at"] == "2026-11-20T12:00:00Z"
    assert "2026-11-22T12:00:00Z" < state["next_due_at"] <= "2026-11-22T14:00:00Z"
    artist.whole("x", day=3)
    assert (artist.state()["attempts"], artist.state()["code"]) == (0, None)


def test_who_is_gone_is_never_due(artist: Artist) -> None:
    saved = save_failure(artist.store, ARTIST, DOWN, "gone", attempt())
    assert (saved.next_due_at, artist.state()["attempts"]) == (None, 0)


def test_a_fault_of_everybody_s_puts_off_and_does_not_fail(artist: Artist) -> None:
    artist.whole("x")
    broken = replace(listing("x"), complete=False, error=DOWN)
    assert artist.save(broken, 1, stopped=True).status == "deferred"
    assert artist.state()["attempts"] == 0
    assert artist.state()["next_due_at"] <= "2026-11-21T12:00:00Z"


def test_an_artist_whose_bodies_wait_is_put_off_and_listed_as_usual(artist: Artist) -> None:
    saved = artist.save(listing("x", "y"))
    assert (saved.status, saved.bodies_pending) == ("deferred", 2)
    assert artist.state()["next_due_at"] > "2026-12-01"
    artist.bodies(body("x"))
    assert (artist.state()["status"], artist.state()["bodies_pending"]) == ("deferred", 1)
    artist.bodies(body("y"))
    state = artist.state()
    assert (state["status"], state["bodies_pending"], state["requests"]) == ("complete", 0, 2)


# Who is due


def watch(store: Store, **artists: int | None) -> None:
    rows = [
        {
            "artist_id": name, "partition_key": name, "name": name, "line": line,
            "paused": 0, "added_at": "2026",
        }
        for name, line in artists.items()
    ]  # fmt: skip
    store.save(tables.watchlist, rows)


def state(store: Store, name: str, status: str, due: str | None, listed: str = "2026") -> None:
    store.save(
        tables.refresh_state,
        [
            {
                "artist_id": name, "status": status, "attempts": 0, "next_due_at": due,
                "bodies_pending": 0, "requests": 0, "last_listed_at": listed,
                "baseline_at": listed,
            }
        ],
    )  # fmt: skip


def test_who_is_due_longest_comes_first_and_those_without_a_baseline_last(store: Store) -> None:
    watch(store, beets=None, b=3, a=2, late=4, early=5, gone=6, never=7, paused=8)
    [paused] = store.table(tables.watchlist, tables.watchlist.c.name == "paused")
    store.save(tables.watchlist, [{**paused, "paused": 1}])
    state(store, "late", "complete", "2026-11-19T00:00:00Z")
    state(store, "early", "failed", "2026-11-01T00:00:00Z")
    state(store, "gone", "gone", None)
    state(store, "never", "complete", "2026-12-19T00:00:00Z")
    due = [row["name"] for row in due_artists(store, START, 10)]
    assert due == ["early", "late", "a", "b", "beets"]
    assert [row["name"] for row in due_artists(store, START, 2)] == ["early", "late"]


def test_a_time_that_only_a_clock_set_back_explains_is_due(store: Store) -> None:
    watch(store, ahead=1, soon=2)
    state(store, "ahead", "complete", "2027-11-21T00:00:00Z")
    state(store, "soon", "complete", "2026-12-10T00:00:00Z")
    assert [row["name"] for row in due_artists(store, START, 10)] == ["ahead"]
    assert how_many_due(store, START)[:2] == (1, "2026-12-10T00:00:00Z")


def test_a_sweep_takes_those_first_whose_listings_were_read_longest_ago(store: Store) -> None:
    watch(store, a=2, b=3, c=4)
    state(store, "a", "complete", "2027", listed="2026-11-02")
    state(store, "b", "complete", "2027", listed="2026-11-01")
    assert [row["name"] for row in least_recently_listed(store, 2)] == ["c", "b"]
