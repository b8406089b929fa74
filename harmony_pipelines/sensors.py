"""When the jobs run because something changed; each look is short and calls nobody."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from harmony_pipelines.claims import ARTWORK, REFRESH
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.domain.watchlist import partition_changes
from harmony_pipelines.jobs import embed_artwork, refresh_catalogue
from harmony_pipelines.partitions import in_flight, watched_artists
from harmony_pipelines.resources import BeetsResource
from harmony_pipelines.runs import RETRY_TAG, under_way
from harmony_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from harmony_pipelines.steps.changes import Look

_EVERY_SECONDS = 60

_Tick = Callable[[dg.SensorEvaluationContext, Settings], dg.SensorResult]


def _sensor(job: dg.JobDefinition, tick: _Tick, name: str, description: str) -> dg.SensorDefinition:
    """A sensor that is stopped until switched on, and skips with what is wrong."""

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        try:
            settings = load_settings()
            settings.prepare_home()
            return tick(context, settings)
        except HarmonyError as error:
            return dg.SensorResult(skip_reason=f"{error.code}: {error.message}")

    return dg.SensorDefinition(
        name=name,
        job_name=job.name,  # by `job` Dagster makes a copy that warns of its own beta argument
        evaluation_fn=evaluate,
        minimum_interval_seconds=_EVERY_SECONDS,
        description=description,
    )


def _result(look: "Look", **run: object) -> dg.SensorResult:
    """What Dagster is told of a look."""
    if look.why_not is not None:
        return dg.SensorResult(skip_reason=look.why_not, cursor=look.cursor)
    request = dg.RunRequest(run_key=look.run_key, **run)  # pyright: ignore[reportArgumentType]
    return dg.SensorResult(run_requests=[request], cursor=look.cursor)


def _watchlist(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    from harmony_pipelines.steps.ticks import watchlist_tick, why_not_alone

    instance = context.instance
    wait = under_way(instance, refresh_catalogue.name) or why_not_alone(settings, REFRESH)
    look, watched = watchlist_tick(settings, context.cursor, wait, datetime.now(UTC))
    registered = watched_artists.get_partition_keys(dynamic_partitions_store=instance)
    drop = partition_changes(watched, registered).drop
    if drop:
        drop = partition_changes(watched, registered, in_flight(instance, registered)).drop
    requests = [watched_artists.build_delete_request(list(drop))] if drop else []
    return _result(look)._replace(dynamic_partitions_requests=requests)


def _library(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    from harmony_pipelines.steps.changes import look_at_library
    from harmony_pipelines.steps.ticks import why_not_alone

    wait = under_way(context.instance, embed_artwork.name) or why_not_alone(settings, ARTWORK)
    library = BeetsResource().library(settings)
    return _result(look_at_library(library, context.cursor, wait))


def _retries(context: dg.SensorEvaluationContext, settings: Settings) -> dg.SensorResult:
    from harmony_pipelines.steps.ticks import retry_tick, why_not_alone

    instance = context.instance
    wait = under_way(instance, refresh_catalogue.name) or why_not_alone(settings, REFRESH)
    look = retry_tick(settings, context.cursor, wait, datetime.now(UTC))
    return _result(look, tags={RETRY_TAG: "failed artists"})


watchlist_sensor = _sensor(
    refresh_catalogue,
    _watchlist,
    "watchlist_sensor",
    "Starts one run of refresh_catalogue when watchlist.yaml was edited, and removes the "
    "partitions of artists who are no longer watched once no run works on them. A file that cannot "
    "be read changes nothing; the tick says where it is wrong.",
)
beets_library_sensor = _sensor(
    embed_artwork,
    _library,
    "beets_library_sensor",
    "Starts embed_artwork when albums or tracks of the beets library changed and nobody has "
    "written to it since the last tick. The library is only looked at, never locked; what our own "
    "covers made beets note there starts nothing.",
)
failed_artists_sensor = _sensor(
    refresh_catalogue,
    _retries,
    "failed_artists_sensor",
    "Starts a run of refresh_catalogue for just the artists whose refresh failed and is due for "
    "another try: after an hour, then after growing gaps up to a week. Never in a cooldown, never "
    "while another run refreshes, and never for what another try cannot mend (VALIDATION_ERROR, "
    "NOT_FOUND, artists that are gone).",
)
