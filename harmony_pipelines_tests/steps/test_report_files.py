import csv
import io
import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import feedparser
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.reports import (
    MISSING_COLUMNS,
    ROWS_OF_A_PAGE,
    Passed,
    missing_csv,
    missing_page,
    news_feed,
)
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines.steps.report_files import missing_rows, write_missing, write_news
from harmony_pipelines_tests.conftest import Home

HOSTILE = "<script>alert('1')</script>\x00\u202e &amp; \"שלום\" ]]>"
MB_ARTIST = "b10bbbfc-cf9e-42e0-be17-e2c3e1d2600d"
MB_ALBUM = "9162580e-5df4-32de-80cc-f45a8d8a9b1d"


def release(number: int = 1, **values: Any) -> dict[str, Any]:
    return {
        "artist_id": "a1", "album_id": f"n{number:05}", "artist_name": "Lumen Tide",
        "name": f"Low Water {number}", "album_type": "album", "album_group": "album",
        "release_date": "2026-11-20", "spotify_url": None, "image_url": None,
        "first_seen_at": "2026-11-25T10:00:00Z", "hidden_reason": None, "recent": 0,
    } | values  # fmt: skip


def lack(track_id: str = "", **values: Any) -> dict[str, Any]:
    return {
        "artist_id": "a1", "album_id": "s1", "track_id": track_id, "artist_name": "Lumen Tide",
        "name": "Low Water", "album_type": "album", "release_date": "2024-03-08",
        "total_tracks": 8, "spotify_url": None, "reason": "album", "hidden_reason": None,
    } | values  # fmt: skip


