"""The named units of work, each with its time limit."""

import dagster as dg

from harmony_pipelines.ops.catalogue import (
    compare_with_library,
    refresh_artists,
    report_refresh,
    resolve_watchlist,
)
from harmony_pipelines.ops.checking import look_at_setup
from harmony_pipelines.ops.covers import embedded_artwork
from harmony_pipelines.ops.library import list_missing, match_library, snapshot_library
from harmony_pipelines.ops.restore import restore_covers
from harmony_pipelines.ops.retention import forget_old_content, forget_old_runs
from harmony_pipelines.runs import JOB_TAG, MAX_RUNTIME_TAG


def within(job: str, *, minutes: int) -> dict[str, str]:
    """The tags of a job: its name for the queue's limit of one at a time, and its time limit."""
    return {JOB_TAG: job, MAX_RUNTIME_TAG: str(minutes * 60)}


@dg.job(
    description="Reads the watchlist, refreshes the artists that are due on Spotify (or those "
    "named in the run's config), and brings new_releases and missing_from_library up to date. "
    "One bad artist never costs the others; the run ends red and says which one and why.",
    tags=within("refresh_catalogue", minutes=60),
)
def refresh_catalogue() -> None:
    """Spotify to catalogue to reports."""
    report_refresh(compare_with_library(refresh_artists(resolve_watchlist())))


@dg.job(
    description="Reads the beets library, matches it with the catalogue, and embeds the right "
    "front cover into every audio file that has none. A second run writes nothing.",
    tags=within("embed_artwork", minutes=60),
)
def embed_artwork() -> None:
    """Library to matches to covers in files."""
    matched = match_library(snapshot_library())
    embedded_artwork(list_missing(matched))


@dg.job(
    description="Puts files back to the pictures they had before a run, an album, or everything of "
    "ours; its config says which. Restored albums are held back until a run names them.",
    tags=within("restore_artwork", minutes=60),
)
def restore_artwork() -> None:
    """Our covers out of files, their own back in."""
    restore_covers()


@dg.job(
    description="Forgets Spotify content that was not refreshed within HARMONY_RETENTION_DAYS, as "
    "Spotify's terms ask, and our runs older than HARMONY_RUN_HISTORY_DAYS. Ids that were seen, "
    "decisions, the library and the undo store stay.",
    tags=within("apply_retention", minutes=60),
)
def apply_retention() -> None:
    """Old content, then old runs."""
    forget_old_runs(forget_old_content())


@dg.job(
    description="Says what of your set-up is right, what is wrong and what to do about it: one "
    "table, red if anything is wrong, then what is still to be done. Asks Spotify at most three "
    "times and sends a test message to HARMONY_NOTIFY_URLS; changes nothing.",
    tags=within("check_setup", minutes=10),
)
def check_setup() -> None:
    """One look at everything."""
    look_at_setup()
