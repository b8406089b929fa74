from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.undo import EMBEDDED, RESTORED, Before, Change, picture_before

PICTURES = st.sampled_from(["a", "b", "c", None])


def history(*changes: tuple[str | None, str | None], restored: bool = False) -> list[Change]:
    """Each change as (new, old), the oldest first; run 1, 2, …; the last may be our undoing."""
    told = [Change(f"run {n}", EMBEDDED, new, old) for n, (new, old) in enumerate(changes, start=1)]
    if restored:
        last = told.pop()
        told.append(Change(last.run_id, RESTORED, last.sha256, last.old_sha256))
    return told[::-1]


def test_a_first_cover_goes_back_to_none() -> None:
    assert picture_before(history(("ours", None)), "ours") == Before(None)


def test_several_covers_of_ours_go_back_to_what_was_there_before_the_first() -> None:
    changes = history(("small", "theirs"), ("large", "small"), ("largest", "large"))
    assert picture_before(changes, "largest") == Before("theirs")
    assert picture_before(changes, "large") == Before("theirs")  # the last rename did not happen


def test_one_run_s_cover_goes_back_to_what_was_there_before_that_run() -> None:
    changes = history(("small", None), ("large", "small"))
    assert picture_before(changes, "large", "run 2") == Before("small")
    assert picture_before(changes, "large", "run 1") is None


def test_a_picture_that_is_not_ours_is_not_taken_away() -> None:
    assert picture_before(history(("ours", "old")), "theirs") is None
    assert picture_before(history(("ours", "old")), None) is None


def test_a_change_that_was_not_made_leaves_nothing_to_do() -> None:
    assert picture_before(history(("ours", "old")), "old") == Before("old")
    assert picture_before(history(("ours", None)), None) == Before(None)


def test_what_the_user_put_between_two_covers_of_ours_is_what_was_there_before() -> None:
    again = history(("ours", None), (None, "ours"), restored=True)
    changes = [Change("run 3", EMBEDDED, "ours", "theirs"), *again]
    assert picture_before(changes, "ours") == Before("theirs")


def test_what_went_back_is_no_more_ours_to_speak_of() -> None:
    changes = history(("ours", None), (None, "ours"), restored=True)
    assert picture_before(changes, None) == Before(None)
    assert picture_before(changes, "theirs") == Before("theirs")
    assert picture_before(changes, "theirs", "run 1") == Before("theirs")


def test_what_is_undone_is_told_the_newest_first() -> None:
    changes = history(("small", "theirs"), ("never", "small"), ("large", "small"))
    before = picture_before(changes, "large")
    assert before
    assert before.undone == (changes[0], changes[2])


@given(st.lists(st.tuples(PICTURES, PICTURES), min_size=1), PICTURES, st.booleans())
def test_going_back_twice_is_going_back_once_if_no_picture_came_twice(
    changes: list[tuple[str | None, str | None]], current: str | None, restored: bool
) -> None:
    told = history((f"{len(changes)}", None), *changes, restored=restored)
    before = picture_before(told, current)
    if before is None or before.sha256 == current:
        return
    after = [Change("undo", RESTORED, before.sha256, current), *told]
    assert picture_before(after, before.sha256) is not None
