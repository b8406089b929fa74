"""The ops of `embedded_artwork`: plan, download, embed; between them travel hashes, no pictures."""

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from harmony_pipelines.claims import ARTWORK, Claims
from harmony_pipelines.domain.covers import Found, Plan, Skip, Wishes
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.undo import EMBEDDED
from harmony_pipelines.failures import reported
from harmony_pipelines.last_word import say_last
from harmony_pipelines.metadata import materialised, table
from harmony_pipelines.ops.aftermath import Aftermath, follow_up
from harmony_pipelines.ops.decided import say_strangers
from harmony_pipelines.ops.run_config import MOST_ALBUMS, check_albums
from harmony_pipelines.ops.shown import before_and_after, outcomes, review
from harmony_pipelines.ops.soundness import log_checks
from harmony_pipelines.ops.writing import (
    files_failed,
    library_roots,
    limits,
    open_stores,
    say_not_kept,
    seconds_to_rewrite,
)
from harmony_pipelines.resources import BeetsResource, BoundedHttpResource, CatalogueResource
from harmony_pipelines.runs import Context, run_deadline, run_limit, still_running
from harmony_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from harmony_pipelines.steps.embed_covers import Embedding

ASSET = "embedded_artwork"

_PLAN_LEAVES, _DOWNLOAD_LEAVES, _EMBED_LEAVES = 0.6, 0.4, 0.2
"""The share of a run's limit that each op leaves: what it has not begun then is deferred.

Each has its own, so that a library too large for one run still gets some albums all the way.
"""

_COVERS_WAIT_SECONDS = 7 * 24 * 3600.0
"""As long may a run be re-executed from its download; after that its covers are fetched again."""

_SECONDS_A_DOWNLOAD = 1.0
"""What it comes to on a common machine; only for the estimate."""


class Policy(Enum):
    """Which files get a cover."""

    missing = "missing"
    larger = "larger"
    never = "never"


class PlanCoversConfig(dg.Config):
    """Which albums a run looks at, and how far it goes; the settings are the defaults."""

    albums: list[str] = Field(
        default=[],
        description=f"Beets ids of the albums to look at, at most {MOST_ALBUMS}. "
        "Empty: the whole library.",
    )
    policy: Policy | None = Field(
        default=None,
        description="missing: embed where there is no cover; larger: also replace a smaller "
        "copy of the same picture; never. Empty: HARMONY_ARTWORK_POLICY.",
    )
    dry_run: bool = Field(default=False, description="Only say what would be done.")
    accept_shrink: bool = Field(
        default=False,
        description="Go on although the library lost more than a fifth of its files since the "
        "last snapshot.",
    )


@dataclass(frozen=True)
class Downloaded:
    """The plan, and what was found for each of its albums by beets id."""

    plan: Plan
    found: dict[int, Found]


@dg.op(
    ins={"missing": dg.In(dg.Nothing)},
    description="Decides which files get a cover and where from; opens only files not seen before.",
)
def plan_covers(
    context: dg.OpExecutionContext,
    config: PlanCoversConfig,
    catalogue: CatalogueResource,
    claims: Claims,
) -> Plan:
    """The plan over the last snapshot and its matches."""
    from harmony_pipelines.steps.plan_covers import Planner, PlanOptions

    with reported():
        check_albums("plan_covers", config.albums)
        claims.claim(context, ARTWORK)
        settings = load_settings()
        store = catalogue.open(settings)
        planner = Planner(
            store=store,
            run_id=context.run.run_id,
            until=_until(context, settings, _PLAN_LEAVES),
            guard=still_running(context),
        )
        options = PlanOptions(config.albums, config.dry_run, settings.artwork_hardlinks == "break")
        plan = planner.plan(_wishes(context, config, settings), options)
        context.log.info(forecast(plan))
        numbers = {"albums": len(plan.albums), "files": plan.files, "bytes": plan.bytes_to_write}
        strangers = say_strangers(context, settings, store, "cover")
        context.add_output_metadata(numbers | strangers)
        return plan


