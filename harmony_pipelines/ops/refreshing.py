"""A refresh, as both the op and the asset run it: which artists, what came of it, what failed."""

from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from harmony_pipelines.claims import claimed
from harmony_pipelines.clients import tables
from harmony_pipelines.clients.backlog import Backlog
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.collector import collected_rarely
from harmony_pipelines.clients.discographies import (
    Attempt,
    due_artists,
    due_retries,
    least_recently_listed,
)
from harmony_pipelines.clients.quota import COUNTED, PROBE, TOKEN, Quota
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.failures import failure
from harmony_pipelines.last_word import say_last
from harmony_pipelines.metadata import table
from harmony_pipelines.ops.refreshed import Telling, log_untold, problems_of, sum_up
from harmony_pipelines.resources import CatalogueResource, SpotifyResource
from harmony_pipelines.runs import ARTIST_TAG, Context, run_deadline, still_running
from harmony_pipelines.settings import Settings, load_settings
from harmony_pipelines.steps import pending, watch
from harmony_pipelines.steps.backlog import BodyWork, IsrcWork
from harmony_pipelines.steps.refresh import Reader, Refresh, Target, targets_of
from harmony_pipelines.steps.settle import problem

if TYPE_CHECKING:
    from harmony_pipelines.clients.spotify import SpotifyClient

CHECK = dg.AssetCheckKey(dg.AssetKey("spotify_albums"), "every_due_artist_was_refreshed")

_SHARE = 0.9
"""The share of a run's time for Spotify; the rest is for the reports."""

_BACKLOG_SHARE = 0.8
"""The share after which nothing more of the backlog is begun: the next run goes on with it."""

_COLUMNS = ("artist", "code", "reason", "message")

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Order:
    """Which artists to refresh, how thoroughly, and what it may cost."""

    artists: Sequence[str] = ()
    full_sweep: bool = False
    max_requests: int | None = None
    most_artists: int = 0
    """The most artists where none is named."""
    retry: bool = False
    """Only those whose last refresh failed and is due again."""
    stopped: dict[str, Any] | None = None
    """The fault that is everybody's and was met before."""

    def after(self, watchlist: Outcome) -> "Order":
        """What is left of the order once the watchlist was read."""
        left = self.max_requests
        if left is not None:
            left = max(0, left - watchlist["requests"])
        return replace(self, max_requests=left, stopped=watchlist["stopped"])

    def rows(self, store: Catalogue) -> tuple[list[Row], list[dict[str, Any]]]:
        """The rows of `watchlist` to refresh, and what is wrong about the names given."""
        if self.artists:
            return watch.chosen(self.artists, store.table(tables.watchlist))
        if self.retry:
            return due_retries(store, datetime.now(UTC), self.most_artists), []
        if self.full_sweep:
            return least_recently_listed(store, self.most_artists), []
        return due_artists(store, datetime.now(UTC), self.most_artists), []


def refresh(
    context: Context, order: Order, catalogue: CatalogueResource, spotify: SpotifyResource
) -> Outcome:
    """Refresh the artists of the order; each is committed and materialised by itself.

    Listings come first, then the bodies that wait, whoever's they are, then ISRCs.
    """
    settings = load_settings()
    store = catalogue.open(settings, still_running(context))
    if not order.artists:
        log_untold(context, store)
    rows, problems = order.rows(store)
    if order.artists and len(rows) == 1:
        context.instance.add_run_tags(context.run.run_id, {ARTIST_TAG: rows[0]["partition_key"]})
    quota = spotify.quota(settings, store, order.max_requests, is_named=bool(order.artists))
    outcome: Outcome = {
        "watched": store.count(tables.watchlist, tables.watchlist.c.paused == 0),
        "named": bool(order.artists),
        "problems": problems,
    }
    named = [row["artist_id"] for row in rows] if order.artists else []
    if order.stopped or not (rows or _is_waiting(order, store, quota)):
        outcome |= sum_up(len(rows), stopped=order.stopped)
    else:
        with ExitStack() as opened:
            deadline = run_deadline(context, settings, _SHARE)
            try:
                client = opened.enter_context(spotify.client(settings, store, deadline, quota))
            except HarmonyError as error:  # no credentials: nobody failed, the reports go on
                outcome |= sum_up(len(rows), stopped=problem(error))
            else:
                run = _Run(context, settings, order, store, client, deadline)
                with collected_rarely(10_000):
                    outcome |= run.work(targets_of(rows), named)
    app = spotify.app(settings, store)
    return outcome | pending.numbers(store, quota, app, datetime.now(UTC))


