"""What the ops that write into audio files share: where to work, what it takes, what failed."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.failures import failure
from harmony_pipelines.metadata import table
from harmony_pipelines.resources import BeetsResource, CatalogueResource
from harmony_pipelines.runs import Context
from harmony_pipelines.settings import Settings

if TYPE_CHECKING:
    from harmony_pipelines.steps.file_work import FileWork, Limits, Stores

BYTES_A_SECOND = 100 << 20
SECONDS_A_FILE = 0.05
"""What rewriting comes to on a common machine; only for the estimate."""


def seconds_to_rewrite(files: int, bytes_to_write: int) -> float:
    """About how long it takes to rewrite files."""
    return bytes_to_write / BYTES_A_SECOND + files * SECONDS_A_FILE


def open_stores(settings: Settings, catalogue: CatalogueResource) -> "Stores":
    """The user's stores, as the settings place them."""
    from harmony_pipelines.clients.content_store import ContentStore
    from harmony_pipelines.steps.file_work import Stores

    return Stores(
        catalogue=catalogue.open(settings),
        covers=ContentStore(settings.covers_dir),
        undo=ContentStore(settings.undo_dir),
        locks=settings.locks_dir,
    )


def limits(settings: Settings, until: Deadline) -> "Limits":
    """When the run stops by itself: at `until`, or at what the settings let it write."""
    from harmony_pipelines.steps.file_work import Limits

    return Limits(
        until=until,
        max_rewrite_bytes=settings.artwork_max_rewrite_bytes,
        max_undo_bytes=settings.artwork_undo_max_bytes,
    )


def say_not_kept(context: Context, work: "FileWork") -> None:
    """Say once a run what the library's file system could not do for the files."""
    lost = ", ".join(sorted(work.not_kept - {"sync"}))
    if lost:
        context.log.warning(f"The library's file system could not keep: {lost}.")
    if "sync" in work.not_kept:
        context.log.warning(
            "The library's file system could not sync a folder: the files are changed, but a power "
            "failure right now may bring old ones back; the next run would see it."
        )


def library_roots(settings: Settings, beets: BeetsResource) -> tuple[Path, ...]:
    """The folders in which the library's files lie."""
    library = beets.library(settings).config
    return (library.music_directory, *(here for _, here in library.path_map))


def files_failed(problems: Sequence[dict[str, Any]]) -> dg.Failure:
    """The failure of a run in which files failed, told by their rows of results."""
    first, more = problems[0], len(problems) - 1
    return failure(
        {
            "code": first["code"],
            "message": first["message"] + (f" (and {more} more files)" if more else ""),
            "details": {"reason": first["reason"], "files": len(problems)},
        },
        problems=table(problems, ("path", "code", "reason", "message"), len(problems)),
    )