@dg.op(
    description="Fetches each album's cover from its first good source, within the limits.",
    config_schema={},
)
def download_covers(
    context: dg.OpExecutionContext,
    plan: Plan,
    catalogue: CatalogueResource,
    http: BoundedHttpResource,
    claims: Claims,
) -> Downloaded:
    """What was found for each album; the covers themselves wait in HARMONY_HOME/covers."""
    with reported():
        if plan.dry_run:
            return Downloaded(plan, {})
        claims.claim(context, ARTWORK)
        _forget_covers()
        if not plan.albums:
            return Downloaded(plan, {})
        found = _find(context, plan, catalogue, http)
        covers = sum(result.cover is not None for result in found.values())
        context.add_output_metadata({"albums": len(found), "covers": covers})
        return Downloaded(plan, found)


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Writes each cover into its files: copied, verified, synced, renamed.",
    config_schema={},
)
def embed_covers(
    context: dg.OpExecutionContext,
    downloaded: Downloaded,
    catalogue: CatalogueResource,
    beets: BeetsResource,
    claims: Claims,
) -> Iterator[dg.Output[None]]:
    """Embed album by album; red if a file failed, with the rest done and materialised."""
    with reported():
        plan = downloaded.plan
        claims.claim(context, ARTWORK)
        work = None if plan.dry_run else _embed(context, downloaded, catalogue, beets)
        after = follow_up(context, plan, work, beets) if work else Aftermath()
        metadata = _outcome(plan, work) | after.metadata | _shown(catalogue, work)
        context.log.info(summary(plan, work))
        say_last(summary(plan, work))
        rows = [*plan.refused, *(work.rows.values() if work else ()), *after.rows]
        problems = [row for row in rows if row["status"] == "failed"]
        if problems or not context.has_assets_def:
            context.log_event(materialised(ASSET, metadata))
        if not context.has_assets_def:
            settings = load_settings()
            log_checks(context, catalogue.open(settings), settings, ["album_matches", ASSET])
        if problems:
            raise files_failed(problems)
        yield dg.Output(None, metadata=metadata)


@dg.graph
def embedded_artwork(missing: Any) -> Any:
    """The right front cover in every audio file that has none."""
    return embed_covers(download_covers(plan_covers(missing)))


def forecast(plan: Plan) -> str:
    """What the run is about to do, in one line."""
    if not plan.files:
        return "There is nothing to embed."
    remote = sum(not album.sources[0].is_local for album in plan.albums)
    seconds = seconds_to_rewrite(plan.files, plan.bytes_to_write) + remote * _SECONDS_A_DOWNLOAD
    return (
        f"To embed: at most {plan.files} files of {len(plan.albums)} albums, "
        f"{plan.bytes_to_write / 2**20:.1f} MiB to rewrite, about {seconds:.0f} s."
    )


def summary(plan: Plan, work: "Embedding | None") -> str:
    """What the run did, in one line."""
    unsure = sum(plan.skipped.get(why, 0) for why in (Skip.NOT_MATCHED, Skip.NO_SOURCE))
    if work is None:
        done = (
            f"A dry run, nothing was written: {plan.files} files of {len(plan.albums)} albums "
            f"would get a cover if their sources have one, {plan.left_alone} files skipped"
        )
        later = plan.skipped.get(Skip.WAITS, 0)
    else:
        n = _counts(plan, work)
        done = (
            f"Covers embedded in {n['embedded']} files, {n['skipped']} files skipped, "
            f"{n['failed']} failed, {n['deferred']} left for the next run"
        )
        later = n["waits"]
    return f"{done}; {later} albums wait for another try, {unsure} have no certain source."


def _wishes(context: Context, config: PlanCoversConfig, settings: Settings) -> Wishes:
    from harmony_pipelines.clients.watchlist import read_decisions
    from harmony_pipelines.steps.embed_covers import stored_bytes

    kept, limit = stored_bytes(settings.undo_dir), settings.artwork_undo_max_bytes
    if kept >= limit:
        context.log.warning(
            f"Replaced pictures fill their store: {kept} of {limit} bytes. No cover is replaced, "
            "missing ones are added. Raise HARMONY_ARTWORK_UNDO_MAX_BYTES, or empty "
            f"{settings.undo_dir} if you want none of them back."
        )
    return Wishes(
        policy=config.policy.value if config.policy else settings.artwork_policy,
        sources=settings.artwork_sources,
        decisions=read_decisions(settings.decisions_path),
        coverartarchive_url=settings.coverartarchive_url,
        may_replace=kept < limit,
    )


def _until(context: Context, settings: Settings, leaves: float) -> Deadline:
    """The moment from which on an op begins nothing more."""
    deadline = run_deadline(context, settings)
    return deadline.sooner(deadline.left() - leaves * run_limit(context, settings), "this step")


def _forget_covers() -> None:
    """Remove covers that no run waits for any more: the files that got them have them."""
    from harmony_pipelines.clients.content_store import ContentStore

    covers = ContentStore(load_settings().covers_dir)
    covers.sweep()
    covers.forget(time.time() - _COVERS_WAIT_SECONDS)


