import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.beets_config import BeetsConfig
from harmony_pipelines.clients.beets_library import BeetsLibrary
from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.settings import load_settings
from harmony_pipelines.steps import compare
from harmony_pipelines_tests.conftest import Home

ARTIST = "a1"


@dataclass
class Shelf:
    """A store with one artist's two albums on Spotify, one of which the library has."""

    store: Store
    home: Home
    albums: list[dict[str, Any]] = field(default_factory=list)

    def fill(self) -> None:
        watched = {"artist_id": ARTIST, "partition_key": "k", "name": "Lumen Tide", "paused": 0}
        groups = json.dumps(["album", "single"])
        self.store.save(tables.watchlist, [watched | {"groups": groups, "added_at": "2026"}])
        self.store.save(tables.spotify_artists, [{"artist_id": ARTIST, "name": "Lumen Tide"}])
        for album_id, name in (("s1", "Harbour Lights"), ("s2", "Low Water")):
            self._add_to_spotify(album_id, name)
        album = {"beets_album_id": 7, "albumartist": "Lumen Tide", "album": "Harbour Lights"}
        self.store.save(tables.beets_albums, [album | {"year": 2019, "tracks": 3}])
        self.store.save(
            tables.beets_tracks,
            [
                {
                    "beets_item_id": number, "beets_album_id": 7, "artist": "Lumen Tide",
                    "title": f"Harbour Lights {number}", "disc": 1, "track": number,
                    "duration_ms": 200_000,
                }
                for number in (1, 2, 3)
            ],
        )  # fmt: skip

    def add_listings(self, artists: int, text: str) -> None:
        """Watch more artists, each with five albums that the library lacks, with a long text."""
        ids = [f"m{number:04}" for number in range(artists)]
        watched = {"partition_key": "k", "name": "Many", "paused": 0, "added_at": "2026"}
        album = {
            "name": "N", "artists": "[]", "album_type": "album", "album_group": "album",
            "spotify_url": text, "first_seen_at": "2026", "last_seen_at": "2026",
        }  # fmt: skip
        more = [{"artist_id": each, "groups": '["album"]', **watched} for each in ids]
        self.store.save(tables.watchlist, more)
        albums = [
            {"artist_id": each, "album_id": f"{each}{n}", **album} for each in ids for n in range(5)
        ]
        self.store.save(tables.spotify_albums, albums)

    def _add_to_spotify(self, album_id: str, name: str) -> None:
        artists = json.dumps([{"id": ARTIST, "name": "Lumen Tide"}])
        album = {
            "artist_id": ARTIST, "album_id": album_id, "name": name, "artists": artists,
            "album_type": "album", "album_group": "album", "release_date": "2019-05-01",
            "release_date_precision": "day", "total_tracks": 3, "first_seen_at": "2026",
            "last_seen_at": "2026", "fetched_at": "2026",
        }  # fmt: skip
        tracks = [
            {
                "artist_id": ARTIST, "track_id": f"{album_id}t{number}", "album_id": album_id,
                "name": f"{name} {number}", "artists": artists, "disc_number": 1,
                "track_number": number, "duration_ms": 200_000,
            }
            for number in (1, 2, 3)
        ]  # fmt: skip
        self.store.save(tables.spotify_albums, [album])
        self.store.save(tables.spotify_tracks, tracks)


@pytest.fixture
def shelf(home: Home) -> Iterator[Shelf]:
    shelf = Shelf(Store.open(home.url), home)
    shelf.fill()
    yield shelf
    shelf.store.close()


def test_a_library_album_is_matched_and_the_other_is_missing(shelf: Shelf) -> None:
    [match] = compare.match(shelf.store, load_settings())
    assert (match["album"], match["album_id"], match["verdict"]) == (
        "Harbour Lights",
        "s1",
        "matched",
    )
    assert [row["name"] for row in compare.missing(shelf.store, load_settings(), 9).first] == [
        "Low Water"
    ]
    stored = shelf.store.table(tables.missing_from_library)
    assert [(row["album_id"], row["track_id"]) for row in stored if not row["hidden_reason"]] == [
        ("s2", "")
    ]


def test_what_the_user_decided_beats_every_heuristic(shelf: Shelf) -> None:
    shelf.home.folder.joinpath("decisions.yaml").write_text("match:\n  7: never\n")
    [match] = compare.match(shelf.store, load_settings())
    assert (match["verdict"], match["album_id"]) == ("unmatched", None)


def test_what_the_user_ignores_is_hidden_and_keeps_its_row(shelf: Shelf) -> None:
    settings = load_settings()
    compare.match(shelf.store, settings)
    assert compare.missing(shelf.store, settings, 9).albums == 1
    [row] = [r for r in shelf.store.table(tables.missing_from_library) if r["album_id"] == "s2"]
    shelf.store.save(tables.spotify_albums, [])
    shelf.home.folder.joinpath("decisions.yaml").write_text(
        "ignore_missing:\n  - {artist: Lumen Tide, group: album}\n"
    )
    assert compare.missing(shelf.store, load_settings(), 9) == compare.Missing(0, 0, [])
    [hidden] = [r for r in shelf.store.table(tables.missing_from_library) if r["album_id"] == "s2"]
    assert (row["hidden_reason"], hidden["hidden_reason"] is not None) == (None, True)


