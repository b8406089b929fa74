"""The op of `restore_artwork`: files go back to the pictures they had before ours."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from harmony_pipelines.claims import ARTWORK, Claims
from harmony_pipelines.domain.errors import HarmonyError, Reason
from harmony_pipelines.failures import reported
from harmony_pipelines.last_word import say_last
from harmony_pipelines.metadata import materialised, table
from harmony_pipelines.ops.aftermath import follow_up_undo
from harmony_pipelines.ops.covers import ASSET
from harmony_pipelines.ops.run_config import MOST_ALBUMS, check_albums, check_run_id
from harmony_pipelines.ops.shown import outcomes
from harmony_pipelines.ops.writing import (
    files_failed,
    library_roots,
    limits,
    open_stores,
    say_not_kept,
    seconds_to_rewrite,
)
from harmony_pipelines.resources import BeetsResource, CatalogueResource
from harmony_pipelines.runs import run_deadline, still_running
from harmony_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from harmony_pipelines.steps.restore_covers import ChangedFile, Restoring, Wanted

_SHARE = 0.8
"""The share of the run's time in which files are begun; the rest is left for the next run."""


class RestoreCoversConfig(dg.Config):
    """What goes back to the pictures it had: exactly one of the three is given."""

    run_id: str | None = Field(
        default=None,
        description="The whole id of a run of embed_artwork: its files go back to what they had "
        "right before it, where they still have its cover.",
    )
    albums: list[str] = Field(
        default=[],
        description=f"Beets ids of albums, at most {MOST_ALBUMS}: their files go back to what they "
        "had before our first cover.",
    )
    everything: bool = Field(
        default=False,
        description="true: all files go back to what they had before our first cover.",
    )


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Puts files back to the pictures they had, where ours is still there; their "
    "albums get no new cover until a run names them.",
)
def restore_covers(
    context: dg.OpExecutionContext,
    config: RestoreCoversConfig,
    catalogue: CatalogueResource,
    beets: BeetsResource,
    claims: Claims,
) -> Iterator[dg.Output[None]]:
    """Restore album by album; red if a file failed, with the rest done and materialised."""
    with reported():
        claims.claim(context, ARTWORK)
        work = _restore(context, config, catalogue, beets)
        after = follow_up_undo(context, _wanted(config), work, beets)
        metadata = _outcome(work) | after.metadata
        context.log.info(summary(work))
        say_last(summary(work))
        context.log_event(materialised(ASSET, metadata))
        rows = [*work.rows.values(), *after.rows]
        problems = [row for row in rows if row["status"] == "failed"]
        if problems:
            raise files_failed(problems)
        yield dg.Output(None, metadata=metadata)


def _wanted(config: RestoreCoversConfig) -> "Wanted":
    from harmony_pipelines.steps.restore_covers import Wanted

    check_run_id("restore_covers", config.run_id)
    check_albums("restore_covers", config.albums)
    return Wanted(config.run_id, config.albums, config.everything)


def forecast(files: "Sequence[ChangedFile]") -> str:
    """What the run is about to do, in one line."""
    if not files:
        return "There is nothing to restore."
    albums = len({file.beets_album_id for file in files})
    size = sum(file.size for file in files)
    return (
        f"To restore: at most {len(files)} files of {albums} albums, "
        f"{size / 2**20:.1f} MiB to rewrite, about {seconds_to_rewrite(len(files), size):.0f} s."
    )


def summary(work: "Restoring") -> str:
    """What the run did, in one line."""
    n = work.counts
    return (
        f"{n['restored']} files restored to the pictures they had, {n['as_before']} had them "
        f"already, {n['skipped']} skipped, {n['failed']} failed, {n['deferred']} left for another "
        "run. Restored albums get no cover until a run of embed_artwork names them."
    )


def _restore(
    context: dg.OpExecutionContext,
    config: RestoreCoversConfig,
    catalogue: CatalogueResource,
    beets: BeetsResource,
) -> "Restoring":
    from harmony_pipelines.steps.restore_covers import Restoring, changed_files

    wanted = _wanted(config)
    settings = load_settings()
    work = Restoring(
        run_id=context.run.run_id,
        stores=open_stores(settings, catalogue),
        roots=library_roots(settings, beets),
        limits=limits(settings, run_deadline(context, settings, _SHARE)),
        guard=still_running(context),
        break_hard_links=settings.artwork_hardlinks == "break",
        only_run=wanted.run_id,
    )
    _look_where_files_are(context, settings, catalogue, beets)
    files = changed_files(work.stores.catalogue, wanted)
    context.log.info(forecast(files))
    work.files(files)
    say_not_kept(context, work)
    return work


def _look_where_files_are(
    context: dg.OpExecutionContext,
    settings: Settings,
    catalogue: CatalogueResource,
    beets: BeetsResource,
) -> None:
    """Read the library anew, as files may have been moved; undo does not depend on it."""
    from harmony_pipelines.steps.compare import snapshot

    store = catalogue.open(settings, still_running(context))
    try:
        snapshot(beets.library(settings), store, run_deadline(context, settings))
    except HarmonyError as error:
        if error.reason in (Reason.RUN_OVER, Reason.DEADLINE):
            raise
        context.log.warning(
            f"Files are looked for where the library had them last: {error.message}"
        )


def _outcome(work: "Restoring") -> dict[str, Any]:
    """Counts by outcome, as numbers that the UI plots, and what was left alone and why."""
    done = [row for row in work.rows.values() if row["status"] == "restored"]
    left = [row for row in work.rows.values() if row["status"] != "restored"]
    counted = ("restored", "as_before", "skipped", "failed", "deferred")
    return {
        **{name.replace("_", " "): work.counts[name] for name in counted},
        "outcomes": outcomes(
            work.rows.values(),
            {
                ("as before", ""): work.counts["as_before"],
                ("deferred", "time or bytes of the run"): work.counts["deferred"],
            },
        ),
        "files": table(done, ("path", "width", "height", "bytes", "message"), len(done)),
        "left alone": table(left, ("path", "status", "code", "reason", "message"), len(left)),
        "bytes written": work.bytes_written,
    }
