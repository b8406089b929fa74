"""What Dagster is told of each artist whose refresh was committed."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import dagster as dg

from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.clients.discographies import mark_told, untold
from harmony_pipelines.metadata import materialised
from harmony_pipelines.runs import Context
from harmony_pipelines.steps.refresh import Refresh, Refreshed, Target
from harmony_pipelines.steps.settle import problem

_STATUSES = ("complete", "partial", "failed", "gone")


def log_refresh(context: Context, refresh: Refresh, targets: list[Target]) -> dict[str, Any]:
    """Refresh the targets, log each as its rows are committed, and sum up.

    An artist of whom only a part came is not materialised: the partition shows as failed.
    """
    results: list[Refreshed] = []
    with closing(refresh.artists(targets)) as committed:
        for result in committed:
            results.append(result)
            if result.saved.status == "complete" or _waits_for_bodies(result):
                for event in _events(result):
                    context.log_event(event)
                mark_told(refresh.catalogue, result.target.artist_id)
            context.log.info(_line(result))
    stopped = problem(refresh.stopped) if refresh.stopped else None
    busy = [
        problem(error, artist=target.name, partition=target.partition_key)
        for target, error in refresh.busy
    ]
    outcome = sum_up(results, len(targets), stopped)
    return outcome | {"postponed": [*outcome["postponed"], *busy]}


def log_untold(context: Context, store: Catalogue) -> None:
    """Materialise what a run that was killed had committed and not logged."""
    for row in untold(store):
        metadata = {"artist": row["name"], "status": row["status"], "note": "by a run that ended"}
        for asset in ("spotify_artists", "spotify_albums", "spotify_tracks"):
            context.log_event(materialised(asset, metadata, row["partition_key"]))
        mark_told(store, row["artist_id"])


def sum_up(
    results: list[Refreshed], due: int, stopped: dict[str, Any] | None = None
) -> dict[str, Any]:
    """What a run did, in numbers; the artists that failed and those that are put off."""
    counts = Counter(result.saved.status for result in results)
    return {
        "due": due,
        **{status: counts[status] for status in _STATUSES},
        "deferred": counts["deferred"] + due - len(results),
        "new": sum(result.saved.new for result in results),
        "requests": sum(result.brought.requests for result in results),
        "bodies_pending": sum(result.saved.bodies_pending for result in results),
        "stopped": stopped,
        "failures": _problems(results, "failed", "partial"),
        "postponed": _problems(results, "deferred"),
    }


def _waits_for_bodies(result: Refreshed) -> bool:
    catalogue = result.brought.catalogue
    return result.saved.status == "deferred" and catalogue is not None and catalogue.complete


def _events(result: Refreshed) -> Iterator[dg.AssetMaterialization]:
    saved, brought, key = result.saved, result.brought, result.target.partition_key
    common = {
        "artist": result.target.name,
        "status": saved.status,
        "spotify": dg.MetadataValue.url(
            f"https://open.spotify.com/artist/{result.target.artist_id}"
        ),
        "requests": brought.requests,
        "seconds": round(brought.seconds, 2),
    }
    yield materialised("spotify_artists", {**common, "next due": saved.next_due_at or ""}, key)
    counts = {"albums": saved.albums, "new": saved.new, "bodies pending": saved.bodies_pending}
    yield materialised("spotify_albums", {**common, **counts}, key)
    yield materialised("spotify_tracks", {**common, "tracks": saved.tracks}, key)


def _problems(results: list[Refreshed], *statuses: str) -> list[dict[str, Any]]:
    return [
        problem(
            result.brought.error, artist=result.target.name, partition=result.target.partition_key
        )
        for result in results
        if result.brought.error is not None and result.saved.status in statuses
    ]


def _line(result: Refreshed) -> str:
    saved, error = result.saved, result.brought.error
    said = (
        f"{result.target.name!r}: {saved.status}, {saved.albums} albums, {saved.new} new, "
        f"{result.brought.requests} requests"
    )
    return f"{said}: {error.code} {error.message}" if error else said
