"""Library, matches and reports, as both the ops and the assets bring them up to date."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.failures import failure
from harmony_pipelines.metadata import SHOWN_ROWS, done, materialised, table
from harmony_pipelines.ops.decided import say_strangers
from harmony_pipelines.ops.shown import review
from harmony_pipelines.ops.soundness import log_checks
from harmony_pipelines.resources import BeetsResource, CatalogueResource
from harmony_pipelines.runs import Context, configured, run_deadline, still_running
from harmony_pipelines.settings import Settings, load_settings
from harmony_pipelines.steps import compare as steps
from harmony_pipelines.steps.settle import problem

_REFRESHED = (
    "watchlist",
    "spotify_artists",
    "spotify_albums",
    "spotify_tracks",
    "new_releases",
    "album_matches",
)
"""The assets that a refresh leaves to be checked."""


def bring_up_to_date(
    context: Context,
    catalogue: CatalogueResource,
    beets: BeetsResource,
    numbers: Mapping[str, int | float],
) -> list[dict[str, Any]]:
    """All reports over what is there; returns what went wrong.

    The run's `numbers` go with `new_releases`, whose plots show them over time.
    """
    settings = load_settings()
    store = catalogue.open(settings, still_running(context))
    told = _news(settings, store)
    problems = [*told.problems]
    context.log_event(materialised("new_releases", told.metadata | dict(numbers)))
    try:
        for event in compare(context, settings, store, beets, problems):
            context.log_event(event)
    except HarmonyError as error:
        problems.append(problem(error))
    log_checks(context, store, settings, _REFRESHED, written=numbers["requests"] > 0)
    return problems


def snapshot(
    context: Context, beets: BeetsResource, catalogue: CatalogueResource
) -> dict[str, Any]:
    """Bring `beets_albums` and `beets_tracks` up to date; returns what the UI shows of it.

    `accept_shrink` is said in the run's config for `plan_covers`.
    """
    settings = load_settings()
    path = ("ops", "embedded_artwork", "ops", "plan_covers", "config", "accept_shrink")
    found = steps.snapshot(
        beets.library(settings),
        catalogue.open(settings, still_running(context)),
        run_deadline(context, settings),
        accept_shrink=configured(context, *path) is True,
    )
    return snapshot_metadata(found)


def matches(context: Context, catalogue: CatalogueResource) -> dict[str, Any]:
    """Bring `album_matches` up to date; returns what the UI shows of it."""
    settings = load_settings()
    store = catalogue.open(settings, still_running(context))
    return _matches(context, settings, store)


def missing(context: Context, catalogue: CatalogueResource) -> "Report":
    """Bring `missing_from_library` and its files up to date."""
    settings = load_settings()
    return _missing(settings, catalogue.open(settings, still_running(context)))


def news(context: Context, catalogue: CatalogueResource) -> "Report":
    """Write the feed of `new_releases`, which every refresh keeps up to date."""
    settings = load_settings()
    return _news(settings, catalogue.open(settings, still_running(context)))


@dataclass(frozen=True)
class Report:
    """What the UI shows of a report, and why its files could not be written."""

    metadata: dict[str, Any]
    problems: list[dict[str, Any]]

    def result(self, context: Context, asset: str) -> dg.MaterializeResult:
        """The result of an asset made by itself; red, though materialised, without its files."""
        if not self.problems:
            return done(asset, self.metadata)
        context.log_event(materialised(asset, self.metadata))
        [first, *_] = self.problems
        details = {"reason": first["reason"]}
        raise failure({"code": first["code"], "message": first["message"], "details": details})


def compare(
    context: Context,
    settings: Settings,
    store: Catalogue,
    beets: BeetsResource,
    problems: list[dict[str, Any]],
) -> Iterator[dg.AssetMaterialization]:
    """Snapshot, matches and what is missing, where there is a library to compare with.

    What keeps a report from being written is added to the problems, and the rest goes on.
    """
    library = beets.library(settings)
    deadline = run_deadline(context, settings)
    if not library.exists(deadline):
        context.log.info(
            f"There is no beets library at {library.config.database} to compare with; "
            "set HARMONY_BEETS_LIBRARY if it is elsewhere."
        )
        return
    found = snapshot_metadata(steps.snapshot(library, store, deadline))
    yield materialised("beets_albums", found)
    yield materialised("beets_tracks", found)
    yield materialised("album_matches", _matches(context, settings, store))
    told = _missing(settings, store)
    problems += told.problems
    yield materialised("missing_from_library", told.metadata)


def _missing(settings: Settings, store: Catalogue) -> Report:
    from harmony_pipelines.steps.report_files import write_missing

    shown = missing_metadata(steps.missing(store, settings, SHOWN_ROWS))
    return _with_files(shown, write_missing, settings, store)


def _news(settings: Settings, store: Catalogue) -> Report:
    from harmony_pipelines.steps.report_files import write_news

    return _with_files(news_metadata(store), write_news, settings, store)


def _with_files(
    shown: dict[str, Any],
    write: Callable[[Catalogue, Path], list[Path]],
    settings: Settings,
    store: Catalogue,
) -> Report:
    try:
        paths = write(store, settings.reports_dir)
    except HarmonyError as error:
        not_written = f"{error.code}: {error.message}"
        return Report(shown | {"not written": not_written}, [problem(error)])
    return Report(shown | {path.name: dg.MetadataValue.path(path) for path in paths}, [])


def snapshot_metadata(found: steps.Snapshot) -> dict[str, Any]:
    """How large the library is and what was odd about it."""
    odd = [{"warning": warning} for warning in found.warnings]
    return {
        "albums": found.albums,
        "tracks": found.tracks,
        "missing files": found.missing_files,
        "warnings": table(odd, ("warning",), len(odd)),
    }


def _matches(context: Context, settings: Settings, store: Catalogue) -> dict[str, Any]:
    found = matches_metadata(steps.match(store, settings))
    return found | say_strangers(context, settings, store, "match")


def matches_metadata(rows: list[Row]) -> dict[str, Any]:
    """How many library albums have which verdict, and those the user must look at."""
    verdicts = ("matched", "unsure", "ambiguous", "unmatched")
    return {
        **{verdict: sum(row["verdict"] == verdict for row in rows) for verdict in verdicts},
        "review": review(rows),
    }


def missing_metadata(found: steps.Missing) -> dict[str, Any]:
    """What is missing: whole albums first."""
    columns = ("artist_name", "name", "release_date", "album_type", "total_tracks")
    return {
        "albums": found.albums,
        "tracks": found.tracks,
        "missing": table(found.first, columns, found.albums),
    }


def news_metadata(store: Catalogue) -> dict[str, Any]:
    """How many new releases were ever told of, and the latest."""
    rows, whole = steps.news(store, SHOWN_ROWS), steps.how_many_news(store)
    columns = ("artist_name", "name", "release_date", "album_type", "first_seen_at")
    return {"releases": whole, "latest": table(rows, columns, whole)}
