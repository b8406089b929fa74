import json
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.matching import (
    AlbumMatch,
    Candidate,
    CatalogueIndex,
    DecidedBy,
    MatchReason,
    Verdict,
    comparable,
    match_library,
)
from harmony_pipelines.domain.missing import (
    Library,
    Listings,
    Wanted,
    Wishes,
    missing_from_library,
)

Rows = list[dict[str, Any]]


class Shelf(NamedTuple):
    albums: Rows
    tracks: Rows
    matches: list[AlbumMatch]


EVERYTHING = Wishes(wanted=Wanted.EVERYTHING)
NAMES = {"ferry": "Night Ferry"}


def listed(album_id: str, name: str, **columns: Any) -> dict[str, Any]:
    return {
        "artist_id": "ferry",
        "album_id": album_id,
        "name": name,
        "artists": json.dumps([{"id": "ferry", "name": "Night Ferry"}]),
        "album_type": "album",
        "album_group": "album",
        "release_date": "2020-05-01",
        "release_date_precision": "day",
        "total_tracks": 3,
        "spotify_url": f"https://open.spotify.com/album/{album_id}",
        "removed_at": None,
        **columns,
    }


def single(album_id: str, name: str, total_tracks: int = 1, **columns: Any) -> dict[str, Any]:
    kind = {"album_type": "single", "album_group": "single", "total_tracks": total_tracks}
    return listed(album_id, name, **kind, **columns)


def body(album_id: str, *titles: str, first_ms: int = 200_000) -> Rows:
    return [
        {
            "artist_id": "ferry",
            "track_id": f"{album_id}-{number}",
            "album_id": album_id,
            "name": title,
            "disc_number": 1,
            "track_number": number,
            "duration_ms": first_ms + 10_000 * number,
            "isrc": None,
            "spotify_url": f"https://open.spotify.com/track/{album_id}-{number}",
        }
        for number, title in enumerate(titles, 1)
    ]


def library(*titles: str, album: str = "Low Tide", isrc: str = "", skip: int = 0) -> Shelf:
    """One album matched to `low`."""
    tracks = [
        {
            "beets_album_id": 1,
            "title": title,
            "artist": "Night Ferry",
            "disc": 1,
            "track": number,
            "duration_ms": 200_500 + 10_000 * number,
            "isrc": isrc,
        }
        for number, title in enumerate(titles, 1)
        if number != skip
    ]
    albums = [{"beets_album_id": 1, "albumartist": "Night Ferry", "album": album, "year": 2020}]
    return Shelf(albums, tracks, [match("low", Verdict.MATCHED)])


def match(album_id: str, verdict: Verdict) -> AlbumMatch:
    return AlbumMatch(
        "1",
        album_id if verdict is Verdict.MATCHED else None,
        0.9,
        verdict,
        MatchReason.ALIKE,
        DecidedBy.SCORE,
        (Candidate(album_id, "", "", 0.9),),
    )


def matched(owned: Shelf, albums: Rows, tracks: Rows) -> Shelf:
    index = CatalogueIndex(albums, tracks, NAMES)
    bodies = comparable(albums, tracks, NAMES)
    found = match_library(owned.albums, owned.tracks, index, lambda _: bodies, Decisions())
    return Shelf(owned.albums, owned.tracks, found)


def hidden(
    albums: Rows, tracks: Rows, owned: Shelf, wishes: Wishes | None = None
) -> dict[str, object]:
    rows = missing_from_library(
        Listings(NAMES, albums, lambda _: tracks), Library(*owned), wishes or Wishes()
    )
    return {f"{row['album_id']}{row['track_id']}": row["hidden_reason"] for row in rows}


LOW = listed("low", "Low Tide")
THREE = ("One", "Two", "Three")
OWNED = library(*THREE)


def test_without_a_library_nothing_is_missing() -> None:
    listings = Listings(NAMES, [LOW], lambda _: [])
    assert missing_from_library(listings, None, Wishes()) == []
    assert missing_from_library(listings, Library([], [], []), Wishes()) == []


def test_an_album_that_is_there_is_not_missing_and_one_that_is_not_is() -> None:
    rows = missing_from_library(
        Listings(NAMES, [LOW, listed("high", "High Tide")], lambda _: body("low", *THREE)),
        Library(*OWNED),
        Wishes(),
    )
    assert rows == [
        {
            "artist_id": "ferry",
            "album_id": "high",
            "track_id": "",
            "artist_name": "Night Ferry",
            "name": "High Tide",
            "album_type": "album",
            "release_date": "2020-05-01",
            "total_tracks": 3,
            "spotify_url": "https://open.spotify.com/album/high",
            "reason": "album",
            "hidden_reason": None,
        }
    ]


def test_a_track_that_the_copy_lacks_is_missing() -> None:
    rows = missing_from_library(
        Listings(NAMES, [LOW], lambda _: body("low", *THREE)),
        Library(*library(*THREE, skip=2)),
        Wishes(),
    )
    assert [(row["track_id"], row["name"], row["reason"]) for row in rows] == [
        ("low-2", "Two", "track")
    ]


def test_a_track_is_there_by_isrc_or_by_its_place() -> None:
    renamed = body("low", "Uno", "Two", "Three")
    assert hidden([LOW], renamed, OWNED) == {}
    renamed[0] |= {"isrc": "GBAYE0000001", "duration_ms": 1, "track_number": 9}
    assert list(hidden([LOW], renamed, OWNED)) == ["lowlow-1"]
    owned = library("One", "Two", "Three", isrc="GB-AYE-00-00001")
    assert hidden([LOW], renamed, owned) == {}


def test_tracks_of_a_pending_body_are_not_missing() -> None:
    assert hidden([LOW], [], library("One")) == {}


