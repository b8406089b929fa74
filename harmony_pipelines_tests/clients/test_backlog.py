from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.backlog import (
    Backlog,
    put_off,
    save_bodies,
    save_body_failure,
    save_isrcs,
)
from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.clients.catalogue import utc_text
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.clients.discographies import Attempt, save_discography
from harmony_pipelines.clients.spotify import BodiesRead
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.discography import (
    ArtistCatalogue,
    body_rows,
    listed_album_row,
)
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.steps.retention import forget_spotify_content

START = datetime(2026, 11, 20, 12, tzinfo=UTC)
DOWN = HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR, "Spotify is down.")
OLD = "1980-01-01"


def at(day: float) -> datetime:
    return START + timedelta(days=day)


def body(album_id: str, date: str = OLD, tracks: int = 1, **fields: Any) -> dict[str, Any]:
    """An album as a listing has it, and its body."""
    listed = [
        {"id": f"{album_id}t{number}", "name": f"{album_id} {number}", "duration_ms": 200_000}
        for number in range(tracks)
    ]
    return {
        "id": album_id,
        "name": album_id,
        "release_date": date,
        "release_date_precision": "day",
        "album_type": "single",
        "total_tracks": tracks,
        "tracks": {"items": listed},
        **fields,
    }


class Watched:
    """Watched artists of whom listings and bodies come as a test says."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def watch(self, *artists: str, **fields: Any) -> None:
        rows = [
            {
                "artist_id": one,
                "partition_key": one,
                "name": one,
                "groups": '["album", "single"]',
                "paused": 0,
                "added_at": "2026",
                **fields,
            }
            for one in artists
        ]
        self.store.save(tables.watchlist, rows)

    def listed(self, artist: str, *albums: dict[str, Any], day: float = 0) -> None:
        rows = tuple(listed_album_row(artist, "single", each) for each in albums)
        brought = ArtistCatalogue(artist, ("album", "single"), albums=rows, complete=True)
        save_discography(self.store, brought, Attempt(at(day), f"run {day}", "DE"))

    def read(
        self, artist: str, *bodies: dict[str, Any], gone: tuple[str, ...] = (), day: float = 0
    ) -> None:
        rows = {each["id"]: body_rows(artist, "single", each) for each in bodies}
        save_bodies(self.store, BodiesRead(artist, rows, frozenset(gone)), len(rows), at(day))

    def waiting(self, day: float = 0, *artists: str) -> list[str]:
        """The bodies that wait, in the order of spending, each once."""
        backlog = Backlog(self.store, at(day), artists)
        found = list(dict.fromkeys(row["album_id"] for row in backlog.bodies()))
        assert sum(backlog.how_many_bodies().values()) == len(found)
        assert backlog.is_body_waiting() is bool(found)
        return found

    def album(self, album_id: str) -> dict[str, Any]:
        albums = tables.spotify_albums
        [row] = self.store.table(albums, albums.c.album_id == album_id)
        return row

    def hidden(self) -> dict[str, str | None]:
        return {
            row["album_id"]: row["hidden_reason"] for row in self.store.table(tables.new_releases)
        }

    def state(self, artist: str) -> dict[str, Any]:
        [row] = self.store.table(tables.refresh_state, tables.refresh_state.c.artist_id == artist)
        return row


@pytest.fixture
def watched(tmp_path: Path) -> Any:
    store = Store.open(f"sqlite:///{tmp_path}/harmony.db")
    watched = Watched(store)
    watched.watch("a", "b")
    yield watched
    store.close()


# Which bodies wait, and which first


def test_the_newest_come_first_whoever_s_they_are(watched: Watched) -> None:
    watched.listed("a", body("old", "1970"), body("newer", "2001-05"))
    watched.listed("b", body("mid", "1999-01-01"), body("newest", "2020"), body("none", ""))
    assert watched.waiting() == ["newest", "newer", "mid", "old", "none"]
    assert watched.waiting(0, "a") == ["newer", "old"]


def test_new_releases_come_before_candidates_for_the_library_and_these_before_the_rest(
    watched: Watched,
) -> None:
    watched.listed("a", body("first", "1960"))
    watched.listed("a", body("first", "1960"), body("news", "1950"), day=1)
    watched.listed("b", body("newest", "2020"), body("candidate", "1970"), day=1)
    row = {
        "beets_album_id": 1,
        "album_id": None,
        "verdict": "unsure",
        "candidates": '[{"album_id": "candidate", "name": "x"}]',
    }
    watched.store.save(tables.album_matches, [row])
    assert watched.waiting(1) == ["news", "candidate", "newest", "first"]


def test_a_long_queue_is_read_to_its_end(watched: Watched) -> None:
    watched.listed("a", *(body(f"x{number}") for number in range(1500)))
    watched.listed("b", *(body(f"x{number}") for number in range(700)))
    queue = [(r["artist_id"], r["album_id"]) for r in Backlog(watched.store, START).bodies()]
    assert len(queue) == len(set(queue)) == 2200


def test_only_followed_groups_of_watched_artists_wait(watched: Watched) -> None:
    watched.listed("a", body("x"))
    watched.listed("b", body("y"))
    watched.watch("a", groups='["album"]')
    watched.watch("b", paused=1)
    assert watched.waiting() == []
    watched.watch("b")
    assert watched.waiting() == ["y"]


def test_what_was_removed_does_not_wait_until_it_comes_back(watched: Watched) -> None:
    watched.listed("a", body("x"), body("y"))
    for day in (1, 2):
        watched.listed("a", body("x"), day=day)
    assert watched.waiting(2) == ["x"]
    watched.listed("a", body("x"), body("y"), day=3)
    assert watched.waiting(3) == ["y", "x"]


def test_bodies_of_an_artist_that_failed_wait_with_it(watched: Watched) -> None:
    watched.listed("a", body("x"))
    save_body_failure(watched.store, "a", DOWN, START)
    state = watched.state("a")
    assert (state["status"], state["code"], state["attempts"]) == (
        "partial",
        "DEPENDENCY_ERROR",
        1,
    )
    assert state["next_due_at"] <= utc_text(at(1 / 24))
    assert watched.waiting() == []
    assert watched.waiting(1) == ["x"]


# When the clock was set back


def test_what_is_to_be_read_at_once_waits_by_a_clock_since_set_back(watched: Watched) -> None:
    watched.listed("a", body("x"), day=9)
    assert watched.waiting(0) == ["x"]
    watched.read("a", body("x"), day=9)
    watched.listed("a", body("x", name="y"), day=9)
    assert watched.waiting(0) == ["x"]


def test_a_body_that_was_read_by_a_clock_years_ahead_is_read_again(watched: Watched) -> None:
    watched.listed("a", body("x"))
    watched.read("a", body("x"), day=3650)
    assert watched.waiting(0) == ["x"]
    [row] = Backlog(watched.store, START).bodies()
    assert Backlog(watched.store, START).waits(row)


# When a body is read again


def test_a_body_is_read_once_and_again_after_half_a_year(watched: Watched) -> None:
    watched.listed("a", body("x"), body("y"))
    watched.read("a", body("x"), gone=("y",))
    for day in (1, 100, 179):
        watched.listed("a", body("x"), body("y"), day=day)
        assert watched.waiting(day) == []
    assert watched.waiting(180) == ["y", "x"]


def test_a_body_is_read_again_when_its_entry_in_the_listing_changed(watched: Watched) -> None:
    watched.listed("a", body("x"), body("y"))
    watched.read("a", body("x"), body("y"))
    changed = body("x", total_tracks=2)
    watched.listed("a", changed, body("y"), day=1)
    assert watched.waiting(1) == ["x"]
    assert watched.album("x")["fetched_at"] == utc_text(START)
    assert watched.album("x")["total_tracks"] == 2
    assert watched.state("a")["status"] == "complete"
    watched.read("a", body("x", tracks=2), day=1)
    watched.listed("a", changed, body("y"), day=2)
    assert watched.waiting(2) == []
    assert len(watched.store.table(tables.spotify_tracks)) == 3


def test_a_young_release_is_read_every_few_days_until_it_is_old(watched: Watched) -> None:
    young = body("x", "2026-11-18")
    watched.listed("a", young)
    read: list[int] = []
    for day in range(60):
        if watched.waiting(day):
            watched.read("a", young, day=day)
            read.append(day)
    assert read == [0, 4, 8, 12, 16]


def test_what_an_older_version_stored_is_no_change(watched: Watched) -> None:
    watched.listed("a", body("x"))
    watched.read("a", body("x"))
    watched.store.save(tables.spotify_albums, [watched.album("x") | {"listed_as": None}])
    watched.listed("a", body("x"), day=1)
    assert watched.waiting(1) == []
    assert watched.album("x")["listed_as"]


def test_what_retention_forgot_is_read_again_if_it_is_still_listed(
    watched: Watched, tmp_path: Path
) -> None:
    watched.listed("a", body("x"), body("y"))
    watched.read("a", body("x"), body("y"))
    watched.listed("a", body("x"), day=40)
    covers = ContentStore(tmp_path / "covers")
    forget_spotify_content(watched.store, covers, at(30), Deadline.after(60))
    watched.listed("a", body("x"), body("z"), day=41)
    assert (watched.album("x")["name"], watched.album("y")["name"]) == ("x", None)
    assert "x" in watched.waiting(41)
    watched.listed("a", body("x"), body("y"), day=42)
    assert watched.album("y")["name"] == "y"
    assert {"x", "y", "z"} == {*watched.waiting(42)}
    assert watched.hidden().keys() == {"z"}


# What a body tells


def test_an_empty_shell_is_neither_news_nor_overwritten_by_the_listing(watched: Watched) -> None:
    watched.listed("a", body("x"))
    watched.listed("a", body("x"), body("shell"), day=1)
    assert watched.hidden() == {"shell": None}
    watched.read("a", body("shell", "0000", name=""), day=1)
    assert watched.hidden() == {"shell": "withdrawn"}
    watched.listed("a", body("x"), body("shell"), day=2)
    shell = watched.album("shell")
    assert (shell["name"], shell["release_date"], shell["removed_at"]) == ("", "0000", None)
    assert shell["last_seen_at"] == utc_text(at(2))
    assert "shell" not in watched.waiting(2)


def test_a_reissue_is_hidden_as_soon_as_both_bodies_are_there(watched: Watched) -> None:
    upc: Any = {"external_ids": {"upc": "123456789012"}}
    watched.listed("a", body("original"))
    watched.listed("a", body("original"), body("again"), day=1)
    watched.read("a", body("again", **upc), day=1)
    assert watched.hidden() == {"again": None}
    watched.read("a", body("original", **upc), day=2)
    assert watched.hidden() == {"again": "reissue"}


def test_an_isrc_once_known_stays_when_the_body_is_read_again(watched: Watched) -> None:
    watched.listed("a", body("x"))
    watched.read("a", body("x"))
    backlog = Backlog(watched.store, START)
    rows = list(backlog.tracks())
    assert [row["track_id"] for row in rows] == ["xt0"]
    save_isrcs(watched.store, {"xt0": "DEA010800001"}, rows)
    watched.read("a", body("x"), day=1)
    assert watched.store.table(tables.spotify_tracks)[0]["isrc"] == "DEA010800001"
    assert list(backlog.tracks()) == []
    assert not backlog.is_track_waiting()


def test_a_track_of_two_watched_artists_gets_its_isrc_for_both(watched: Watched) -> None:
    shared = body("x")
    shared["tracks"]["items"][0]["artists"] = [{"id": "a"}, {"id": "b"}]
    for artist in ("a", "b"):
        watched.listed(artist, shared)
        watched.read(artist, shared)
    rows = list(Backlog(watched.store, START).tracks())
    save_isrcs(watched.store, {"xt0": ""}, rows[:1])
    assert [row["isrc"] for row in watched.store.table(tables.spotify_tracks)] == ["", ""]


# How it is said


def test_what_bodies_wait_for_is_said_of_those_who_wait(watched: Watched) -> None:
    watched.listed("a", body("x"))
    watched.listed("b", body("y"))
    watched.read("b", body("y"))
    spent = HarmonyError(ErrorCode.RATE_LIMITED, Reason.BUDGET_SPENT, "Spent.")
    put_off(watched.store, spent, ["a", "b"])
    assert (watched.state("a")["status"], watched.state("a")["code"]) == (
        "deferred",
        "RATE_LIMITED",
    )
    assert (watched.state("b")["status"], watched.state("b")["code"]) == ("complete", None)
    watched.read("a", body("x"))
    assert (watched.state("a")["status"], watched.state("a")["message"]) == ("complete", None)


def test_what_was_committed_since_is_told_again(watched: Watched) -> None:
    watched.listed("a", body("x"))
    state = tables.refresh_state
    watched.store.save(state, [watched.state("a") | {"materialised_at": utc_text(START)}])
    watched.read("a", body("x"))
    assert watched.state("a")["materialised_at"] is None
