from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.errors import ErrorCode, Reason
from harmony_pipelines.domain.library_artists import Known
from harmony_pipelines.domain.watchlist import (
    Candidate,
    PartitionChanges,
    Resolved,
    Review,
    WatchlistEntry,
    ambiguous,
    partition_changes,
    resolve_by_library,
    resolve_by_search,
    split_duplicates,
)

GORILLAZ = Candidate("3AA28KZvwAUcZuOKwyblJQ", "Gorillaz")
TRIBUTE = Candidate("1111111111111111111111", "Gorillaz Tribute")
HOMONYM = Candidate("2222222222222222222222", "GORILLAZ")

KEYS = st.lists(st.text("abc", min_size=1, max_size=2), unique=True)


def line(text: str, number: int = 1, **options: Any) -> WatchlistEntry:
    return WatchlistEntry(text, number, **options)


def test_one_exact_name_among_near_ones_is_the_artist():
    assert resolve_by_search(line("gorillaz"), [TRIBUTE, GORILLAZ]) == Resolved(
        GORILLAZ.artist_id, "Gorillaz", "search"
    )


def test_names_are_compared_without_case_width_and_double_spaces():
    artist = Candidate("3333333333333333333333", "STRASSE  \uff19")
    found = resolve_by_search(line("straße 9"), [artist])
    assert isinstance(found, Resolved)
    assert found.artist_id == artist.artist_id


def test_homonyms_are_reviewed_and_not_guessed():
    review = resolve_by_search(line("Gorillaz"), [GORILLAZ, HOMONYM, HOMONYM])
    assert isinstance(review, Review)
    assert (review.code, review.reason) == (ErrorCode.VALIDATION_ERROR, Reason.AMBIGUOUS_NAME)
    assert review.candidates == (GORILLAZ, HOMONYM)
    assert "- 3AA28KZvwAUcZuOKwyblJQ  # Gorillaz" in review.message


def test_only_near_names_are_reviewed_with_the_lines_to_paste():
    review = resolve_by_search(line("Gorilaz"), [GORILLAZ, TRIBUTE])
    assert isinstance(review, Review)
    assert review.code == ErrorCode.NOT_FOUND
    assert review.candidates == (GORILLAZ, TRIBUTE)
    assert "- 3AA28KZvwAUcZuOKwyblJQ  # Gorillaz" in review.message


def test_the_line_to_paste_keeps_the_options_of_the_line_it_replaces():
    entry = line("Gorilaz", groups=("album", "single"), paused=True)
    pasted = entry.line_for(GORILLAZ)
    assert pasted == (
        "- {artist: 3AA28KZvwAUcZuOKwyblJQ, groups: [album, single], paused: true}  # Gorillaz"
    )
    assert yaml.safe_load(pasted) == [
        {"artist": GORILLAZ.artist_id, "groups": ["album", "single"], "paused": True}
    ]


def test_an_artist_of_the_library_has_no_line_to_replace():
    review = resolve_by_search(line("Gorilaz", -3), [GORILLAZ])
    assert isinstance(review, Review)
    assert "Add to `artists:` in the watchlist `- 3AA28KZvwAUcZuOKwyblJQ" in review.message


def test_a_name_that_nobody_has_is_not_found():
    review = resolve_by_search(line("Gorillaz"), [])
    assert isinstance(review, Review)
    assert (review.code, review.candidates) == (ErrorCode.NOT_FOUND, ())


def test_the_library_s_id_is_believed_where_the_names_agree():
    known = Known((HOMONYM.artist_id,), frozenset({"gorillaz"}))
    assert resolve_by_library(line("Gorillaz"), known, HOMONYM) == Resolved(
        HOMONYM.artist_id, "GORILLAZ", "library"
    )


def test_an_id_that_an_album_of_two_has_of_the_first_alone_is_reviewed():
    known = Known((GORILLAZ.artist_id,), frozenset({"gorillaz & friends"}))
    review = resolve_by_library(line("Gorillaz & Friends"), known, GORILLAZ)
    assert isinstance(review, Review)
    assert review.candidates == (GORILLAZ,)


def test_a_library_that_knows_two_of_the_name_names_both():
    review = ambiguous(line("Gorillaz"), [GORILLAZ, HOMONYM])
    assert review.reason == Reason.AMBIGUOUS_NAME
    assert "2 artists in your library" in review.message


def test_whom_musicbrainz_tells_apart_one_search_does_not_settle():
    review = resolve_by_search(line("Gorillaz"), [GORILLAZ, TRIBUTE], Known(namesakes=2))
    assert isinstance(review, Review)
    assert (review.reason, review.candidates) == (Reason.AMBIGUOUS_NAME, (GORILLAZ,))


def test_a_name_cannot_break_the_line_that_is_pasted():
    review = resolve_by_search(line("x"), [Candidate("3" * 22, "a\n- b")])
    assert isinstance(review, Review)
    assert "\n" not in review.message


def test_of_two_lines_with_one_artist_the_first_counts_and_the_second_is_reported():
    artist = Resolved(GORILLAZ.artist_id, "Gorillaz", "search")
    first, second = WatchlistEntry("Gorillaz", 3), WatchlistEntry(GORILLAZ.artist_id, 7)
    kept, duplicates = split_duplicates([(second, artist), (first, artist)])
    assert kept == [(first, artist)]
    assert [(each.entry, each.first_line) for each in duplicates] == [(second, 3)]
    assert duplicates[0].problem.details == {"line": 7, "first_line": 3}


def test_a_failed_read_drops_nobody():
    assert partition_changes(None, ["a"]) == PartitionChanges()


def test_an_empty_watchlist_drops_nobody():
    assert partition_changes([], ["a"]) == PartitionChanges()


def test_a_removed_artist_with_a_run_in_flight_stays():
    changes = partition_changes(["b"], ["a", "c", "b"], in_flight=["a"])
    assert changes == PartitionChanges(add=(), drop=("c",))


@given(KEYS.filter(bool), KEYS)
def test_after_the_changes_exactly_the_watched_are_registered(
    watched: list[str], registered: list[str]
):
    changes = partition_changes(watched, registered)
    assert (set(registered) | set(changes.add)) - set(changes.drop) == set(watched)
    assert partition_changes(watched, watched) == PartitionChanges()