def told(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(MISSING_COLUMNS) | {"artist_id": "a", "spotify_url": "https://x"} | values


def page_of(*rows: dict[str, Any]) -> str:
    passed = Passed()
    assert [*passed.by(rows)] == [*rows]
    return "".join(missing_page(passed))


def entries(feed: str) -> list[Any]:
    parsed = feedparser.parse(feed)
    assert not parsed.bozo, parsed.bozo_exception
    return parsed.entries


class _Page(HTMLParser):
    """What a browser would make of a page: its cells, its tags, its links."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]
        if tag == "td":
            self.cells.append("")
        self._in_cell = self._in_cell or tag == "td"

    def handle_endtag(self, tag: str) -> None:
        self._in_cell = self._in_cell and tag != "td"

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.cells[-1] += data


def test_a_feed_has_the_latest_first_with_link_date_and_author(home: Home, tmp_path: Path) -> None:
    with home.store() as store:
        store.save(
            tables.new_releases,
            [
                release(1, first_seen_at="2026-11-20T10:00:00Z"),
                release(2, spotify_url="https://open.spotify.com/album/x"),
                release(3, hidden_reason="reissue"),
                release(4, name=None),
            ],
        )
        [path] = write_news(store, tmp_path / "reports")
    latest, earlier = entries(path.read_text("utf-8"))
    assert (latest.title, latest.author) == ("Lumen Tide - Low Water 2", "Lumen Tide")
    assert latest.link == "https://open.spotify.com/album/x"
    assert earlier.link == "https://open.spotify.com/album/n00001"
    assert earlier.updated == "2026-11-20T10:00:00+00:00"


def test_an_entry_keeps_its_id_whatever_spotify_calls_it_next() -> None:
    [first] = entries(news_feed([release(1)]))
    [renamed] = entries(news_feed([release(1, name="High Water", artist_name="Lumen Tyde")]))
    [other] = entries(news_feed([release(1, artist_id="a2")]))
    assert first.id == renamed.id != other.id


def test_a_feed_without_news_is_a_feed_and_always_the_same() -> None:
    assert entries(news_feed([])) == []
    assert news_feed([]) == news_feed([])


def test_ten_thousand_releases_at_once_are_all_in_the_feed(home: Home, tmp_path: Path) -> None:
    with home.store() as store:
        store.save(tables.new_releases, [release(number) for number in range(10_000)])
        [path] = write_news(store, tmp_path)
    found = entries(path.read_text("utf-8"))
    assert len({entry.id for entry in found}) == 10_000


def test_a_feed_reaches_back_from_its_latest_entry_whatever_the_clock_says(
    home: Home, tmp_path: Path
) -> None:
    seen = ("1999-01-01T00:00:00Z", "1999-03-01T00:00:00Z", "1998-01-01T00:00:00Z")
    with home.store() as store:
        rows = [release(number, first_seen_at=at) for number, at in enumerate(seen)]
        store.save(tables.new_releases, rows)
        [path] = write_news(store, tmp_path)
    assert [entry.title for entry in entries(path.read_text("utf-8"))] == [
        "Lumen Tide - Low Water 1",
        "Lumen Tide - Low Water 0",
    ]


@given(st.text(), st.text(), st.text())
def test_whatever_a_release_is_called_the_feed_is_one(artist: str, name: str, url: str) -> None:
    [entry] = entries(
        news_feed([release(1, artist_name=artist, name=name, spotify_url=url, image_url=url)])
    )
    assert entry.link.startswith("https://")


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(st.text(), st.text(), st.text())
def test_whatever_is_missing_the_page_shows_it_as_text(artist: str, title: str, url: str) -> None:
    link = "https://open.spotify.com/album/1"
    row = told(artist=artist, title=title, spotify_url=link, kind="album")
    plain = _Page(page_of(row | {"artist": "A", "title": "B"}))
    page = _Page(page_of(row))
    assert (page.tags, page.links) == (plain.tags, plain.links)


def test_markup_is_shown_and_never_run() -> None:
    text = page_of(told(artist=HOSTILE, title=HOSTILE, kind="album"))
    page = _Page(text)
    assert page.tags.count("script") == 1
    assert page.cells[0] == "<script>alert('1')</script> &amp; \"שלום\" ]]>"
    assert "default-src 'none'" in text


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_a_cell_of_the_csv_is_never_a_formula(titles: list[str]) -> None:
    text = "".join(missing_csv(told(title=title) for title in titles))
    header, *rows = list(csv.reader(io.StringIO(text, newline="")))
    assert tuple(header) == MISSING_COLUMNS
    assert len(rows) == len(titles)
    assert not [cell for row in rows for cell in row if cell.startswith(tuple("=+-@\t\r"))]


def test_musicbrainz_ids_are_told_where_beets_has_them(home: Home) -> None:
    with home.store() as store:
        album = {"beets_album_id": 7, "albumartist": "Lumen Tide", "album": "Harbour Lights"}
        ids = {"mb_albumid": MB_ALBUM, "mb_releasegroupid": MB_ARTIST}
        store.save(tables.beets_albums, [album | ids | {"mb_albumartistid": MB_ARTIST}])
        match = {"beets_album_id": 7, "album_id": "s2", "verdict": "matched"}
        store.save(tables.album_matches, [match])
        store.save(
            tables.missing_from_library,
            [lack(), lack("t1", album_id="s2", name="A Track"), lack("", album_id="s3",
             artist_id="a2", artist_name="Nobody"), lack("", album_id="s4", hidden_reason="kind")],
        )  # fmt: skip
        albums = json.dumps([])
        store.save(
            tables.spotify_albums,
            [{"artist_id": "a1", "album_id": "s2", "name": "Harbour Lights", "artists": albums,
              "first_seen_at": "", "last_seen_at": ""}],
        )  # fmt: skip
        whole, track, stranger = missing_rows(store)
    assert (whole["mb_albumartistid"], whole["mb_albumid"]) == (MB_ARTIST, None)
    assert (track["title"], track["album"], track["mb_albumid"]) == (
        "A Track",
        "Harbour Lights",
        MB_ALBUM,
    )
    assert track["spotify_url"] == "https://open.spotify.com/track/t1"
    assert stranger["mb_albumartistid"] is None


def test_a_report_that_did_not_change_is_not_written_again(home: Home, tmp_path: Path) -> None:
    with home.store() as store:
        store.save(tables.missing_from_library, [lack()])
        paths = write_missing(store, tmp_path)
        before = [path.stat().st_ino for path in paths]
        write_missing(store, tmp_path)
        assert [path.stat().st_ino for path in paths] == before
        store.save(tables.missing_from_library, [lack(name="Renamed")])
        write_missing(store, tmp_path)
    assert "Renamed" in paths[0].read_text("utf-8")
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} >= {
        "missing_from_library.csv",
        "missing_from_library.html",
    }
    assert not list(tmp_path.glob(".tmp-*"))


def test_of_very_many_the_page_shows_the_first_and_says_where_all_are(
    home: Home, tmp_path: Path
) -> None:
    more = ROWS_OF_A_PAGE + 1
    with home.store() as store:
        store.save(
            tables.missing_from_library, [lack(album_id=f"s{number:06}") for number in range(more)]
        )
        table, page = write_missing(store, tmp_path)
    with table.open(encoding="utf-8", newline="") as file:
        assert len({row["album_id"] for row in csv.DictReader(file)}) == more
    shown = page.read_text("utf-8")
    assert f"{more} releases and 0 tracks of 1 artist; the first {ROWS_OF_A_PAGE} are" in shown
    assert "all are in the CSV file beside this page" in shown
    assert shown.count("<tr><td>") == ROWS_OF_A_PAGE


def test_a_folder_that_cannot_be_written_is_named(home: Home, tmp_path: Path) -> None:
    blocked = tmp_path / "reports"
    blocked.write_text("a file of the user's")
    with home.store() as store, pytest.raises(HarmonyError) as refused:
        write_missing(store, blocked)
    assert refused.value.code is ErrorCode.DEPENDENCY_ERROR
    assert refused.value.message.startswith(f"{blocked} cannot be made: ")
    assert blocked.read_text() == "a file of the user's"


def test_a_folder_in_the_place_of_a_report_is_named_and_stays(home: Home, tmp_path: Path) -> None:
    blocked = tmp_path / "missing_from_library.csv"
    blocked.mkdir()
    with home.store() as store, pytest.raises(HarmonyError) as refused:
        write_missing(store, tmp_path)
    assert refused.value.message.startswith(f"{blocked} cannot be made: ")
    assert [path.name for path in tmp_path.iterdir() if ".tmp" in path.name] == []
    assert blocked.is_dir()


def test_titles_from_right_to_left_turn_nothing_around_them(home: Home, tmp_path: Path) -> None:
    title = "שלום \u202e\u2066(Live)"
    with home.store() as store:
        store.save(tables.missing_from_library, [lack(name=title, artist_name="فيروز")])
        store.save(tables.new_releases, [release(name=title, artist_name="فيروز")])
        [feed] = write_news(store, tmp_path)
        table, page = write_missing(store, tmp_path)
    plain = "שלום (Live)"
    assert [entry.title for entry in entries(feed.read_text("utf-8"))] == [f"فيروز - {plain}"]
    with table.open(encoding="utf-8", newline="") as file:
        [row] = csv.DictReader(file)
    assert (row["artist"], row["title"]) == ("فيروز", plain)
    assert f"<bdi>{plain}</bdi>" in page.read_text("utf-8")


def test_an_empty_store_makes_reports_that_say_so(home: Home, tmp_path: Path) -> None:
    with home.store() as store:
        table, page = write_missing(store, tmp_path)
    assert len(table.read_text("utf-8").splitlines()) == 1
    assert "Nothing is missing" in page.read_text("utf-8")