def test_another_edition_of_what_is_there_is_hidden() -> None:
    deluxe = listed("deluxe", "Low Tide (Deluxe Edition)", total_tracks=5)
    tracks = body("deluxe", "One", "Two", "Three", "Four", "Five")
    assert hidden([LOW, deluxe], tracks, OWNED) == {"deluxe": "edition"}
    assert hidden([LOW, deluxe], [], OWNED) == {"deluxe": "edition"}


def test_another_album_of_the_same_title_is_no_edition() -> None:
    namesake = listed("other", "Low Tide")
    assert hidden([LOW, namesake], body("other", "A", "B", "C"), OWNED) == {"other": None}


def test_a_single_whose_recordings_are_on_an_album_is_hidden() -> None:
    assert hidden([single("s", "One")], body("s", "One"), OWNED, EVERYTHING) == {
        "s": "single_on_album"
    }


def test_a_single_with_another_recording_is_missing() -> None:
    longer = body("s", "One", first_ms=203_000)
    assert hidden([single("s", "One")], longer, OWNED, EVERYTHING) == {"s": None}
    live = body("s", "One (Live)")
    assert hidden([single("s", "One (Live)")], live, OWNED, EVERYTHING) == {"s": None}


def test_an_album_is_not_hidden_because_its_title_track_is_there_as_a_single() -> None:
    owned = library("Low Tide")
    album = listed("album", "Low Tide", total_tracks=12)
    titles = ("Low Tide", *(f"Part {letter}" for letter in "abcdefghijk"))
    for tracks in ([], body("album", *titles)):
        owned = matched(owned, [album], tracks)
        assert hidden([album], tracks, owned) == {"album": None}


def test_an_album_of_which_a_few_tracks_are_there_is_not_missing() -> None:
    titles = tuple(f"Part {letter}" for letter in "abcdefghijkl")
    owned = library(*titles)
    owned = Shelf(owned.albums, [owned.tracks[4], owned.tracks[6]], [])
    album = listed("album", "Low Tide", total_tracks=12)
    assert hidden([album], body("album", *titles), owned) == {"album": "edition"}


def test_an_album_is_not_hidden_because_its_tracks_are_on_others() -> None:
    best_of = listed("best", "Best Of")
    assert hidden([best_of], body("best", "One", "Two", "Three"), OWNED) == {"best": None}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted.ALBUMS, {"album": None, "ep": "kind", "single": "kind"}),
        (Wanted.ALBUMS_EPS, {"album": None, "ep": None, "single": "kind"}),
        (Wanted.EVERYTHING, {"album": None, "ep": None, "single": None}),
    ],
)
def test_the_user_says_which_kinds_are_missing(wanted: Wanted, expected: dict[str, object]) -> None:
    albums = [listed("album", "A"), single("ep", "B", 4), single("single", "C", 3)]
    assert hidden(albums, [], OWNED, Wishes(wanted=wanted)) == expected


def test_groups_that_are_not_followed_are_hidden() -> None:
    albums = [
        listed("a", "A", album_group="appears_on"),
        listed("b", "B", album_type="compilation", album_group="compilation"),
    ]
    assert hidden(albums, [], OWNED) == {"a": "group", "b": "group"}
    followed = Wishes(groups={"ferry": frozenset({"compilation", "appears_on"})})
    assert hidden(albums, [], OWNED, followed) == {"a": None, "b": None}


def test_what_the_user_ignores_is_hidden() -> None:
    albums = [listed("a", "A"), listed("b", "B"), single("c", "C", 4)]
    by_id = Decisions(ignored_albums=frozenset({"a"}))
    assert hidden(albums, [], OWNED, Wishes(decisions=by_id))["a"] == "ignored"
    for artist in ("ferry", "night ferry"):
        by_group = Decisions(ignored_groups=frozenset({(artist, "single")}))
        assert hidden(albums, [], OWNED, Wishes(decisions=by_group)) == {
            "a": None,
            "b": None,
            "c": "ignored",
        }


def test_what_spotify_no_longer_lists_is_hidden() -> None:
    albums = [
        listed("a", "A", removed_at="2026-01-01T00:00:00+00:00"),
        listed("b", ""),
        listed("c", "", release_date="0000"),
    ]
    assert hidden(albums, [], OWNED) == {"a": "removed", "b": "removed", "c": "withdrawn"}


@pytest.mark.parametrize("verdict", [Verdict.UNSURE, Verdict.AMBIGUOUS])
def test_what_may_be_there_is_hidden(verdict: Verdict) -> None:
    owned = Shelf(OWNED.albums, OWNED.tracks, [match("high", verdict)])
    assert hidden([listed("high", "High Tide")], [], owned) == {"high": "unsure"}


def test_rows_come_in_one_order() -> None:
    albums = [listed("b", "B"), listed("a", "A")]
    assert list(hidden(albums, [], OWNED)) == ["a", "b"]


def test_it_follows_from_the_matches_themselves() -> None:
    albums = [LOW, listed("high", "High Tide")]
    tracks = body("low", "One", "Two", "Three")
    assert hidden(albums, tracks, matched(OWNED, albums, tracks)) == {"high": None}


ODD = st.none() | st.text() | st.integers() | st.floats()


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from(list(LOW)), ODD),
    st.dictionaries(st.sampled_from(list(body("low", "One")[0])), ODD),
)
def test_an_odd_row_breaks_nothing(album: dict[str, Any], track: dict[str, Any]) -> None:
    tracks = [body("low", "One")[0] | track, track]
    hidden([LOW | album, album], tracks, library("One"), EVERYTHING)
    hidden([LOW | album], tracks, Shelf([album], [track], []), EVERYTHING)
