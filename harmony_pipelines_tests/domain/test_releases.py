import json
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.identifiers import VARIOUS_ARTISTS
from harmony_pipelines.domain.releases import ReleaseDate, Seen, new_releases, reissues

TODAY = date(2026, 11, 22)
ARTIST = {"artist_id": "artist", "name": "Night Ferry"}
FOLLOWED = frozenset({"album", "single"})


def album(album_id: str, **columns: object) -> dict[str, Any]:
    return {
        "artist_id": "artist",
        "album_id": album_id,
        "name": f"Album {album_id}",
        "artists": json.dumps([{"id": "artist", "name": "Night Ferry"}]),
        "album_type": "album",
        "album_group": "album",
        "release_date": "2020-05-01",
        "release_date_precision": "day",
        "spotify_url": f"https://open.spotify.com/album/{album_id}",
        "image_url": None,
        "upc": None,
        **columns,
    }


def tracks(album_id: str, *titles: str, isrc: str = "") -> list[dict[str, Any]]:
    return [
        {
            "artist_id": "artist",
            "track_id": f"{album_id}-{number}",
            "album_id": album_id,
            "name": title,
            "duration_ms": 180_000 + number * 10_000,
            "disc_number": 1,
            "track_number": number,
            "isrc": f"{isrc}{number:07}" if isrc else None,
        }
        for number, title in enumerate(titles, 1)
    ]


def seen(*ids: str, groups: frozenset[str] = FOLLOWED) -> Seen:
    return Seen(frozenset(ids), groups)


@pytest.mark.parametrize(
    ("text", "precision", "earliest", "latest"),
    [
        ("1981", "year", date(1981, 1, 1), date(1981, 12, 31)),
        ("1981-01-01", "year", date(1981, 1, 1), date(1981, 12, 31)),
        ("1984-02", "month", date(1984, 2, 1), date(1984, 2, 29)),
        ("1981-12-15", "day", date(1981, 12, 15), date(1981, 12, 15)),
        ("1981-02-30", "day", date(1981, 2, 1), date(1981, 2, 28)),
        ("1981-00-00", "day", date(1981, 1, 1), date(1981, 12, 31)),
        ("1981", "day", date(1981, 1, 1), date(1981, 12, 31)),
        ("0000", "year", None, None),
        ("", None, None, None),
        (None, None, None, None),
        ("soon", "day", None, None),
        ("９９９９", "year", None, None),  # noqa: RUF001
    ],
)
def test_a_release_date_is_as_precise_as_it_is_given(
    text: str | None, precision: str | None, earliest: date | None, latest: date | None
) -> None:
    release_date = ReleaseDate.of(text, precision)
    assert (release_date.earliest, release_date.latest) == (earliest, latest)


@given(st.text(), st.sampled_from(["year", "month", "day", "", None]))
def test_any_text_is_some_release_date(text: str, precision: str | None) -> None:
    read = ReleaseDate.of(text, precision)
    assert (read.earliest is None) == (read.latest is None) == (read.precision is None)


@given(st.dates(), st.sampled_from(["year", "month", "day"]))
def test_a_date_lies_within_what_it_is_read_as(day: date, precision: str) -> None:
    read = ReleaseDate.of(day.isoformat(), precision)
    assert read.earliest is not None and read.latest is not None
    assert read.earliest <= day <= read.latest


def test_an_id_not_seen_before_is_new_however_old_its_date() -> None:
    listed = [album("a"), album("b", release_date="1981", release_date_precision="year")]
    rows = new_releases(ARTIST, listed, seen("a"), TODAY)
    assert [(row["album_id"], row["recent"], row["hidden_reason"]) for row in rows] == [
        ("b", 0, None)
    ]
    assert rows[0]["artist_name"] == "Night Ferry"


def test_the_first_listing_is_the_baseline_and_only_its_recent_albums_are_shown() -> None:
    listed = [
        album("old"),
        album("recent", release_date=str(TODAY - timedelta(days=30))),
        album("just_too_old", release_date=str(TODAY - timedelta(days=31))),
        album("withdrawn", release_date="0000"),
    ]
    rows = new_releases(ARTIST, listed, seen(groups=frozenset()), TODAY)
    assert [(row["album_id"], row["recent"], row["hidden_reason"]) for row in rows] == [
        ("recent", 1, None)
    ]


def test_a_release_is_reported_once() -> None:
    listed = [album("a", release_date=str(TODAY)), album("a", album_group="appears_on")]
    assert len(new_releases(ARTIST, listed, seen(), TODAY)) == 1
    assert new_releases(ARTIST, listed, seen("a"), TODAY) == []


def test_a_group_that_is_followed_anew_gets_its_own_baseline() -> None:
    listed = [album("a"), album("b", album_group="compilation")]
    rows = new_releases(ARTIST, listed, seen(), TODAY)
    assert [row["album_id"] for row in rows] == ["a"]


EARLIER = {"first_seen_at": "2026-01-01T00:00:00Z"}
NOW = {"first_seen_at": "2026-11-22T00:00:00Z"}


def news(*ids: str) -> list[dict[str, Any]]:
    return [{"album_id": album_id} for album_id in ids]


def test_a_known_upc_under_another_id_is_a_reissue() -> None:
    albums = [
        album("a", upc="0012345678905", **EARLIER),
        album("b", upc="12345678905", **NOW),
        album("c", upc="999999999999", **NOW),
    ]
    assert reissues(news("b", "c"), albums, []) == ["b"]


@pytest.mark.parametrize("isrc", ["", "GBAYE"])
def test_the_same_tracks_under_another_id_are_a_reissue(isrc: str) -> None:
    albums = [album("a", **EARLIER), album("b", **NOW), album("c", **NOW)]
    stored = [
        *tracks("a", "One", "Two", isrc=isrc),
        *tracks("b", "One", "Two", isrc=isrc),
        *tracks("c", "One", "Two", "Three"),
    ]
    assert reissues(news("b", "c"), albums, stored) == ["b"]


def test_of_two_new_ids_with_the_same_tracks_one_is_shown() -> None:
    albums = [album("a", **NOW), album("b", **NOW)]
    stored = [*tracks("a", "One", "Two"), *tracks("b", "One", "Two")]
    assert reissues(news("a", "b"), albums, stored) == ["b"]


def test_what_was_seen_later_makes_nothing_a_reissue() -> None:
    albums = [album("a", upc="1", **EARLIER), album("b", upc="1", **NOW)]
    assert reissues(news("a"), albums, []) == []


def test_pending_bodies_are_no_reissues_of_each_other() -> None:
    albums = [album("a", **EARLIER), album("b", **NOW), album("c", **NOW)]
    assert reissues(news("b", "c"), albums, []) == []


def test_samplers_and_withdrawn_albums_are_hidden() -> None:
    various = json.dumps([{"id": VARIOUS_ARTISTS, "name": "Various Artists"}])
    listed = [album("a", artists=various), album("b", name="", release_date="0000")]
    rows = new_releases(ARTIST, listed, seen(), TODAY)
    assert [row["hidden_reason"] for row in rows] == ["various_artists", "withdrawn"]


@given(st.dictionaries(st.sampled_from(list(album("a"))), st.none() | st.text() | st.integers()))
def test_an_odd_row_breaks_nothing(columns: dict[str, object]) -> None:
    new_releases(ARTIST, [album("a") | columns, columns], seen(), TODAY)
    reissues([{"album_id": "a"}, columns], [album("a") | columns, columns], [columns])
