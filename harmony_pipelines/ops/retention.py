"""The ops of `apply_retention`: old Spotify content and old run history are forgotten."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta

import dagster as dg

from harmony_pipelines.failures import reported
from harmony_pipelines.history import forget_runs
from harmony_pipelines.last_word import say_last
from harmony_pipelines.resources import CatalogueResource
from harmony_pipelines.runs import JOB_TAG, WORKER_TAG, run_deadline, still_running
from harmony_pipelines.settings import load_settings

_SHARE = 0.8
"""The share of the run's time in which something is begun; the next run does the rest."""


@dg.op(
    out=dg.Out(dg.Nothing),
    description="Blanks Spotify content that was not refreshed within HARMONY_RETENTION_DAYS, as "
    "Spotify's terms ask. Ids that were seen, decisions and everything of the library stay.",
    config_schema={},
)
def forget_old_content(
    context: dg.OpExecutionContext, catalogue: CatalogueResource
) -> dg.Output[None]:
    """Forget artist by artist; returns how much as numbers that the UI plots."""
    from harmony_pipelines.clients.content_store import ContentStore
    from harmony_pipelines.steps.report_files import rewrite_reports
    from harmony_pipelines.steps.retention import forget_spotify_content

    with reported():
        settings = load_settings()
        store = catalogue.open(settings, still_running(context))
        done = forget_spotify_content(
            store,
            ContentStore(settings.covers_dir),
            datetime.now(UTC) - timedelta(days=settings.retention_days),
            run_deadline(context, settings, _SHARE),
        )
        rewrite_reports(store, settings.reports_dir)
        counts = {name.replace("_", " "): count for name, count in asdict(done).items()}
        said = ", ".join(f"{name} {count}" for name, count in counts.items())
        context.log.info(f"Forgotten after {settings.retention_days} days: {said}.")
        return dg.Output(None, metadata=counts)


@dg.op(
    ins={"content_forgotten": dg.In(dg.Nothing)},
    out=dg.Out(dg.Nothing),
    description="Deletes our runs older than HARMONY_RUN_HISTORY_DAYS from Dagster's history, but "
    "never one that holds an asset's latest materialisation.",
    config_schema={},
)
def forget_old_runs(context: dg.OpExecutionContext) -> dg.Output[None]:
    """Forget run by run; returns how many."""
    with reported():
        settings = load_settings()
        gone = forget_runs(
            context.instance,
            datetime.now(UTC) - timedelta(days=settings.run_history_days),
            _is_ours,
            run_deadline(context, settings, _SHARE),
        )
        said = f"{gone} runs older than {settings.run_history_days} days forgotten."
        context.log.info(said)
        say_last(f"Old Spotify content forgotten; {said}")
        return dg.Output(None, metadata={"runs": gone})


def _is_ours(run: dg.DagsterRun) -> bool:
    """Whether a run is of one of our jobs, or materialised assets at our executor's hands."""
    return JOB_TAG in run.tags or WORKER_TAG in run.tags
