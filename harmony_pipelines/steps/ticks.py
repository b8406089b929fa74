"""Whether a tick starts its job now, or why it waits; nothing is called, little is read."""

from contextlib import closing
from datetime import datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.backlog import Backlog
from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.clients.discographies import count_retries, how_many_due
from harmony_pipelines.clients.locks import holder_of
from harmony_pipelines.clients.quota import ISRCS, Quota, QuotaLimits
from harmony_pipelines.clients.spotify import BODIES
from harmony_pipelines.domain.errors import Reason
from harmony_pipelines.domain.readable import counted
from harmony_pipelines.settings import Settings
from harmony_pipelines.steps.changes import Look, look_at_retries, look_at_watchlist, was_edited
from harmony_pipelines.steps.pending import LISTINGS


def why_not_refresh(settings: Settings, now: datetime) -> str | None:
    """Why no refresh is started: nothing is due, or Spotify may not be asked; None: start it.

    Bodies and ISRCs that wait are work too, though no artist is due: each has its own budget.
    """
    with closing(Catalogue.open(settings.database_url)) as store:
        due, next_due_at, last_attempt_at = how_many_due(store, now)
        quota, waiting = _quota(settings, store), Backlog(store, now)
        asks_isrcs = settings.spotify_isrc_daily_requests > 0
        refusals: list[str] = []
        for family, what, is_there in (
            (
                LISTINGS,
                _wait(due),
                due or was_edited(settings.watchlist_path, last_attempt_at, now),
            ),
            (BODIES, "album bodies wait", waiting.is_body_waiting()),
            (ISRCS, "ISRCs wait", asks_isrcs and waiting.is_track_waiting()),
        ):
            if is_there:
                rest = _rest(settings, quota, family, now)
                if rest is None:
                    return None
                refusals.append(f"{rest.what}, {what}. {rest.why}")
        if refusals:
            return refusals[0]
        if next_due_at is None:
            return "Nothing is due: nobody is watched."
        at = _clock(settings, datetime.fromisoformat(next_due_at), now)
        return f"Nothing is due; the next artist is due at {at}."


def why_not_alone(settings: Settings, work: str) -> str | None:
    """Which run, also one on the command line, is at the work just now; None: nobody."""
    holder = holder_of(settings.locks_dir / f"{work}.lock")
    return f"A run is at it already: {holder.run_id or 'one just started'}." if holder else None


def watchlist_tick(
    settings: Settings, cursor: str | None, wait: str | None, now: datetime
) -> tuple[Look, list[str]]:
    """Whether an edit of the watchlist starts a run, and the partition keys that are watched."""
    with closing(Catalogue.open(settings.database_url)) as store:
        rest = _rest(settings, _quota(settings, store), LISTINGS, now)
        if rest and rest.is_cooldown:
            wait = wait or f"{rest.what}. {rest.why}"
        *_, last_attempt_at = how_many_due(store, now)
        is_news = was_edited(settings.watchlist_path, last_attempt_at, now)
        look = look_at_watchlist(settings, cursor, is_news, wait)
        watched = store.rows(sa.select(tables.watchlist.c.partition_key))
        return look, [row["partition_key"] for row in watched]


def retry_tick(settings: Settings, cursor: str | None, wait: str | None, now: datetime) -> Look:
    """Whether artists whose refresh failed are tried again."""
    with closing(Catalogue.open(settings.database_url)) as store:
        found = count_retries(store, now)
        if not found.waiting:
            return Look("No artist waits for another try.", cursor or "")
        if not found.due:
            at = _clock(settings, datetime.fromisoformat(found.next_at or ""), now)
            failed = counted(found.waiting, "artist")
            return Look(f"{failed} failed; the next try is at {at}.", cursor or "")
        rest = _rest(settings, _quota(settings, store), LISTINGS, now)
        if rest:
            wait = f"{rest.what}, {_wait(found.due)}. {rest.why}"
        return look_at_retries(found.attempts, cursor, wait, now.timestamp())


class _Rest(NamedTuple):
    """That Spotify may not be called now."""

    what: str
    why: str
    is_cooldown: bool


def _quota(settings: Settings, store: Catalogue) -> Quota:
    limits = QuotaLimits(
        daily_requests=settings.spotify_daily_requests,
        by_family={ISRCS: settings.spotify_isrc_daily_requests},
    )
    return Quota(store.engine, limits)


def _rest(settings: Settings, quota: Quota, family: str, now: datetime) -> _Rest | None:
    refusal = quota.why_not(family)
    if refusal is None:
        return None
    if refusal.reason is not Reason.COOLDOWN:
        return _Rest("Budget spent", refusal.message, False)
    left = refusal.details.get("retry_after_s")
    until = now + timedelta(seconds=left if isinstance(left, float) else 0.0)
    return _Rest(f"Cooldown until {_clock(settings, until, now)}", refusal.message, True)


def _wait(artists: int) -> str:
    return f"{counted(artists, 'artist')} {'waits' if artists == 1 else 'wait'}"


def _clock(settings: Settings, moment: datetime, now: datetime) -> str:
    """The moment on the user's clock, with its day where that is another."""
    zone = ZoneInfo(settings.timezone)
    there = moment.astimezone(zone)
    today = there.date() == now.astimezone(zone).date()
    return f"{there:%H:%M}" if today else f"{there:%a %d %b %H:%M}"
