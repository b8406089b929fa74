import json
import time
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.identifiers import VARIOUS_ARTISTS
from harmony_pipelines.domain.matching import (
    AlbumMatch,
    CatalogueIndex,
    LibraryAlbum,
    MatchReason,
    comparable,
    match_library,
)

Rows = list[dict[str, Any]]
BLUE = ("My Name Is Jonas", "No One Else", "The World Has Turned", "Buddy Holly", "Undone")
GREEN = ("Don't Let Go", "Photograph", "Hash Pipe", "Island in the Sun", "Crab")


def numbers(count: int) -> tuple[str, ...]:
    return tuple(f"Part {'abcdefghijklmnopqrstuvwxyz'[number]}" for number in range(count))


def owned(
    album: str, artist: str = "Weezer", year: int | None = 1994, **columns: Any
) -> dict[str, Any]:
    return {
        "beets_album_id": 1,
        "albumartist": artist,
        "album": album,
        "year": year,
        "mb_albumid": "mb-1",
        "barcode": "",
        "tracks": None,
        **columns,
    }


def owned_tracks(*titles: str, isrc: str = "", skip: Iterable[int] = ()) -> Rows:
    return [
        {
            "beets_item_id": number,
            "beets_album_id": 1,
            "title": title,
            "artist": "Weezer",
            "disc": 1,
            "track": number,
            "duration_ms": 200_000 + 7000 * number,
            "isrc": f"{isrc}{number:07}" if isrc else "",
        }
        for number, title in enumerate(titles, 1)
        if number not in skip
    ]


def listed(
    album_id: str, name: str, date: str | None = "1994-05-10", **columns: Any
) -> dict[str, Any]:
    return {
        "artist_id": "weezer",
        "album_id": album_id,
        "name": name,
        "artists": json.dumps([{"id": "weezer", "name": "Weezer"}]),
        "album_type": "album",
        "album_group": "album",
        "release_date": date,
        "release_date_precision": "day",
        "total_tracks": 5,
        "upc": None,
        "removed_at": None,
        **columns,
    }


def listed_tracks(album_id: str, *titles: str, isrc: str = "") -> Rows:
    return [
        {
            "artist_id": "weezer",
            "track_id": f"{album_id}-{number}",
            "album_id": album_id,
            "name": title,
            "disc_number": 1,
            "track_number": number,
            "duration_ms": 200_400 + 7000 * number,
            "isrc": f"{isrc}{number:07}" if isrc else None,
        }
        for number, title in enumerate(titles, 1)
    ]


def matched(
    album: dict[str, Any],
    tracks: Rows,
    albums: Rows,
    bodies: Iterable[Rows] = (),
    decisions: Decisions | None = None,
) -> AlbumMatch:
    rows, names = [row for body in bodies for row in body], {"weezer": "Weezer"}
    (match,) = match_library(
        [album],
        tracks,
        CatalogueIndex(albums, rows, names),
        lambda _: comparable(albums, rows, names),
        decisions or Decisions(),
    )
    assert 0.0 <= match.score <= 1.0
    assert match.message
    return match


def verdict(match: AlbumMatch) -> tuple[str | None, str]:
    return match.album_id, str(match.verdict)


def test_an_equal_album_matches_with_score_one() -> None:
    match = matched(
        owned("Weezer"),
        owned_tracks(*BLUE),
        [listed("blue", "Weezer")],
        [listed_tracks("blue", *BLUE)],
    )
    assert verdict(match) == ("blue", "matched")
    assert match.score == 1.0


def test_a_live_version_is_not_the_album() -> None:
    match = matched(
        owned("Creep"),
        owned_tracks("Creep"),
        [listed("live", "Creep (Live)", total_tracks=1)],
        [listed_tracks("live", "Creep (Live)")],
    )
    assert verdict(match) == (None, "unmatched")


def test_of_two_self_titled_albums_the_track_list_decides() -> None:
    albums = [listed("blue", "Weezer"), listed("green", "Weezer", "2001-05-15")]
    bodies = [listed_tracks("blue", *BLUE), listed_tracks("green", *GREEN)]
    for titles, expected in ((BLUE, "blue"), (GREEN, "green")):
        match = matched(owned("Weezer", year=None), owned_tracks(*titles), albums, bodies)
        assert verdict(match) == (expected, "matched")


def test_of_two_self_titled_albums_the_year_decides_while_bodies_are_pending() -> None:
    albums = [listed("blue", "Weezer"), listed("green", "Weezer", "2001-05-15")]
    match = matched(owned("Weezer", year=2001), owned_tracks(*BLUE), albums)
    assert verdict(match) == ("green", "matched")


