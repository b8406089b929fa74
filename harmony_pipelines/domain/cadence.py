"""When an artist and an album's body are due to be looked at again, and how long a backlog takes.

| artist | looked at |
|---|---|
| a release within the last fortnight, or about one a month | daily |
| in between | a thirtieth of the usual gap, or a twelfth of the silence |
| silent for a year | every 30 days at the latest |
| failed | after an hour, doubling up to a week |
| deferred, partial | still due, since when it was |
| gone | never |

An album's body is read when it is first listed, when its entry in a listing changes, every few
days while the release is young, and else every half year.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

LONGEST = timedelta(days=30)
SHORTEST = timedelta(days=1)
LAST_RETRY = timedelta(days=7)
"""The longest that another try is put off."""

AT_ONCE = datetime(1970, 1, 1, tzinfo=UTC)
"""When a body is due that is to be read now: past by any clock, also one that is set back."""

BODY_LASTS = timedelta(days=180)
YOUNG = timedelta(days=14)
YOUNG_BODY_LASTS = timedelta(days=4)
"""Labels correct what they have just released: tracks, covers and barcodes still change."""

_FIRST_RETRY = timedelta(hours=1)
_USUAL_GAP_SHARE = 30
_SILENCE_SHARE = 12
_JITTER = 0.2
_FRIDAY = 4
_EARLIER_FOR_FRIDAY = 0.25


@dataclass(frozen=True, slots=True)
class ArtistState:
    """What is known of an artist after an attempt; times are aware and in UTC."""

    artist_id: str
    status: str
    attempts: int = 0
    next_due_at: datetime | None = None
    latest_release: date | None = None
    releases_last_year: int = 0


def next_due(state: ArtistState, now: datetime) -> datetime | None:
    """When the artist is due next; None if Spotify no longer knows them."""
    if state.status == "gone":
        return None
    if state.status == "failed":
        return now + _retry_gap(state)
    if state.status == "complete":
        return _towards_friday(now, _interval(state, now.date()), _share(state.artist_id))
    return min(state.next_due_at or now, now)


def is_sweep_due(last_sweep_at: datetime | None, now: datetime) -> bool:
    """Whether a full sweep is due, which finds what was added with an old date.

    One that lies far ahead is from a clock since set back.
    """
    return last_sweep_at is None or abs(now - last_sweep_at) >= LONGEST


def next_retry(artist_id: str, attempts: int, now: datetime) -> datetime:
    """When an artist of whom something could not be read is tried again."""
    return now + _retry_gap(ArtistState(artist_id, "failed", attempts))


def next_body_due(released: date | None, now: datetime) -> datetime:
    """When the body of an album that was read now is read again."""
    is_young = released is not None and released >= now.date() - YOUNG
    return now + (YOUNG_BODY_LASTS if is_young else BODY_LASTS)


def days_until_done(requests: Mapping[str, int], budgets: Mapping[str, int]) -> float:
    """The days that requests of several families take at their daily budgets, side by side.

    A budget of 0 is counted as 1: something would still be left then, and no number is endless.
    """
    days = [count / max(1, budgets[family]) for family, count in requests.items()]
    return round(max(days, default=0.0), 1)


def _retry_gap(state: ArtistState) -> timedelta:
    # Past 2**8 hours the cap holds anyway; the exponent must not grow with the attempts.
    doublings = min(max(state.attempts - 1, 0), 8)
    longest = min(_FIRST_RETRY * 2**doublings, LAST_RETRY)
    return longest * (1 - _JITTER * _share(state.artist_id))


def _interval(state: ArtistState, today: date) -> timedelta:
    usual_gap = timedelta(days=365) / state.releases_last_year if state.releases_last_year else None
    silence = today - state.latest_release if state.latest_release else None
    suggested = [
        LONGEST,
        *([usual_gap / _USUAL_GAP_SHARE] if usual_gap else []),
        *([silence / _SILENCE_SHARE] if silence is not None else []),
    ]
    return max(min(suggested), SHORTEST)


def _towards_friday(now: datetime, interval: timedelta, share: float) -> datetime:
    """Up to a fifth early, and on the Friday before if there is one near: releases come then."""
    due = now + interval * (1 - _JITTER * share)
    friday = (due - timedelta(days=(due.weekday() - _FRIDAY) % 7)).date()
    moment = datetime.combine(friday, time(), due.tzinfo) + timedelta(days=1) * share
    earliest = due - interval * _EARLIER_FOR_FRIDAY
    return moment if max(earliest, now) < moment <= due else due


def _share(artist_id: str) -> float:
    """A number from 0 to 1 that is always the same for one artist."""
    digest = hashlib.sha256(artist_id.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:4], "big") / 2**32
