"""What Dagster is told of each artist that a run read, and what the run came to in numbers."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg
import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row, of_artist
from harmony_pipelines.clients.database import reading, selected
from harmony_pipelines.clients.discographies import Saved, mark_told, untold
from harmony_pipelines.clients.quota import COUNTED
from harmony_pipelines.domain.discography import is_tombstone
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.event_log import told_together
from harmony_pipelines.metadata import cell, materialised, picture
from harmony_pipelines.runs import Context
from harmony_pipelines.steps.refresh import Refreshed, Target
from harmony_pipelines.steps.settle import problem

ASSETS = ("spotify_artists", "spotify_albums", "spotify_tracks")

_TOLD_EVERY_SECONDS = 0.5
"""Artists that are ready faster than this are told of together: it waits for the disk each time."""

_STATUSES = ("complete", "partial", "failed", "gone", "deferred")


@dataclass(frozen=True)
class _Listed:
    """An artist whose listings were read in this run, and what that took."""

    target: Target
    saved: Saved
    error: HarmonyError | None
    requests: int
    seconds: float


@dataclass
class Telling:
    """Tells Dagster of each artist of a run once: when all of it that the run reads is committed.

    An artist of whom only a part came is not materialised: the partition shows as failed.
    """

    context: Context
    store: Catalogue
    listed: dict[str, _Listed] = field(default_factory=dict, init=False)
    _kept: dict[str, None] = field(default_factory=dict, init=False)
    _ready: dict[str, int] = field(default_factory=dict, init=False)
    """The requests made for the bodies of those who are told of next."""
    _told_at: float = field(default=-_TOLD_EVERY_SECONDS, init=False)

    def listing(self, result: Refreshed) -> None:
        """Note that an artist's listings were committed; it is told if no bodies wait."""
        target, saved, brought = result.target, result.saved, result.brought
        self.listed[target.artist_id] = _Listed(
            target, saved, brought.error, brought.requests, brought.seconds
        )
        is_whole = brought.catalogue is not None and brought.catalogue.complete
        if is_whole and saved.status in ("complete", "deferred"):
            self._kept[target.artist_id] = None
            if not saved.bodies_pending:
                self.tell(target.artist_id)
        else:  # of the others the events of their assets say it
            self.context.log.info(_line(result))

    def tell(self, artist_id: str, requests: int = 0) -> None:
        """Say what is stored of an artist, in a moment; `requests` are those of its bodies."""
        self._kept.pop(artist_id, None)
        self._ready[artist_id] = requests
        if time.monotonic() - self._told_at >= _TOLD_EVERY_SECONDS:
            self._tell_ready()

    def tell_the_rest(self) -> None:
        """Tell of all who wait for it, also of those whose bodies this run did not come to."""
        self._ready |= dict.fromkeys(self._kept, 0)
        self._kept.clear()
        self._tell_ready()

    def _tell_ready(self) -> None:
        with told_together(self.context.instance):
            told = [artist_id for artist_id in self._ready if self._is_told(artist_id)]
        mark_told(self.store, told)
        self._ready.clear()
        self._told_at = time.monotonic()

    def _is_told(self, artist_id: str) -> bool:
        """Log an artist's events; not of one of whom only a part is stored."""
        row = _stored(self.store, artist_id, self.context.run.run_id)
        if row is None or row["status"] not in ("complete", "deferred"):
            return False
        listed = self.listed.get(artist_id)
        spent = self._ready[artist_id] + (listed.requests if listed else 0)
        took = {"seconds": round(listed.seconds, 2)} if listed else {}
        for event in _events(row, {"requests": spent, **took}):
            self.context.log_event(event)
        return True

    def statuses(self) -> Counter[str]:
        """How many of the listed artists ended how."""
        state = tables.refresh_state
        rows = self.store.rows(
            sa.select(state.c.status).where(state.c.artist_id.in_([*self.listed]))
        )
        return Counter(row["status"] for row in rows)

    def problems(self, *statuses: str) -> list[dict[str, Any]]:
        """What went wrong with the listings of the artists that ended so."""
        return [
            problem(each.error, artist=each.target.name, partition=each.target.partition_key)
            for each in self.listed.values()
            if each.error is not None and each.saved.status in statuses
        ]


def log_untold(context: Context, store: Catalogue) -> None:
    """Materialise what a run that was killed had committed and not logged."""
    for row in untold(store):
        metadata = {"artist": row["name"], "status": row["status"], "note": "by a run that ended"}
        for asset in ASSETS:
            context.log_event(materialised(asset, metadata, row["partition_key"]))
        mark_told(store, [row["artist_id"]])