def test_two_self_titled_albums_without_evidence_are_ambiguous() -> None:
    albums = [listed("blue", "Weezer"), listed("green", "Weezer", "2001-05-15")]
    match = matched(owned("Weezer", year=None), owned_tracks(*BLUE), albums)
    assert verdict(match) == (None, "ambiguous")
    assert [candidate.album_id for candidate in match.candidates] == ["blue", "green"]


@pytest.mark.parametrize("year", [None, 1994])
def test_the_wrong_self_titled_album_alone_is_no_match(year: int | None) -> None:
    green = [listed("green", "Weezer", "2001-05-15")]
    pending = matched(owned("Weezer", year=year), owned_tracks(*BLUE), green)
    assert verdict(pending) == (None, "unsure")
    known = matched(
        owned("Weezer", year=year), owned_tracks(*BLUE), green, [listed_tracks("green", *GREEN)]
    )
    assert (verdict(known), known.reason) == ((None, "unmatched"), MatchReason.TRACKS)


@pytest.mark.parametrize(("count", "expected"), [(12, "standard"), (17, "deluxe")])
@pytest.mark.parametrize("bodies", [True, False])
def test_the_edition_with_as_many_tracks_is_the_one(
    count: int, expected: str, *, bodies: bool
) -> None:
    name = "Low" if count == 12 or bodies else "Low (Deluxe Edition)"
    match = matched(
        owned(name),
        owned_tracks(*numbers(count)),
        [
            listed("standard", "Low", total_tracks=12),
            listed("deluxe", "Low (Deluxe Edition)", total_tracks=17),
        ],
        [listed_tracks("standard", *numbers(12)), listed_tracks("deluxe", *numbers(17))]
        if bodies
        else [],
    )
    assert verdict(match) == (expected, "matched")


@pytest.mark.parametrize(("own", "theirs"), [(12, 17), (17, 12)])
@pytest.mark.parametrize("bodies", [True, False])
def test_an_edition_of_another_length_is_unsure_at_best(
    own: int, theirs: int, *, bodies: bool
) -> None:
    match = matched(
        owned("Low"),
        owned_tracks(*numbers(own)),
        [listed("other", "Low", total_tracks=theirs)],
        [listed_tracks("other", *numbers(theirs))] if bodies else [],
    )
    assert (verdict(match), match.reason) == ((None, "unsure"), MatchReason.EDITION)


def test_another_edition_of_the_same_length_needs_the_track_list() -> None:
    albums = [listed("deluxe", "Weezer (Deluxe Edition)")]
    pending = matched(owned("Weezer"), owned_tracks(*BLUE), albums)
    assert verdict(pending) == (None, "unsure")
    known = matched(owned("Weezer"), owned_tracks(*BLUE), albums, [listed_tracks("deluxe", *BLUE)])
    assert verdict(known) == ("deluxe", "matched")


def test_a_title_track_is_no_edition_of_its_album() -> None:
    album = listed("album", "Low", total_tracks=12)
    titles = ("Low", *numbers(11))
    for bodies in ([], [listed_tracks("album", *titles)]):
        match = matched(owned("Low"), owned_tracks("Low"), [album], bodies)
        assert verdict(match) == (None, "unmatched")
    single = listed("single", "Low", total_tracks=1)
    assert matched(owned("Low"), owned_tracks(*titles), [single]).verdict == "unmatched"


def test_an_album_with_gaps_is_matched_although_incomplete() -> None:
    match = matched(
        owned("Low"),
        owned_tracks(*numbers(12), skip={2, 7}),
        [listed("low", "Low", total_tracks=12)],
        [listed_tracks("low", *numbers(12))],
    )
    assert (verdict(match), match.reason) == (("low", "matched"), MatchReason.INCOMPLETE)


def test_a_year_and_a_day_in_it_are_equal() -> None:
    match = matched(
        owned("Low", year=1981), owned_tracks(*BLUE), [listed("low", "Low", "1981-12-15")]
    )
    assert (verdict(match), match.score) == (("low", "matched"), 1.0)


def test_the_year_of_a_remaster_does_not_outweigh_the_tracks() -> None:
    match = matched(
        owned("Low", year=1981),
        owned_tracks(*BLUE),
        [listed("low", "Low (2011 Remaster)", "2011-03-01")],
        [listed_tracks("low", *(f"{title} - 2011 Remaster" for title in BLUE))],
    )
    assert verdict(match) == ("low", "matched")


def test_the_original_year_counts_too() -> None:
    album = owned("Low", year=2011, original_year=1981)
    match = matched(album, owned_tracks(*BLUE), [listed("low", "Low", "1981-12-15")])
    assert verdict(match) == ("low", "matched")


