import json
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony_pipelines.clients import tables
from harmony_pipelines.domain.discography import (
    Row,
    album_row,
    artist_row,
    group_of,
    is_tombstone,
    listed_album_row,
    listed_as,
    track_isrc,
    track_rows,
)
from harmony_pipelines.domain.errors import HarmonyError, Reason

ALBUM: dict[str, Any] = {
    "id": "a1",
    "name": "Night Ferry",
    "artists": [{"id": "b1", "name": "Ólafur", "href": "…"}],
    "album_type": "ep",
    "release_date": "2026-10",
    "release_date_precision": "month",
    "total_tracks": 2,
    "images": [
        {"url": "small", "width": 64, "height": 64},
        {"url": "large", "width": 640, "height": 639},
        {"url": "unknown", "width": None, "height": None},
    ],
    "external_urls": {"spotify": "https://open.spotify.com/album/a1"},
    "external_ids": {"upc": "0074646495728"},
    "label": "Harbour",
    "tracks": {
        "items": [
            {
                "id": "t1",
                "name": "One",
                "artists": [{"id": "b1", "name": "Ólafur"}],
                "disc_number": 1,
                "track_number": 1,
                "duration_ms": 1000.0,
                "explicit": True,
                "external_urls": {"spotify": "https://open.spotify.com/track/t1"},
            },
            None,
            {"id": None, "name": "not here"},
            {"id": "t2", "external_ids": {"isrc": "gb-smu-24-01851"}},
            {"id": "t1", "name": "again"},
        ]
    },
}

BOOKKEEPING = {"first_seen_at", "last_seen_at", "removed_at", "fetched_at"}
BOOKKEEPING |= {"listed_as", "body_due_at"}


def columns(table: sa.Table) -> set[str]:
    return {column.name for column in table.columns} - BOOKKEEPING


def bodies() -> st.SearchStrategy[Any]:
    leaves = (
        st.none()
        | st.booleans()
        | st.integers()
        | st.integers(min_value=2**62, max_value=2**70)
        | st.floats()
        | st.text(st.characters(codec=None))
        | st.sampled_from(["a1", "\ud800", "x\0y", "0000", "n" * 3000])
    )
    keys = st.sampled_from(
        [
            *ALBUM,
            *ALBUM["tracks"]["items"][0],
            *["url", "width", "height", "items", "spotify", "upc", "isrc"],
            *["genres", "followers", "total", "popularity", "album_group"],
        ]
    )
    return st.recursive(
        leaves,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=8),
        max_leaves=25,
    )


def albums() -> st.SearchStrategy[Any]:
    """Bodies that are wild in every field, but have an id and a list of tracks."""
    tracks = st.lists(
        st.dictionaries(st.sampled_from(["name", "artists", "explicit"]), bodies(), max_size=3).map(
            lambda track: {"id": "t1"} | track
        ),
        max_size=3,
    )
    return st.builds(
        lambda fields, tracks: fields | {"id": "a1", "tracks": {"items": tracks}},
        st.dictionaries(st.sampled_from(list(ALBUM)), bodies(), max_size=11),
        tracks,
    )


def assert_storable(row: Row) -> None:
    for value in row.values():
        assert value is None or isinstance(value, int | str)
        if isinstance(value, str):
            assert "\0" not in value
            value.encode()
        elif value is not None:
            assert -(2**63) <= value < 2**63


def test_no_name_can_steer_the_terminal_that_shows_it() -> None:
    row = artist_row({"id": "b1", "name": "\x1b[2JLumen\r\nTide\x9b"})
    assert row["name"] == " [2JLumen  Tide "


def test_an_artist_becomes_a_row_with_the_catalogues_columns() -> None:
    row = artist_row(
        {
            "id": "b1",
            "name": "Ólafur",
            "genres": ["ambient", "néo"],
            "images": [{"url": "i", "width": 320}],
            "external_urls": {"spotify": "u"},
            "popularity": 44,
            "followers": {"href": None, "total": 7},
        }
    )
    assert row.keys() == columns(tables.spotify_artists)
    assert row["genres"] == '["ambient", "néo"]'
    assert (row["popularity"], row["followers"], row["image_url"]) == (44, 7, "i")


def test_what_a_new_app_may_not_see_is_none() -> None:
    row = artist_row({"id": "b1"})
    assert (row["popularity"], row["followers"], row["name"], row["genres"]) == (
        None,
        None,
        None,
        "[]",
    )


def test_an_album_becomes_a_row_with_the_catalogues_columns() -> None:
    row = album_row("b1", "single", ALBUM)
    assert row.keys() == columns(tables.spotify_albums)
    assert row["artists"] == '[{"id": "b1", "name": "Ólafur"}]'
    assert (row["album_type"], row["album_group"]) == ("ep", "single")
    assert (row["release_date"], row["release_date_precision"]) == ("2026-10", "month")
    assert (row["image_url"], row["image_width"], row["image_height"]) == ("large", 640, 639)
    assert (row["upc"], row["label"]) == ("0074646495728", "Harbour")


