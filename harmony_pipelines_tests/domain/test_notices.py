from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain import notices
from harmony_pipelines.domain.notices import Known, Problem, changes

NOW = datetime(2026, 11, 23, 9, 12, tzinfo=UTC)
BROKEN = Problem("DEPENDENCY_ERROR", "Lumen Tide", "It did not answer.", "artists")
REFUSED = Problem("AUTH_REQUIRED", "refresh_catalogue", "Sign in again.", "refresh_catalogue")


def known(*problems: Problem, told: timedelta = timedelta(hours=1)) -> list[Known]:
    return [Known(problem, NOW - told) for problem in problems]


def test_a_problem_begins_once_and_ends_once() -> None:
    assert changes([], [BROKEN], {"artists"}, NOW).began == (BROKEN,)
    again = changes(known(BROKEN), [BROKEN], {"artists"}, NOW)
    assert (again.began, again.ended, again.last) == ((), (), ())
    assert changes(known(BROKEN), [], {"artists"}, NOW).ended == (BROKEN,)


def test_nobody_says_that_a_problem_ended_who_did_not_look() -> None:
    assert changes(known(BROKEN, REFUSED), [], {"artists"}, NOW).ended == (BROKEN,)
    assert changes(known(BROKEN, REFUSED), [], set(), NOW).ended == ()


def test_the_same_subject_with_another_code_is_another_problem() -> None:
    other = Problem("NOT_FOUND", BROKEN.subject, "Gone.", "artists")
    found = changes(known(BROKEN), [other], {"artists"}, NOW)
    assert (found.began, found.ended) == ((other,), (BROKEN,))


@pytest.mark.parametrize(
    ("told", "is_due"),
    [(timedelta(days=6.9), False), (timedelta(days=7), True), (timedelta(days=-400), True)],
)
def test_what_lasts_is_said_again_after_a_week(told: timedelta, is_due: bool) -> None:
    found = changes(known(BROKEN, told=told), [BROKEN], {"artists"}, NOW)
    assert found.last == ((BROKEN,) if is_due else ())


def test_each_code_is_one_message_with_all_its_subjects() -> None:
    two = Problem(BROKEN.code, "Sable Choir", "It did not answer.", "artists")
    first, second = notices.about_problems(notices.FAILURE, [BROKEN, REFUSED, two], "run")
    assert (first.code, first.counts, len(first.items)) == ("DEPENDENCY_ERROR", {"problems": 2}, 2)
    assert (second.code, second.counts) == ("AUTH_REQUIRED", {"problems": 1})


def release(name: str) -> dict[str, Any]:
    return {
        "artist_name": "Lumen Tide",
        "name": name,
        "album_type": "album",
        "release_date": "2026-11-20",
        "spotify_url": "https://open.spotify.com/album/1",
    }


def test_ten_thousand_new_releases_are_one_short_message() -> None:
    [message] = notices.about_news([release("x" * 5000) for _ in range(10_000)], None)
    assert message.counts == {"new_releases": 10_000}
    assert len(message.items) == notices.ITEMS_SENT
    assert "and 9980 more" in message.body
    assert len(message.body) < 10_000


def test_nothing_new_is_no_message() -> None:
    assert notices.about_news([], None) == []
    assert notices.about_review([], None) == []
    assert notices.about_covers({"skipped": 3}, [], None) == []


@given(st.text())
def test_a_title_from_outside_is_one_line_that_calls_nobody(name: str) -> None:
    [message] = notices.about_news([release(name)], None)
    assert "\n" not in message.body
    assert "@everyone" not in message.body
    assert message.body.isprintable() or "\u200b" in message.body
