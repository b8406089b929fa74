"""When the jobs run because something changed; each look is short and calls nobody."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from harmony_pipelines.claims import ARTWORK, REFRESH
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.endings import Failed, failed_since, tick_was_fine
from harmony_pipelines.jobs import embed_artwork, refresh_catalogue
from harmony_pipelines.partitions import in_flight, watched_artists
from harmony_pipelines.resources import BeetsResource
from harmony_pipelines.runs import RETRY_TAG, under_way
from harmony_pipelines.settings import Settings, load_settings

if TYPE_CHECKING:
    from harmony_pipelines.steps.changes import Look

_EVERY_SECONDS = 60
_WATCHLIST = "watchlist_sensor"


@dataclass(frozen=True)
class _Seen:
    """What a tick saw: a look at what may have changed, and what else follows from it."""

    look: "Look"
    tags: Mapping[str, str] = field(default_factory=dict)
    drop: Sequence[str] = ()


_Tick = Callable[[dg.SensorEvaluationContext, Settings], _Seen]


def _sensor(job: dg.JobDefinition, tick: _Tick, name: str, description: str) -> dg.SensorDefinition:
    """A sensor that is stopped until switched on, and skips with what is wrong."""

    def evaluate(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        try:
            settings = load_settings()
            settings.prepare_home()
            seen = tick(context, settings)
        except HarmonyError as error:
            return dg.SensorResult(skip_reason=f"{error.code}: {error.message}")
        look = seen.look
        if look.why_not and not look.fault:
            tick_was_fine(settings)
        return dg.SensorResult(
            skip_reason=look.why_not,
            run_requests=[] if look.why_not else [dg.RunRequest(look.run_key, tags=seen.tags)],
            cursor=look.cursor,
            dynamic_partitions_requests=(
                [watched_artists.build_delete_request(list(seen.drop))] if seen.drop else []
            ),
        )

    return dg.SensorDefinition(
        name=name,
        job_name=job.name,  # by `job` Dagster makes a copy that warns of its own beta argument
        evaluation_fn=evaluate,
        minimum_interval_seconds=_EVERY_SECONDS,
        description=description,
    )


def _watchlist(context: dg.SensorEvaluationContext, settings: Settings) -> _Seen:
    from harmony_pipelines.domain.watchlist import partition_changes
    from harmony_pipelines.steps import notify, send
    from harmony_pipelines.steps.ticks import watchlist_tick, why_not_alone

    instance, now = context.instance, datetime.now(UTC)
    wait = under_way(instance, refresh_catalogue.name) or why_not_alone(settings, REFRESH)
    look, watched = watchlist_tick(settings, context.cursor, wait, now)
    if look.cursor != context.cursor:
        left = notify.watchlist_was_read(settings, _WATCHLIST, look.fault, now)
        if left.is_due:
            send.begin_sending()
    registered = watched_artists.get_partition_keys(dynamic_partitions_store=instance)
    drop = partition_changes(watched, registered).drop
    if drop:
        drop = partition_changes(watched, registered, in_flight(instance, registered)).drop
    return _Seen(look, drop=drop)


def _library(context: dg.SensorEvaluationContext, settings: Settings) -> _Seen:
    from harmony_pipelines.steps.changes import look_at_library
    from harmony_pipelines.steps.ticks import why_not_alone

    wait = under_way(context.instance, embed_artwork.name) or why_not_alone(settings, ARTWORK)
    library = BeetsResource().library(settings)
    return _Seen(look_at_library(library, context.cursor, wait))


def _retries(context: dg.SensorEvaluationContext, settings: Settings) -> _Seen:
    from harmony_pipelines.steps.ticks import retry_tick, why_not_alone

    instance = context.instance
    wait = under_way(instance, refresh_catalogue.name) or why_not_alone(settings, REFRESH)
    look = retry_tick(settings, context.cursor, wait, datetime.now(UTC))
    return _Seen(look, tags={RETRY_TAG: "failed artists"})


def _failed_runs(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Every failed run, however it was started, as often as it takes until it is told of."""
    found = failed_since(context.instance, context.cursor, datetime.now(UTC))
    try:
        said = _tell_of(context.instance, found.runs)
    except HarmonyError as error:  # the cursor stays: the next tick tells of the same runs
        return dg.SensorResult(skip_reason=f"{error.code}: {error.message}", cursor=context.cursor)
    listed = "; ".join(
        f"{run.job} ({run.run_id[:8]}): {run.said.rstrip('.')}" for run in found.runs[:3]
    )
    more = f"; and {len(found.runs) - 3} more" if len(found.runs) > 3 else ""
    failed = f"Failed: {listed}{more}." if listed else "No more run failed."
    return dg.SensorResult(skip_reason=f"{failed} {said}", cursor=found.cursor)


def _tell_of(instance: dg.DagsterInstance, runs: Sequence[Failed]) -> str:
    """Note what to tell, and start to send it; what came of that in a sentence."""
    from harmony_pipelines.steps import notify, send

    settings = load_settings()
    if not notify.is_wanted(settings):
        return "Nobody is told: HARMONY_NOTIFY_URLS is not set."
    settings.prepare_home()
    ends = [notify.RunEnd(run.run_id, run.job, run.failures) for run in runs if not run.is_told]
    left = notify.look(settings, ends, datetime.now(UTC))
    if left.is_due:
        send.begin_sending()
    tick_was_fine(settings)
    return f"Messages that wait to be sent: {left.messages}."


watchlist_sensor = _sensor(
    refresh_catalogue,
    _watchlist,
    _WATCHLIST,
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
run_failure_sensor = dg.SensorDefinition(
    name="run_failure_sensor",
    evaluation_fn=_failed_runs,
    minimum_interval_seconds=_EVERY_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Sees to it that every failed run is told of at HARMONY_NOTIFY_URLS, also one that "
    "died before it could do so itself, and that what waits to be sent is sent. Starts no run.",
)
