"""The watchlist, as both the op and the asset bring it up to date."""

from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from harmony_pipelines import partitions
from harmony_pipelines.clients.beets_query import album_artists, library_artists
from harmony_pipelines.clients.quota import COUNTED
from harmony_pipelines.clients.spotify import SpotifyClient
from harmony_pipelines.domain.errors import Reason
from harmony_pipelines.metadata import materialised, table
from harmony_pipelines.resources import BeetsResource, CatalogueResource, SpotifyResource
from harmony_pipelines.runs import Context, configured, run_deadline, still_running
from harmony_pipelines.settings import load_settings
from harmony_pipelines.steps import watch
from harmony_pipelines.steps.settle import problem

_REFRESH = ("ops", "refresh_artists", "config")


@dataclass(frozen=True)
class Resources:
    """What reading the watchlist needs of Dagster's resources."""

    catalogue: CatalogueResource
    spotify: SpotifyResource
    beets: BeetsResource


@dataclass(frozen=True)
class Found:
    """The watchlist, and the requests by family that it took to settle who is meant."""

    read: watch.WatchlistRead
    by_family: Counter[str]

    @property
    def requests(self) -> int:
        """All of them that cost quota."""
        return sum(self.by_family[family] for family in COUNTED)


def read_watchlist(context: Context, resources: Resources) -> Found:
    """Read the watchlist and register a partition for each artist on it."""
    settings = load_settings()
    deadline = run_deadline(context, settings)
    store = resources.catalogue.open(settings, still_running(context))
    most = configured(context, *_REFRESH, "max_requests")
    is_named = bool(configured(context, *_REFRESH, "artists"))
    clients: list[SpotifyClient] = []
    with ExitStack() as opened:

        def lookup() -> SpotifyClient:
            quota = resources.spotify.quota(settings, store, most, is_named=is_named)
            client = resources.spotify.client(settings, store, deadline, quota)
            clients.append(opened.enter_context(client))
            return clients[-1]

        library = resources.beets.library
        sources = watch.Sources(
            lookup,
            lambda query: album_artists(library(settings), query, deadline),
            lambda: library_artists(library(settings), deadline),
            context.log.info,
        )
        read = watch.read(settings, store, sources, datetime.now(UTC))
    if read.stopped:
        context.log.warning(f"{read.waiting} names wait for the next run: {read.stopped.message}")
    partitions.register(context.instance, [row["partition_key"] for row in read.watched])
    return Found(read, sum((client.requests for client in clients), Counter[str]()))


def event(found: Found) -> dg.AssetMaterialization:
    """The event that says that the watchlist was brought up to date."""
    return materialised("watchlist", metadata(found))


def metadata(found: Found) -> dict[str, Any]:
    """Who is watched and which lines the user must look at."""
    review, cost = found.read.review, found.read.from_beets
    return {
        "artists": len(found.read.watched),
        "to review": len(review),
        "waiting": found.read.waiting,
        "requests": found.requests,
        **(_numbers(cost) if cost else {}),
        "review": table(review, ("line", "text", "code", "message"), len(review)),
    }


def _numbers(cost: watch.BeetsCost) -> dict[str, Any]:
    return {
        "from_beets": cost.artists,
        "from_beets, new": cost.new,
        "from_beets, requests to settle": cost.by_id + cost.by_search,
        "from_beets, requests to list": cost.listings,
    }


def outcome(found: Found) -> dict[str, Any]:
    """What the next op must know.

    A spent budget may be that of searching alone, so that it does not keep artists from being
    refreshed; every other fault that is everybody's does.
    """
    stopped = found.read.stopped
    if stopped and stopped.reason is Reason.BUDGET_SPENT:
        stopped = None
    return {
        "problems": found.read.problems,
        "requests": found.requests,
        "by_family": dict(found.by_family),
        "waiting": found.read.waiting,
        "stopped": problem(stopped) if stopped else None,
    }


def alone(found: Found) -> dict[str, Any]:
    """The outcome of a run that does nothing else."""
    stopped = problem(found.read.stopped) if found.read.stopped else None
    nobody: list[Any] = []
    return {
        "problems": found.read.problems,
        "failures": nobody,
        "postponed": nobody,
        "named": False,
        "stopped": stopped,
    }
