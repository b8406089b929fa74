"""The op of `restore_artwork`: files go back to the pictures they had before ours."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from harmony_pipelines.failures import reported
from harmony_pipelines.last_word import say_last
from harmony_pipelines.metadata import materialised, table
from harmony_pipelines.ops.covers import ASSET
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
from harmony_pipelines.settings import load_settings

if TYPE_CHECKING:
    from harmony_pipelines.steps.restore_covers import ChangedFile, Restoring

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
        max_length=10_000,
        description="Beets ids of albums: their files go back to what they had before our first "
        "cover.",
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
) -> Iterator[dg.Output[None]]:
    """Restore album by album; red if a file failed, with the rest done and materialised."""
    with reported():
        work = _restore(context, config, catalogue, beets)
        metadata = _outcome(work)
        context.log.info(summary(work))
        say_last(summary(work))
        context.log_event(materialised(ASSET, metadata))
        problems = [row for row in work.rows.values() if row["status"] == "failed"]
        if problems:
            raise files_failed(problems)
        yield dg.Output(None, metadata=metadata)


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
    from harmony_pipelines.steps.restore_covers import Restoring, Wanted, changed_files

    wanted = Wanted(config.run_id, config.albums, config.everything)
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
    files = changed_files(work.stores.catalogue, wanted)
    context.log.info(forecast(files))
    work.files(files)
    say_not_kept(context, work)
    return work


def _outcome(work: "Restoring") -> dict[str, Any]:
    """Counts by outcome, as numbers that the UI plots, and what was left alone and why."""
    done = [row for row in work.rows.values() if row["status"] == "restored"]
    left = [row for row in work.rows.values() if row["status"] != "restored"]
    counted = ("restored", "as_before", "skipped", "failed", "deferred")
    return {
        **{name.replace("_", " "): work.counts[name] for name in counted},
        "files": table(done, ("path", "width", "height", "bytes"), len(done)),
        "left alone": table(left, ("path", "status", "code", "reason", "message"), len(left)),
        "bytes written": work.bytes_written,
    }
