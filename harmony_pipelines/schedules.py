"""When the jobs run by themselves; all stopped until the user switches them on."""

from collections.abc import Callable
from datetime import UTC, datetime

import dagster as dg

from harmony_pipelines.claims import ARTWORK, REFRESH
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.endings import tick_was_fine
from harmony_pipelines.jobs import apply_retention, embed_artwork, refresh_catalogue
from harmony_pipelines.runs import under_way
from harmony_pipelines.settings import Settings, load_settings, schedule_setting

WhyNot = Callable[[Settings, datetime], str | None]


def _schedule(
    job: dg.JobDefinition, cron: str, why_not: WhyNot, description: str
) -> dg.ScheduleDefinition:
    """A schedule that skips with the reason, and starts a job once a tick at most."""

    def tick(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        try:
            settings = load_settings()
            reason = under_way(context.instance, job.name) or why_not(settings, datetime.now(UTC))
        except HarmonyError as error:
            return dg.SkipReason(f"{error.code}: {error.message}")
        if reason:
            tick_was_fine(settings)
            return dg.SkipReason(reason)
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return dg.ScheduleDefinition(
        name=f"{job.name}_schedule",
        job=job,
        cron_schedule=schedule_setting(cron),
        execution_timezone=schedule_setting("timezone"),
        execution_fn=tick,
        description=description,
    )


def _why_not_refresh(settings: Settings, now: datetime) -> str | None:
    from harmony_pipelines.steps.ticks import why_not_alone, why_not_refresh

    settings.prepare_home()
    return why_not_alone(settings, REFRESH) or why_not_refresh(settings, now)


def _why_not_embed(settings: Settings, _: datetime) -> str | None:
    from harmony_pipelines.steps.ticks import why_not_alone

    return why_not_alone(settings, ARTWORK)


def _always(_: Settings, __: datetime) -> None:
    return None


refresh_catalogue_schedule = _schedule(
    refresh_catalogue,
    "refresh_cron",
    _why_not_refresh,
    "Refreshes the artists that are due, and skips while nobody is, while Spotify's budget is "
    "spent or a cooldown lasts. HARMONY_REFRESH_CRON and HARMONY_TIMEZONE say when.",
)
embed_artwork_schedule = _schedule(
    embed_artwork,
    "embed_cron",
    _why_not_embed,
    "Puts covers into the files that have none, at night. HARMONY_EMBED_CRON and "
    "HARMONY_TIMEZONE say when, HARMONY_ARTWORK_POLICY what.",
)
apply_retention_schedule = _schedule(
    apply_retention,
    "retention_cron",
    _always,
    "Forgets old Spotify content and old runs. HARMONY_RETENTION_CRON and HARMONY_TIMEZONE say "
    "when, HARMONY_RETENTION_DAYS and HARMONY_RUN_HISTORY_DAYS what.",
)
