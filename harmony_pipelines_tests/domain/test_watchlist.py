from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.errors import ErrorCode, Reason
from harmony_pipelines.domain.watchlist import (
    Candidate,
    PartitionChanges,
    Resolved,
    Review,
    WatchlistEntry,
    partition_changes,
    resolve_name,
    split_duplicates,
)

GORILLAZ = Candidate("3AA28KZvwAUcZuOKwyblJQ", "Gorillaz")
TRIBUTE = Candidate("1111111111111111111111", "Gorillaz Tribute")
HOMONYM = Candidate("2222222222222222222222", "GORILLAZ")

KEYS = st.lists(st.text("abc", min_size=1, max_size=2), unique=True)


def test_one_exact_name_among_near_ones_is_the_artist():
    assert resolve_name("gorillaz", [], [TRIBUTE, GORILLAZ]) == Resolved(
        GORILLAZ.artist_id, "Gorillaz", "search"
    )


def test_names_are_compared_without_case_width_and_double_spaces():
    artist = Candidate("3333333333333333333333", "STRASSE  \uff19")
    found = resolve_name("straße 9", [], [artist])
    assert isinstance(found, Resolved)
    assert found.artist_id == artist.artist_id


def test_homonyms_are_reviewed_and_not_guessed():
    review = resolve_name("Gorillaz", [], [GORILLAZ, HOMONYM])
    assert isinstance(review, Review)
    assert (review.code, review.reason) == (ErrorCode.VALIDATION_ERROR, Reason.AMBIGUOUS_NAME)
    assert review.candidates == (GORILLAZ, HOMONYM)
    assert "- 3AA28KZvwAUcZuOKwyblJQ  # Gorillaz" in review.message


def test_only_near_names_are_reviewed_with_the_lines_to_paste():
    review = resolve_name("Gorilaz", [], [GORILLAZ, TRIBUTE])
    assert isinstance(review, Review)
    assert review.code == ErrorCode.NOT_FOUND
    assert review.candidates == (GORILLAZ, TRIBUTE)
    assert "- 3AA28KZvwAUcZuOKwyblJQ  # Gorillaz" in review.message


def test_a_name_that_nobody_has_is_not_found():
    review = resolve_name("Gorillaz", [], [])
    assert isinstance(review, Review)
    assert (review.code, review.candidates) == (ErrorCode.NOT_FOUND, ())


def test_what_the_library_knows_beats_the_search():
    assert resolve_name("Gorillaz", [HOMONYM, HOMONYM], [GORILLAZ]) == Resolved(
        HOMONYM.artist_id, "GORILLAZ", "library"
    )


def test_a_library_that_knows_two_of_the_name_is_not_settled_by_the_search():
    review = resolve_name("Gorillaz", [GORILLAZ, HOMONYM], [GORILLAZ])
    assert isinstance(review, Review)
    assert review.reason == Reason.AMBIGUOUS_NAME


def test_a_name_cannot_break_the_line_that_is_pasted():
    review = resolve_name("x", [], [Candidate("3" * 22, "a\n- b")])
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