@pytest.mark.parametrize(
    ("own", "theirs"),
    [("ガールズ・ロック", "ｶﾞｰﾙｽﾞ･ﾛｯｸ"), ("Live", "live"), ("...", "…"), ("?", "？")],  # noqa: RUF001
)
def test_another_spelling_of_a_title_matches(own: str, theirs: str) -> None:
    match = matched(owned(own), owned_tracks(*BLUE), [listed("a", theirs)])
    assert (verdict(match), match.score) == (("a", "matched"), 1.0)


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        ("...", "?"),
        ("Song 1", "Song 2"),
        ("Live", "Creep"),
        ("Live Through This", "Through This"),
        ("Super Trouper", "Trouper"),
        ("初恋", "終恋"),
    ],
)
def test_another_title_does_not_match(own: str, theirs: str) -> None:
    match = matched(owned(own), owned_tracks(*BLUE), [listed("a", theirs)])
    assert match.album_id is None


def test_two_equal_candidates_are_ambiguous() -> None:
    match = matched(
        owned("Weezer"),
        owned_tracks(*BLUE),
        [listed("one", "Weezer"), listed("two", "Weezer")],
        [listed_tracks("one", *BLUE), listed_tracks("two", *BLUE)],
    )
    assert (verdict(match), match.reason) == ((None, "ambiguous"), MatchReason.RIVALS)


def test_an_album_spotify_no_longer_lists_is_no_rival() -> None:
    match = matched(
        owned("Weezer"),
        owned_tracks(*BLUE),
        [listed("gone", "Weezer", removed_at="2026-01-01T00:00:00+00:00"), listed("new", "Weezer")],
    )
    assert verdict(match) == ("new", "matched")


@pytest.mark.parametrize(
    ("own", "theirs"),
    [
        ("The Beatles", ["Beatles"]),
        ("ACDC", ["AC/DC"]),
        ("Simon and Garfunkel", ["Simon & Garfunkel"]),
        ("Jay-Z & Kanye West", ["JAY-Z", "Kanye West"]),
        ("Foo feat. Bar", ["Foo"]),
        ("Weezer", ["Weezer (the band)"]),
    ],
)
def test_another_spelling_of_the_artist_matches(own: str, theirs: list[str]) -> None:
    artists = json.dumps([{"id": name, "name": name} for name in theirs])
    match = matched(owned("Low", own), owned_tracks(*BLUE), [listed("a", "Low", artists=artists)])
    assert verdict(match) == ("a", "matched")


def test_another_artist_does_not_match() -> None:
    match = matched(owned("Weezer", "Radiohead"), owned_tracks(*BLUE), [listed("a", "Weezer")])
    assert (verdict(match), match.reason) == ((None, "unmatched"), MatchReason.NO_CANDIDATE)


def test_a_sampler_matches_a_sampler_of_the_same_title() -> None:
    artists = json.dumps([{"id": VARIOUS_ARTISTS, "name": "Vários intérpretes"}])
    albums = [
        listed("a", "Big Hits", artists=artists, album_group="appears_on"),
        listed("b", "Big Bits", artists=artists, album_group="appears_on"),
    ]
    match = matched(owned("Big Hits", "Various Artists"), owned_tracks(*BLUE), albums)
    assert verdict(match) == ("a", "matched")
    assert len(match.candidates) == 1


def test_the_spotify_id_of_the_library_decides() -> None:
    albums = [listed("one", "Weezer"), listed("two", "Weezer")]
    match = matched(owned("Weezer", spotify_album_id="two"), owned_tracks(*BLUE), albums)
    assert (verdict(match), match.decided_by) == (("two", "matched"), "id")


def test_a_spotify_id_not_in_the_catalogue_decides_nothing() -> None:
    match = matched(
        owned("Weezer", spotify_album_id="old"), owned_tracks(*BLUE), [listed("a", "Weezer")]
    )
    assert (verdict(match), match.decided_by) == (("a", "matched"), "score")


def test_the_same_upc_decides_whatever_its_zeros() -> None:
    match = matched(
        owned("Weezer", barcode="0606949304521"),
        owned_tracks(*BLUE),
        [listed("one", "Weezer", upc="606949304521"), listed("two", "Weezer")],
    )
    assert (verdict(match), match.decided_by) == (("one", "matched"), "upc")


def test_a_upc_of_two_equal_albums_is_ambiguous_and_other_evidence_may_decide() -> None:
    album = owned("Weezer", barcode="606949304521")
    blue = listed("blue", "Weezer", upc="606949304521")
    twin = listed("twin", "Weezer", upc="606949304521")
    assert matched(album, owned_tracks(*BLUE), [blue, twin]).verdict == "ambiguous"
    green = twin | {"release_date": "2001-05-15"}
    assert verdict(matched(album, owned_tracks(*BLUE), [blue, green])) == ("blue", "matched")