def test_a_listed_album_has_no_upc_and_no_label_yet() -> None:
    row = listed_album_row("b1", "album", ALBUM)
    assert row.keys() == columns(tables.spotify_albums)
    assert (row["upc"], row["label"], row["total_tracks"]) == (None, None, 2)


def test_an_image_of_unknown_size_is_better_than_none() -> None:
    row = listed_album_row("b1", "album", {"id": "a1", "images": [{"url": "only", "width": None}]})
    assert (row["image_url"], row["image_width"]) == ("only", None)


def test_tracks_become_rows_once_each_and_without_placeholders() -> None:
    rows = track_rows("b1", ALBUM)
    assert [row["track_id"] for row in rows] == ["t1", "t2"]
    assert all(row.keys() == columns(tables.spotify_tracks) for row in rows)
    assert (rows[0]["duration_ms"], rows[0]["explicit"], rows[0]["isrc"]) == (1000, 1, None)
    assert rows[1]["isrc"] == "GBSMU2401851"


@pytest.mark.parametrize(
    ("given_isrc", "stored"),
    [("il5841617867", "IL5841617867"), (" nonsense ", "nonsense"), (None, ""), (7, "")],
)
def test_an_isrc_that_was_asked_for_is_never_asked_for_again(
    given_isrc: object, stored: str
) -> None:
    assert track_isrc({"id": "t1", "external_ids": {"isrc": given_isrc}}) == stored


@pytest.mark.parametrize(
    ("make", "body", "missing"),
    [
        (artist_row, None, "artist"),
        (artist_row, {"id": 7}, "artist: id"),
        (artist_row, {"id": "a/../b"}, "artist: id"),
        (lambda body: album_row("b1", "album", body), {"name": "x"}, "album: id"),
        (lambda body: track_rows("b1", body), {"id": "a1"}, "album a1: tracks"),
        (
            lambda body: track_rows("b1", body),
            {"id": "a1", "tracks": {"items": None}},
            "album a1: tracks.items",
        ),
        (
            lambda body: track_rows("b1", body),
            {"id": "a1", "tracks": {"items": [{"id": []}]}},
            "album a1: track: id",
        ),
    ],
)
def test_a_body_that_does_not_say_what_it_is_is_refused_by_name(
    make: Callable[[object], object], body: object, missing: str
) -> None:
    with pytest.raises(HarmonyError) as refused:
        make(body)
    assert refused.value.reason is Reason.BAD_ANSWER
    assert refused.value.details["missing"] == missing


def test_text_that_no_database_can_store_is_cleaned() -> None:
    row = listed_album_row("b1", "album", {"id": "a1", "name": "a\0b\ud800c" + "x" * 5000})
    assert str(row["name"]).startswith("ab\ufffdc")
    assert len(str(row["name"])) == 1000


def test_a_withdrawn_album_is_recognised() -> None:
    assert is_tombstone({"name": "", "release_date": "0000"})
    assert not is_tombstone({"name": "", "release_date": "1999"})
    assert not is_tombstone({"name": "x", "release_date": "0000"})
    assert not is_tombstone(None)


def test_the_group_is_what_was_asked_for_or_what_the_album_is() -> None:
    both = ("album", "single")
    assert group_of({"album_type": "album"}, ("appears_on",)) == "appears_on"
    assert group_of({"album_type": "single"}, both) == "single"
    assert group_of({"album_type": "single", "album_group": "album"}, both) == "album"
    assert group_of({"album_type": "ep"}, both) == "album"


def test_an_entry_of_a_listing_is_known_by_what_the_body_would_change_with() -> None:
    picture = "0123456789abcdef01234567"
    row = listed_album_row("b1", "album", ALBUM) | {"image_url": f"https://a.example/640{picture}"}
    same = row | {"album_group": "single", "image_url": f"https://b.example/64{picture}"}
    assert listed_as(row) == listed_as(same)
    for column in ("name", "album_type", "release_date", "total_tracks", "image_url"):
        assert listed_as(row | {column: None}) != listed_as(row)


@settings(deadline=None)
@given(bodies() | albums())
def test_no_json_whatever_breaks_a_row(body: Any) -> None:
    for make in (
        lambda: [artist_row(body)],
        lambda: [listed_album_row("b1", "album", body)],
        lambda: [album_row("b1", "album", body)],
        lambda: track_rows("b1", body),
    ):
        try:
            rows = make()
        except HarmonyError as error:
            assert error.reason is Reason.BAD_ANSWER
        else:
            for row in rows:
                assert_storable(row)
    is_tombstone(body)
    group_of(body, ("album", "single"))


@settings(deadline=None)
@given(albums())
def test_an_album_with_an_id_is_always_a_row(body: Any) -> None:
    row = album_row("b1", "album", body)
    assert_storable(row)
    assert isinstance(json.loads(str(row["artists"])), list)
    assert len(track_rows("b1", body)) <= 1