def _find(
    context: Context, plan: Plan, catalogue: CatalogueResource, http: BoundedHttpResource
) -> dict[int, Found]:
    from harmony_pipelines.clients.content_store import ContentStore
    from harmony_pipelines.clients.images import ImageLimits
    from harmony_pipelines.clients.turns import Turns
    from harmony_pipelines.steps.download_covers import Downloader, DownloadLimits

    settings = load_settings()
    downloader = Downloader(
        http=http.client(settings),
        covers=ContentStore(settings.covers_dir),
        store=catalogue.open(settings),
        limits=DownloadLimits(
            images=ImageLimits(settings.artwork_max_pixels, settings.artwork_max_edge),
            max_bytes=settings.artwork_max_bytes,
            max_rewrite_bytes=settings.artwork_max_rewrite_bytes,
            workers=settings.artwork_concurrency,
            until=_until(context, settings, _DOWNLOAD_LEAVES),
        ),
        archive=Turns(settings.locks_dir / "coverartarchive"),
        guard=still_running(context),
    )
    return downloader.find(plan.albums)


def _embed(
    context: Context, downloaded: Downloaded, catalogue: CatalogueResource, beets: BeetsResource
) -> "Embedding":
    from harmony_pipelines.steps.embed_covers import Embedding, stored_bytes

    settings = load_settings()
    work = Embedding(
        run_id=context.run.run_id,
        stores=open_stores(settings, catalogue),
        roots=library_roots(settings, beets),
        limits=limits(settings, _until(context, settings, _EMBED_LEAVES)),
        guard=still_running(context),
        break_hard_links=settings.artwork_hardlinks == "break",
        undo_bytes=stored_bytes(settings.undo_dir),
    )
    work.albums(downloaded.plan.albums, downloaded.found)
    say_not_kept(context, work)
    return work


def _counts(plan: Plan, work: "Embedding | None") -> dict[str, int]:
    """Files by outcome; albums that wait for another try at their sources."""
    counts = Counter(work.counts if work else ())
    refused_now = sum(row["status"] == "failed" for row in plan.refused)
    return {
        "embedded": counts["embedded"],
        "skipped": counts["skipped"] + plan.left_alone,
        "failed": counts["failed"] + refused_now,
        "deferred": counts["deferred"] + plan.unread,
        "waits": plan.skipped.get(Skip.WAITS, 0),
    }


def _outcome(plan: Plan, work: "Embedding | None") -> dict[str, Any]:
    """Counts by outcome, as numbers that the UI plots, and what was embedded where from."""
    rows = list(work.rows.values()) if work else []
    done = [row for row in rows if row["status"] == EMBEDDED]
    left = [row for row in (*plan.refused, *rows) if row["status"] != EMBEDDED]
    counts = Counter(work.counts if work else ())
    told = sum(row["status"] == "skipped" for row in plan.refused)
    without_rows = {
        ("skipped", Skip.HAS_COVER): counts[Skip.HAS_COVER],
        ("skipped", Skip.NOT_LARGER): counts[Skip.NOT_LARGER],
        ("skipped", "as an earlier run said"): plan.left_alone - told,
        ("deferred", "time or bytes of the run"): counts["deferred"] + plan.unread,
    }
    return {
        **_counts(plan, work),
        "outcomes": outcomes((*plan.refused, *rows), without_rows),
        "files": table(done, ("path", "source", "width", "height", "bytes"), len(done)),
        "left alone": table(left, ("path", "status", "code", "reason", "message"), len(left)),
        "albums": table(
            [{"reason": reason, "albums": n} for reason, n in sorted(plan.skipped.items())],
            ("reason", "albums"),
        ),
        "planned files": plan.files,
        "bytes written": work.bytes_written if work else 0,
        "dry run": int(plan.dry_run),
    }


def _shown(catalogue: CatalogueResource, work: "Embedding | None") -> dict[str, Any]:
    """What the run spared, the pictures before and after, and the matches to decide."""
    from harmony_pipelines.clients.images import ImageLimits
    from harmony_pipelines.steps.compare import bytes_with_cover, reviewed

    settings = load_settings()
    store = catalogue.open(settings)
    albums = reviewed(store)
    told: dict[str, Any] = {"review": review(albums)}
    if work is None:
        return told
    done = [row for row in work.rows.values() if row["status"] == EMBEDDED]
    names = {row["beets_album_id"]: f"{row['albumartist']} - {row['album']}" for row in albums}
    limits = ImageLimits(settings.artwork_max_pixels, settings.artwork_max_edge)
    return told | {
        "bytes saved": max(0, bytes_with_cover(store) - work.bytes_written),
        "before and after": before_and_after(
            done, names, work.stores.undo, work.stores.covers, limits
        ),
    }