def test_an_album_of_several_artists_lacks_a_track_whoever_it_is_stored_under(shelf: Shelf) -> None:
    other = {"artist_id": "a2", "name": "Night Ferry"}
    watched = {"partition_key": "k2", "paused": 0, "added_at": "2026", "groups": '["album"]'}
    shelf.store.save(tables.watchlist, [other | watched])
    shelf.store.save(tables.spotify_artists, [other])
    [album] = shelf.store.table(tables.spotify_albums, tables.spotify_albums.c.album_id == "s1")
    shelf.store.save(tables.spotify_albums, [album | {"artist_id": "a2"}])
    with shelf.store.writing() as connection:
        tracks = tables.spotify_tracks.c
        moved = sa.update(tables.spotify_tracks).where(tracks.album_id == "s1")
        connection.execute(moved.values(artist_id="a2"))
        items = tables.beets_tracks
        connection.execute(sa.delete(items).where(items.c.beets_item_id == 2))

    settings = load_settings()
    [match] = compare.match(shelf.store, settings)
    assert (match["album_id"], match["verdict"]) == ("s1", "matched")
    assert compare.missing(shelf.store, settings, 9).tracks == 2
    stored = shelf.store.table(tables.missing_from_library)
    assert [(row["artist_id"], row["album_id"], row["track_id"]) for row in stored] == [
        ("a1", "s1", "s1t2"),
        ("a1", "s2", ""),
        ("a2", "s1", "s1t2"),
    ]


def test_an_album_of_several_artists_is_no_rival_of_itself(shelf: Shelf) -> None:
    [album] = shelf.store.table(tables.spotify_albums, tables.spotify_albums.c.album_id == "s1")
    shelf.store.save(tables.spotify_albums, [album | {"artist_id": "a2", "removed_at": "2026"}])
    [match] = compare.match(shelf.store, load_settings())
    assert (match["album_id"], match["verdict"]) == ("s1", "matched")
    assert [each["album_id"] for each in json.loads(match["candidates"])] == ["s1"]


def test_reports_hold_a_part_of_a_large_catalogue(shelf: Shelf) -> None:
    text = "https://x/" + 10_000 * "x"
    shelf.add_listings(800, text)
    settings = load_settings()
    tracemalloc.start()
    compare.match(shelf.store, settings)
    _, matching = tracemalloc.get_traced_memory()
    tracemalloc.reset_peak()
    found = compare.missing(shelf.store, settings, shown=9)
    _, missing = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found.albums == 4001
    stored = 4000 * len(text)
    assert max(matching, missing) < stored / 2, f"{matching / stored:.2f}, {missing / stored:.2f}"


def test_only_what_is_shown_is_news_latest_first(shelf: Shelf) -> None:
    shelf.store.save(
        tables.new_releases,
        [
            {
                "artist_id": ARTIST, "album_id": album, "name": album, "first_seen_at": seen,
                "hidden_reason": hidden, "recent": 0,
            }
            for album, seen, hidden in (
                ("n1", "2026-01-01", None),
                ("n2", "2026-03-01", None),
                ("n3", "2026-02-01", "reissue"),
            )
        ],
    )  # fmt: skip
    assert [row["album_id"] for row in compare.news(shelf.store, 5)] == ["n2", "n1"]
    assert [row["album_id"] for row in compare.news(shelf.store, 1)] == ["n2"]


@pytest.fixture
def library(tmp_path: Path) -> BeetsLibrary:
    made = make_library(tmp_path / "beets")
    return BeetsLibrary(BeetsConfig(made.database, made.music_directory))


@pytest.mark.slow
def test_what_is_known_of_a_file_stays_while_the_file_is_the_same(
    home: Home, library: BeetsLibrary
) -> None:
    with home.store() as store:
        found = compare.snapshot(library, store, Deadline.after(60))
        assert (found.albums, found.missing_files) == (len(store.table(tables.beets_albums)), 1)
        same, other, *_ = [row for row in store.table(tables.beets_tracks) if row["size"]]
        store.save(tables.beets_tracks, [{**row, "has_front": 1} for row in (same, other)])
        Path(other["path"]).write_bytes(b"other")
        compare.snapshot(library, store, Deadline.after(60))
        fronts = {
            row["beets_item_id"]: row["has_front"] for row in store.table(tables.beets_tracks)
        }
        assert (fronts[same["beets_item_id"]], fronts[other["beets_item_id"]]) == (1, None)


@pytest.mark.slow
def test_a_library_that_shrank_changes_nothing_until_the_user_says_so(
    home: Home, library: BeetsLibrary
) -> None:
    with home.store() as store:
        compare.snapshot(library, store, Deadline.after(60))
        before = store.table(tables.beets_tracks)
        for row in before[: len(before) * 2 // 5]:
            Path(row["path"]).unlink(missing_ok=True)
        with pytest.raises(HarmonyError) as refused:
            compare.snapshot(library, store, Deadline.after(60))
        assert (refused.value.code, refused.value.reason) == (
            ErrorCode.DEPENDENCY_ERROR,
            Reason.LIBRARY_SHRANK,
        )
        assert store.table(tables.beets_tracks) == before
        compare.snapshot(library, store, Deadline.after(60), accept_shrink=True)
        assert store.table(tables.beets_tracks) != before