def test_a_upc_that_everything_contradicts_is_unsure() -> None:
    match = matched(
        owned("Weezer", barcode="606949304521"),
        owned_tracks(*BLUE),
        [listed("a", "Kid A", upc="606949304521", total_tracks=11)],
    )
    assert verdict(match) == (None, "unsure")


def test_the_same_isrcs_match_a_title_in_another_script() -> None:
    match = matched(
        owned("初恋", "ウィーザー"),
        owned_tracks(*BLUE, isrc="JPABC"),
        [listed("a", "Hatsukoi", "2011-01-01")],
        [listed_tracks("a", *GREEN, isrc="JPABC")],
    )
    assert (verdict(match), match.decided_by) == (("a", "matched"), "isrc")


@pytest.mark.parametrize("key", ["1", "mb-1"])
def test_the_user_beats_all_evidence(key: str) -> None:
    album = owned("Weezer", spotify_album_id="blue")
    albums = [listed("blue", "Weezer")]
    chosen = matched(
        album, owned_tracks(*BLUE), albums, decisions=Decisions(match={key: "elsewhere"})
    )
    assert (verdict(chosen), chosen.decided_by) == (("elsewhere", "matched"), "user")
    never = matched(album, owned_tracks(*BLUE), albums, decisions=Decisions(match={key: "never"}))
    assert (verdict(never), never.decided_by) == ((None, "unmatched"), "user")


def test_an_album_without_artist_is_found_by_that_of_its_tracks() -> None:
    match = matched(owned("Weezer", ""), owned_tracks(*BLUE), [listed("a", "Weezer")])
    assert verdict(match) == ("a", "matched")


def test_an_album_whose_length_is_unknown_is_unsure() -> None:
    match = matched(owned("Weezer"), [], [listed("a", "Weezer")])
    assert (verdict(match), match.reason) == ((None, "unsure"), MatchReason.UNCOUNTED)


def test_a_body_of_which_only_a_part_is_stored_counts_as_pending() -> None:
    match = matched(
        owned("Weezer"),
        owned_tracks(*BLUE),
        [listed("a", "Weezer")],
        [listed_tracks("a", *BLUE[:2])],
    )
    assert verdict(match) == ("a", "matched")


def test_the_row_has_the_columns_of_the_table() -> None:
    row = matched(owned("Weezer"), owned_tracks(*BLUE), [listed("a", "Weezer")]).as_row()
    assert json.loads(str(row["candidates"])) == [
        {"album_id": "a", "name": "Weezer", "release_date": "1994-05-10", "score": 1.0}
    ]
    assert row["reason"] == "alike"


def test_comparing_a_big_library_takes_a_few_milliseconds_an_album() -> None:
    albums = [listed(f"id {number}", f"Weezer {number % 300} songs") for number in range(900)]
    bodies = [row for album in albums for row in listed_tracks(album["album_id"], *BLUE)]
    index, known = CatalogueIndex(albums, bodies, {}), comparable(albums, bodies, {})
    library = [owned(f"Weezer {number} songs") for number in range(100)]
    started = time.process_time()
    match_library(library, owned_tracks(*BLUE), index, lambda _: known, Decisions())
    assert time.process_time() - started < 100 * 0.02


VALUES = st.none() | st.text() | st.integers() | st.floats() | st.just("Weezer")


def wild(row: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(list(row)), VALUES).map(lambda odd: row | odd)


@settings(deadline=None)
@given(
    wild(owned("Weezer")),
    st.lists(wild(owned_tracks("Jonas")[0]), max_size=3),
    st.lists(wild(listed("a", "Weezer")), max_size=3),
    st.lists(wild(listed_tracks("a", "Jonas")[0]), max_size=3),
)
def test_no_row_however_odd_breaks_a_comparison(
    album: dict[str, Any], tracks: Rows, albums: Rows, bodies: Rows
) -> None:
    match = matched(album, tracks, albums, [bodies])
    assert (match.verdict == "matched") == (match.album_id is not None)


@given(wild(owned("Weezer")), st.lists(wild(owned_tracks("Jonas")[0]), max_size=3))
def test_reading_a_library_album_never_fails(album: dict[str, Any], tracks: Rows) -> None:
    assert LibraryAlbum.of(album, tracks) == LibraryAlbum.of(dict(album), tracks)


@settings(deadline=None)
@given(st.permutations(["a", "b", "c", "d"]))
def test_the_order_of_the_catalogue_does_not_matter(ids: list[str]) -> None:
    albums = [listed(album_id, "Weezer") for album_id in ids]
    match = matched(owned("Weezer"), owned_tracks(*BLUE), albums)
    assert [candidate.album_id for candidate in match.candidates] == ["a", "b", "c", "d"]