def problems_of(store: Catalogue, errors: Mapping[str, HarmonyError]) -> list[dict[str, Any]]:
    """The errors by artist id as rows of what a run reports."""
    watchlist = tables.watchlist
    rows = store.table(watchlist, watchlist.c.artist_id.in_(sorted(errors))) if errors else []
    return [
        problem(errors[row["artist_id"]], artist=row["name"], partition=row["partition_key"])
        for row in rows
    ]


def sum_up(due: int, statuses: Counter[str] | None = None, **more: Any) -> dict[str, Any]:
    """What a run did, in numbers; the artists that failed and those that are put off."""
    counts = statuses or Counter[str]()
    by_family = Counter[str](more.get("by_family", {}))
    nobody: list[Any] = []
    return {
        "due": due,
        **{status: counts[status] for status in _STATUSES},
        "deferred": counts["deferred"] + due - counts.total(),
        "new": 0,
        "requests": sum(by_family[family] for family in COUNTED),
        "by_family": {},
        "isrcs": 0,
        "stopped": None,
        "failures": nobody,
        "postponed": nobody,
        **more,
    }


_STORED = (
    of_artist(tables.watchlist)
    .with_only_columns(
        tables.watchlist.c.artist_id,
        tables.watchlist.c.name,
        tables.watchlist.c.partition_key,
        tables.refresh_state.c.status,
        tables.refresh_state.c.next_due_at,
        tables.refresh_state.c.bodies_pending,
        tables.spotify_artists.c.image_url,
        sa.select(sa.func.count())
        .where(tables.spotify_tracks.c.artist_id == sa.bindparam("artist"))
        .scalar_subquery()
        .label("tracks"),
        sa.select(sa.func.count())
        .where(
            tables.new_releases.c.artist_id == sa.bindparam("artist"),
            tables.new_releases.c.run_id == sa.bindparam("run"),
            tables.new_releases.c.hidden_reason.is_(None),
        )
        .scalar_subquery()
        .label("new"),
    )
    .join(
        tables.refresh_state,
        tables.refresh_state.c.artist_id == tables.watchlist.c.artist_id,
    )
    .outerjoin(
        tables.spotify_artists,
        tables.spotify_artists.c.artist_id == tables.watchlist.c.artist_id,
    )
)
_LISTED = (
    of_artist(tables.spotify_albums)
    .with_only_columns(
        tables.spotify_albums.c.name,
        tables.spotify_albums.c.release_date,
        tables.spotify_albums.c.image_url,
    )
    .where(tables.spotify_albums.c.removed_at.is_(None))
    .order_by(
        sa.func.coalesce(tables.spotify_albums.c.release_date, "").desc(),
        tables.spotify_albums.c.album_id,
    )
)


def _stored(store: Catalogue, artist_id: str, run_id: str) -> Row | None:
    """What is shown of an artist: name, state and counts; None if it is watched no more."""
    with reading(store.engine) as connection:
        found = selected(connection, _STORED, {"artist": artist_id, "run": run_id})
        listed = selected(connection, _LISTED, {"artist": artist_id})
    if not found:
        return None
    withdrawn = sum(map(is_tombstone, listed))
    counts = {"albums": len(listed) - withdrawn, "withdrawn": withdrawn}
    return found[0] | counts | {"latest": next(iter(listed), None)}


def _events(row: Row, took: dict[str, Any]) -> Iterator[dg.AssetMaterialization]:
    key = row["partition_key"]
    common = {
        "artist": row["name"],
        "status": row["status"],
        "spotify": dg.MetadataValue.url(f"https://open.spotify.com/artist/{row['artist_id']}"),
        **took,
    }
    looks = {"next due": row["next_due_at"] or "", "picture": picture(row["image_url"])}
    yield materialised("spotify_artists", {**common, **looks}, key)
    counts = {name: row[name] for name in ("albums", "new", "withdrawn", "bodies_pending")}
    yield materialised("spotify_albums", {**common, **counts, **_latest(row["latest"])}, key)
    yield materialised("spotify_tracks", {**common, "tracks": row["tracks"]}, key)


def _latest(album: Row | None) -> dict[str, Any]:
    if album is None:
        return {}
    named = f"{cell(album['name'])} ({cell(album['release_date'])})"
    return {"latest release": picture(album["image_url"], named)}


def _line(result: Refreshed) -> str:
    saved, error = result.saved, result.brought.error
    said = (
        f"{result.target.name!r}: {saved.status}, {saved.albums} albums, "
        f"{saved.bodies_pending} bodies to read, {result.brought.requests} requests"
    )
    return f"{said}: {error.code} {error.message}" if error else said