def _is_waiting(order: Order, store: Catalogue, quota: Quota) -> bool:
    return not order.artists and pending.may_be_read(store, quota, datetime.now(UTC))


@dataclass
class _Run:
    """The three parts of a refresh, in the order in which requests are spent."""

    context: Context
    settings: Settings
    order: Order
    store: Catalogue
    client: "SpotifyClient"
    deadline: Deadline

    def work(self, targets: list[Target], named: list[str]) -> Outcome:
        telling = Telling(self.context, self.store)
        listings = self._listings(targets, telling)
        stopped = listings.stopped
        bodies = self._body_work(named)
        isrcs = self._isrc_work(named)
        if not (_ends_the_run(stopped) or self._must_list_more(targets, stopped)):
            for artist_id in bodies.artists():
                telling.tell(artist_id, bodies.requests[artist_id])
            stopped = stopped or _but_for_budgets(bodies.stopped)
            if not _ends_the_run(stopped):
                isrcs.run()
                stopped = stopped or _but_for_budgets(isrcs.stopped)
        telling.tell_the_rest()
        busy = [
            problem(error, artist=target.name, partition=target.partition_key)
            for target, error in listings.busy
        ]
        failed = telling.problems("failed", "partial")
        return sum_up(
            len(targets),
            telling.statuses(),
            new=pending.new_releases(self.store, self.context.run.run_id),
            by_family=dict(self.client.all_requests),
            isrcs=isrcs.found,
            stopped=problem(stopped) if stopped else None,
            failures=[*failed, *problems_of(self.store, bodies.failed)],
            postponed=[
                *telling.problems("deferred"),
                *problems_of(self.store, self._put_off(named, bodies)),
                *busy,
            ],
        )

    def _listings(self, targets: list[Target], telling: Telling) -> Refresh:
        reader = Reader(
            self.client,
            self.store,
            self.settings.spotify_market(),
            self.deadline,
            self.order.full_sweep,
        )
        attempt = Attempt(datetime.now(UTC), self.context.run.run_id, reader.market)
        listings = Refresh(
            self.store,
            reader.read,
            attempt,
            self.settings.spotify_concurrency,
            lock=lambda target: claimed(
                self.context, self.settings.locks_dir / f"artist-{target.artist_id}.lock"
            ),
            again=bool(self.order.artists),
        )
        for result in listings.artists(targets):
            telling.listing(result)
        return listings

    def _must_list_more(self, targets: list[Target], stopped: HarmonyError | None) -> bool:
        """Whether more artists are due than a run takes: no listing waits for bodies."""
        is_full = not self.order.artists and len(targets) >= self.order.most_artists
        return is_full and stopped is None and pending.is_any_due(self.store, datetime.now(UTC))

    def _body_work(self, named: list[str]) -> BodyWork:
        backlog = Backlog(self.store, datetime.now(UTC), named)
        until, workers = self._until(), self.settings.spotify_concurrency
        return BodyWork(self.client, self.store, backlog, self.deadline, until, workers)

    def _isrc_work(self, named: list[str]) -> IsrcWork:
        backlog = Backlog(self.store, datetime.now(UTC), named)
        workers = self.settings.spotify_concurrency
        return IsrcWork(self.client, self.store, backlog, self._until(), workers)

    def _until(self) -> Deadline:
        return run_deadline(self.context, self.settings, _BACKLOG_SHARE)

    def _put_off(self, named: list[str], bodies: BodyWork) -> dict[str, HarmonyError]:
        """What the bodies of the named artists still wait for; nobody else's are awaited."""
        if not named:
            return {}
        why = bodies.stopped or HarmonyError(
            ErrorCode.DEADLINE_EXCEEDED,
            Reason.DEADLINE,
            "The run's time was over before all album bodies were read; the next goes on.",
        )
        waiting = Backlog(self.store, datetime.now(UTC), named).how_many_bodies()
        return {
            artist_id: bodies.waits_for.get(artist_id, why)
            for artist_id in waiting.keys() - bodies.failed.keys()
        }


