from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harmony_pipelines.domain.cadence import (
    ArtistState,
    days_until_done,
    is_sweep_due,
    next_body_due,
    next_due,
    next_retry,
)

MONDAY = datetime(2026, 11, 23, 12, tzinfo=UTC)
STATES = st.builds(
    ArtistState,
    artist_id=st.text(),
    status=st.sampled_from(["complete", "failed"]),
    attempts=st.integers(0, 10**6),
    latest_release=st.none() | st.dates(date(1900, 1, 1), date(2030, 1, 1)),
    releases_last_year=st.integers(0, 1000),
)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2040, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001


def gap(state: ArtistState, now: datetime = MONDAY) -> timedelta:
    due = next_due(state, now)
    assert due is not None
    return due - now


def test_who_releases_often_is_looked_at_daily() -> None:
    busy = ArtistState("a", "complete", latest_release=date(2026, 10, 1), releases_last_year=20)
    assert timedelta(hours=18) <= gap(busy) <= timedelta(days=1)


def test_who_has_just_released_is_looked_at_daily() -> None:
    fresh = ArtistState("a", "complete", latest_release=date(2026, 11, 20), releases_last_year=1)
    assert gap(fresh) <= timedelta(days=1)


@pytest.mark.parametrize("latest", [None, date(1981, 1, 1)])
def test_who_is_silent_is_looked_at_monthly(latest: date | None) -> None:
    dormant = ArtistState("a", "complete", latest_release=latest)
    assert timedelta(days=18) <= gap(dormant) <= timedelta(days=30)


def test_many_artists_are_spread_and_fridays_are_busiest() -> None:
    due = [
        next_due(ArtistState(f"artist {number}", "complete", 0, None, date(2026, 7, 1), 3), MONDAY)
        for number in range(500)
    ]
    assert len(set(due)) == 500
    weekly = [
        next_due(ArtistState(f"artist {number}", "complete", 0, None, date(2026, 9, 10), 3), now)
        for number in range(100)
        for now in (MONDAY + timedelta(days=day) for day in range(7))
    ]
    weekdays = [moment.weekday() for moment in weekly if moment]
    assert max(set(weekdays), key=weekdays.count) == 4


def test_the_same_artist_gets_the_same_moment() -> None:
    state = ArtistState("a", "complete", latest_release=date(2026, 1, 1))
    assert next_due(state, MONDAY) == next_due(state, MONDAY)


def test_failures_back_off_up_to_a_week() -> None:
    gaps = [gap(ArtistState("a", "failed", attempts=attempts)) for attempts in range(1, 12)]
    assert gaps == sorted(gaps)
    assert gaps[0] <= timedelta(hours=1) < gaps[2]
    assert gaps[-1] <= timedelta(days=7)


@pytest.mark.parametrize("status", ["never", "deferred", "partial"])
def test_what_was_not_done_stays_due_since_when_it_was(status: str) -> None:
    since = MONDAY - timedelta(days=3)
    assert next_due(ArtistState("a", status, next_due_at=since), MONDAY) == since
    assert next_due(ArtistState("a", status), MONDAY) == MONDAY
    assert next_due(ArtistState("a", status, next_due_at=MONDAY + RETRY), MONDAY) == MONDAY


RETRY = timedelta(hours=1)


def test_who_is_gone_is_never_due() -> None:
    assert next_due(ArtistState("a", "gone", next_due_at=MONDAY), MONDAY) is None


def test_a_full_sweep_is_due_after_thirty_days() -> None:
    assert is_sweep_due(None, MONDAY)
    assert is_sweep_due(MONDAY - timedelta(days=30), MONDAY)
    assert not is_sweep_due(MONDAY - timedelta(days=29), MONDAY)


def test_a_full_sweep_by_a_clock_that_was_far_ahead_counts_for_nothing() -> None:
    assert not is_sweep_due(MONDAY + timedelta(hours=1), MONDAY)
    assert is_sweep_due(MONDAY + timedelta(days=365), MONDAY)


@given(STATES, TIMES)
def test_every_artist_is_due_again_within_thirty_days(state: ArtistState, now: datetime) -> None:
    assert timedelta() < gap(state, now) <= timedelta(days=30)


@pytest.mark.parametrize(
    ("age", "days"), [(-30, 4), (0, 4), (14, 4), (15, 180), (9000, 180), (None, 180)]
)
def test_a_young_release_s_body_is_read_again_soon(age: int | None, days: int) -> None:
    released = None if age is None else MONDAY.date() - timedelta(days=age)
    assert next_body_due(released, MONDAY) - MONDAY == timedelta(days=days)


def test_a_retry_waits_as_a_failed_artist_does() -> None:
    for attempts in (1, 2, 5):
        state = ArtistState("a", "failed", attempts)
        assert next_retry("a", attempts, MONDAY) == next_due(state, MONDAY)


def test_a_backlog_takes_as_long_as_its_slowest_family() -> None:
    budgets = {"albums": 360, "artist_albums": 360, "artists": 0}
    assert days_until_done({}, budgets) == 0.0
    assert days_until_done({"albums": 900, "artist_albums": 90}, budgets) == 2.5
    assert days_until_done({"artists": 3}, budgets) == 3.0
