"""A refresh, as both the op and the asset run it: which artists, what came of it, what failed."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from harmony_pipelines.claims import claimed
from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.discographies import Attempt, due_artists, least_recently_listed
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines.failures import failure
from harmony_pipelines.last_word import say_last
from harmony_pipelines.metadata import table
from harmony_pipelines.ops.refreshed import log_refresh, log_untold, sum_up
from harmony_pipelines.resources import CatalogueResource, SpotifyResource
from harmony_pipelines.runs import Context, run_deadline, still_running
from harmony_pipelines.settings import load_settings
from harmony_pipelines.steps import watch
from harmony_pipelines.steps.refresh import Reader, Refresh, targets_of
from harmony_pipelines.steps.settle import problem

CHECK = dg.AssetCheckKey(dg.AssetKey("spotify_albums"), "every_due_artist_was_refreshed")

_SHARE = 0.9
"""The share of a run's time for Spotify; the rest is for the reports."""

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
        if self.full_sweep:
            return least_recently_listed(store, self.most_artists), []
        return due_artists(store, datetime.now(UTC), self.most_artists), []


def refresh(
    context: Context, order: Order, catalogue: CatalogueResource, spotify: SpotifyResource
) -> Outcome:
    """Refresh the artists of the order; each is committed and materialised by itself."""
    settings = load_settings()
    deadline = run_deadline(context, settings, _SHARE)
    store = catalogue.open(settings, still_running(context))
    if not order.artists:
        log_untold(context, store)
    rows, problems = order.rows(store)
    outcome: Outcome = {
        "watched": store.count(tables.watchlist, tables.watchlist.c.paused == 0),
        "named": bool(order.artists),
        "problems": problems,
    }
    if order.stopped or not rows:
        return outcome | sum_up([], len(rows), order.stopped)
    with ExitStack() as opened:
        try:
            client = opened.enter_context(
                spotify.client(settings, store, deadline, order.max_requests)
            )
        except HarmonyError as error:  # no credentials: nobody failed, the reports go on
            return outcome | sum_up([], len(rows), problem(error))
        reader = Reader(client, store, settings.spotify_market(), deadline, order.full_sweep)
        attempt = Attempt(datetime.now(UTC), context.run.run_id, reader.market)
        work = Refresh(
            store,
            reader.read,
            attempt,
            settings.spotify_concurrency,
            lock=lambda target: claimed(
                context, settings.locks_dir / f"artist-{target.artist_id}.lock"
            ),
            again=bool(order.artists),
        )
        return outcome | log_refresh(context, work, targets_of(rows))


def joined(watchlist: Outcome, refreshed: Outcome) -> Outcome:
    """What the run came to so far."""
    return {
        **refreshed,
        "problems": watchlist["problems"] + refreshed["problems"],
        "requests": watchlist["requests"] + refreshed["requests"],
        "waiting": watchlist["waiting"],
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
        "bodies_pending": "album bodies pending",
        "waiting": "names of the watchlist waiting",
    }
    rest = [f"{outcome[name]} {words}" for name, words in counts.items() if outcome.get(name)]
    stopped = outcome["stopped"]
    return ", ".join([said, *rest]) + (f". Stopped: {stopped['message']}" if stopped else ".")


def numbers(outcome: Outcome) -> dict[str, Any]:
    """The numbers of a run, as the UI plots them."""
    return {name: value for name, value in outcome.items() if type(value) is int}
