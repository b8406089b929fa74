import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, utc_text
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines.steps.retention import Forgotten, forget_spotify_content

NOW = datetime(2026, 11, 23, tzinfo=UTC)
BEFORE = NOW - timedelta(days=365)
OLD, FRESH = utc_text(BEFORE - timedelta(seconds=1)), utc_text(BEFORE + timedelta(seconds=1))


@pytest.fixture
def store(tmp_path) -> Iterator[Catalogue]:
    store = Catalogue.open(f"sqlite:///{tmp_path}/harmony.db")
    yield store
    store.close()


def album(album_id: str, seen: str, body: str | None) -> dict[str, object]:
    row: dict[str, object] = dict.fromkeys((c.name for c in tables.spotify_albums.columns), "x")
    return row | {
        "artist_id": "A",
        "album_id": album_id,
        "album_group": "album",
        "total_tracks": 1,
        "image_width": 1,
        "image_height": 1,
        "first_seen_at": OLD,
        "last_seen_at": seen,
        "removed_at": None,
        "fetched_at": body,
    }


def track(album_id: str) -> dict[str, str]:
    return {"artist_id": "A", "track_id": f"t{album_id}", "album_id": album_id, "name": "a track"}


def forget(store: Catalogue, tmp_path: Path) -> Forgotten:
    covers = ContentStore(tmp_path / "covers")
    return forget_spotify_content(store, covers, BEFORE, Deadline.after(60))


def albums(store: Catalogue) -> dict[str, dict[str, object]]:
    return {row["album_id"]: row for row in store.table(tables.spotify_albums)}


def test_an_album_that_was_not_seen_for_so_long_is_blank_but_for_what_was_seen_when(
    store, tmp_path
):
    store.save(tables.spotify_albums, [album("old", OLD, OLD), album("fresh", FRESH, FRESH)])
    store.save(tables.spotify_tracks, [track("old"), track("fresh")])

    done = forget(store, tmp_path)

    kept = {name: value for name, value in albums(store)["old"].items() if value is not None}
    assert kept == {
        "artist_id": "A",
        "album_id": "old",
        "album_group": "album",
        "first_seen_at": OLD,
        "last_seen_at": OLD,
    }
    assert albums(store)["fresh"] == album("fresh", FRESH, FRESH)
    assert [row["album_id"] for row in store.table(tables.spotify_tracks)] == ["fresh"]
    assert (done.albums, done.bodies) == (1, 1)


def test_a_body_read_so_long_ago_is_asked_for_again_and_the_listing_stays(store, tmp_path):
    store.save(tables.spotify_albums, [album("listed", FRESH, OLD)])
    store.save(tables.spotify_tracks, [track("listed")])

    forget(store, tmp_path)

    row = albums(store)["listed"]
    assert (row["name"], row["fetched_at"], row["upc"]) == ("x", None, None)
    assert store.count(tables.spotify_tracks) == 0


def test_a_release_that_was_news_so_long_ago_stays_an_id_that_was_reported(store, tmp_path):
    news = {"artist_id": "A", "album_id": "n", "artist_name": "a", "name": "b", "run_id": "r"}
    store.save(tables.new_releases, [{**news, "first_seen_at": OLD, "recent": 0}])

    forget(store, tmp_path)

    (row,) = store.table(tables.new_releases)
    assert (row["album_id"], row["run_id"], row["name"], row["artist_name"]) == (
        "n",
        "r",
        None,
        None,
    )


def test_what_was_told_of_a_forgotten_album_goes_with_it(store, tmp_path):
    store.save(tables.spotify_albums, [album("old", OLD, OLD), album("fresh", FRESH, FRESH)])
    missing = {"artist_id": "A", "track_id": "", "name": "an album"}
    store.save(
        tables.missing_from_library,
        [{**missing, "album_id": "old"}, {**missing, "album_id": "fresh"}],
    )
    candidates = [
        {"album_id": one, "name": "an album", "release_date": "2020", "score": 0.5}
        for one in ("old", "fresh")
    ]
    store.save(
        tables.album_matches,
        [{"beets_album_id": 1, "verdict": "unsure", "candidates": json.dumps(candidates)}],
    )

    forget(store, tmp_path)

    assert [row["album_id"] for row in store.table(tables.missing_from_library)] == ["fresh"]
    (match,) = store.table(tables.album_matches)
    assert [(each["album_id"], each["name"]) for each in json.loads(match["candidates"])] == [
        ("old", ""),
        ("fresh", "an album"),
    ]


def test_searches_and_open_questions_of_so_long_ago_are_asked_again(store, tmp_path):
    search = {"attempts": 1, "albums": "[]", "next_search_at": OLD}
    store.save(
        tables.album_searches,
        [
            {**search, "query": "old", "searched_at": OLD},
            {**search, "query": "fresh", "searched_at": FRESH},
        ],
    )
    line = {"text": "Lumen", "code": "NOT_FOUND", "message": "Several.", "first_seen_at": OLD}
    store.save(tables.watchlist_review, [{**line, "line": 1, "checked_at": OLD}])
    store.save(tables.watchlist_review, [{**line, "line": 2, "checked_at": FRESH}])

    forget(store, tmp_path)

    assert [row["query"] for row in store.table(tables.album_searches)] == ["fresh"]
    assert [row["line"] for row in store.table(tables.watchlist_review)] == [2]


def test_a_second_time_nothing_is_left_to_forget(store, tmp_path):
    artist = {"artist_id": "A", "name": "Lumen Tide", "fetched_at": OLD}
    store.save(tables.spotify_artists, [artist])
    store.save(tables.spotify_albums, [album("old", OLD, OLD)])

    first, second = forget(store, tmp_path), forget(store, tmp_path)

    assert (first.artists, first.albums) == (1, 1)
    assert second == Forgotten()


def test_time_that_is_up_keeps_what_was_done(store, tmp_path):
    store.save(tables.spotify_albums, [album("old", OLD, OLD)])

    with pytest.raises(HarmonyError) as late:
        forget_spotify_content(store, ContentStore(tmp_path / "covers"), BEFORE, Deadline.after(-1))

    assert late.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert albums(store)["old"]["name"] == "x"