def _ends_the_run(stopped: HarmonyError | None) -> bool:
    """A family whose budget is spent leaves the others theirs."""
    return stopped is not None and stopped.reason is not Reason.BUDGET_SPENT


def _but_for_budgets(stopped: HarmonyError | None) -> HarmonyError | None:
    """What of the backlog waits for a budget is left for later, and no reason to stop."""
    return stopped if _ends_the_run(stopped) else None


def joined(watchlist: Outcome, refreshed: Outcome) -> Outcome:
    """What the run came to so far."""
    by_family = Counter(watchlist["by_family"]) + Counter(refreshed["by_family"])
    return {
        **refreshed,
        "problems": watchlist["problems"] + refreshed["problems"],
        "waiting": watchlist["waiting"],
        "by_family": dict(by_family),
        "requests": sum(by_family[family] for family in COUNTED),
    }


def failures(outcome: Outcome) -> list[dict[str, Any]]:
    """Why due artists were not refreshed.

    What waits for a spent budget or a cooldown is no failure, unless the user named the artists.
    """
    found, stopped = list(outcome["failures"]), outcome["stopped"]
    if outcome["named"]:
        found += outcome["postponed"]
    is_failure = stopped and (outcome["named"] or stopped["code"] != ErrorCode.RATE_LIMITED)
    if is_failure and stopped["message"] not in [each["message"] for each in found]:
        found.append(stopped)
    return found


def raise_if_red(outcome: Outcome) -> None:
    """Raise the failure of a run whose other work was done: the first problem, and all in a table.

    Where a fault was everybody's it is the one to name.
    """
    stopped = outcome["stopped"]
    problems = outcome["problems"] + failures(outcome)
    if not problems:
        return
    first = stopped if stopped in problems else problems[0]
    more = len(problems) - 1
    where = f"{first['artist']}: " if first.get("artist") else ""
    raise failure(
        {
            "code": first["code"],
            "message": f"{where}{first['message']}" + (f" (and {more} more)" if more else ""),
            "details": {"reason": first["reason"], "problems": problems},
        },
        problems=table(problems, _COLUMNS, len(problems)),
    )


def log_check(context: Context, outcome: Outcome) -> None:
    """Log the check that shows each artist that failed, with code and message."""
    failed = failures(outcome)
    context.log_event(
        dg.AssetCheckEvaluation(  # pyright: ignore[reportArgumentType] (taken, but not annotated)
            asset_key=CHECK.asset_key,
            check_name=CHECK.name,
            passed=not failed,
            metadata={"failed": len(failed), "artists": table(failed, _COLUMNS, len(failed))},
        )
    )


def say(context: Context, outcome: Outcome) -> None:
    """Sum the run up in its log and, on the CLI, in the last line."""
    context.log.info(summary(outcome))
    say_last(summary(outcome))


def summary(outcome: Outcome) -> str:
    """The run in one line."""
    said = (
        f"{outcome['complete']} of {outcome['due']} due artists refreshed "
        f"({outcome['watched']} watched), new releases: {outcome['new']}, "
        f"requests: {outcome['requests']}"
    )
    counts = {
        "partial": "partial",
        "failed": "failed",
        "gone": "gone",
        "deferred": "deferred",
        "isrcs": "ISRCs",
        "bodies_pending": "album bodies pending",
        "waiting": "names of the watchlist waiting",
    }
    rest = [f"{outcome[name]} {words}" for name, words in counts.items() if outcome.get(name)]
    if outcome["bodies_pending"] or outcome["listings_pending"]:
        rest.append(f"about {outcome['estimate_days']} days to go at this budget")
    if outcome["by_family"].get(PROBE):
        rest.append(f"{outcome['by_family'][PROBE]} of the requests to learn what the app may do")
    stopped = outcome["stopped"]
    return ", ".join([said, *rest]) + (f". Stopped: {stopped['message']}" if stopped else ".")


def numbers(outcome: Outcome) -> dict[str, int | float]:
    """The numbers of a run, as the UI plots them."""
    plain = {name: value for name, value in outcome.items() if type(value) in (int, float)}
    kinds = (*COUNTED, TOKEN, "retries")
    return plain | {f"requests_{kind}": outcome["by_family"].get(kind, 0) for kind in kinds}
