"""How a run ended, told on: by its own process, or by what others see of it in Dagster."""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import dagster as dg

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines.last_word import one_line
from harmony_pipelines.runs import JOB_TAG, WORKER_TAG
from harmony_pipelines.settings import Settings, load_settings
from harmony_pipelines.watchdog import TOLD_TAG

_LEAST_SECONDS = 2.0
_LONGEST_SAID = 200
_MOST_RUNS = 100
"""Failed runs that one look takes; the next one takes the next."""

_OVERLAP_SECONDS = 60.0
_FIRST_LOOK_SECONDS = 86_400.0
_NO_WORD = "This run has been marked as failed from outside"
"""What Dagster says of a run whose process was found dead, where nobody told it more."""

_FAILURES = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE}


def job_of(run: dg.DagsterRun) -> str:
    """The name of the run's job as the user knows it."""
    return "assets" if run.job_name.startswith("__") else run.job_name


def failures_in(events: Iterable[dg.DagsterEvent]) -> list[dict[str, Any]]:
    """The failures of steps: code, reason, message, and all problems where a step told them."""
    return [
        _failure(event) for event in events if event.event_type is dg.DagsterEventType.STEP_FAILURE
    ]


def tell_when_over(
    run: dg.DagsterRun,
    instance: dg.DagsterInstance,
    events: Iterator[dg.DagsterEvent],
    until: float,
    log: dg.DagsterLogManager,
) -> Iterator[dg.DagsterEvent]:
    """The events of the run; when they are over, tell whoever is to be told, by `until` at most.

    A run that is cancelled or killed does not come to that.
    """
    failures: list[dict[str, Any]] = []
    for event in events:
        failures += failures_in([event])
        yield event
    try:
        settings = load_settings()
        if settings.notify_urls or settings.heartbeat_url:
            said = _tell(settings, run, instance, failures, until - time.monotonic())
            log.info(said)
    except HarmonyError as error:  # the run did what it should; so it stays as it is
        log.warning(f"Nobody could be told of this run: {error.message}")


def _tell(
    settings: Settings,
    run: dg.DagsterRun,
    instance: dg.DagsterInstance,
    failures: list[dict[str, Any]],
    seconds_left: float,
) -> str:
    from harmony_pipelines.steps import notify, send

    settings.prepare_home()
    end = notify.RunEnd(run.run_id, job_of(run), tuple(failures))
    left = notify.run_ended(settings, end, datetime.now(UTC))
    if failures and settings.notify_urls:
        instance.add_run_tags(run.run_id, {TOLD_TAG: "yes"})
    if not left.is_due:
        return _of_messages(0, left.messages)
    if seconds_left < _LEAST_SECONDS:
        return "The run has no time left to send messages: the next run or tick does."
    seconds = min(send.LONGEST_SECONDS, seconds_left - 1)
    counts = send.send(seconds)
    if counts is None:
        return f"A service took longer than {seconds:.0f} s: what it has not taken is sent later."
    return _of_messages(counts.sent, counts.kept)


def _of_messages(sent: int, kept: int) -> str:
    said = [
        *([f"sent: {sent}"] if sent else []),
        *([f"kept until their service takes them: {kept}; check_setup tries it"] if kept else []),
    ]
    return f"Messages {'; '.join(said)}." if said else "There is nothing to be told now."


@dataclass(frozen=True)
class Failed:
    """A run that failed, and whether the user need not be told of it any more."""

    run_id: str
    job: str
    failures: tuple[dict[str, Any], ...]
    is_told: bool

    @property
    def said(self) -> str:
        """The first failure in one line."""
        first = self.failures[0]
        return one_line(f"{first['code']}: {first['message']}")[:_LONGEST_SAID]


class FailedRuns(NamedTuple):
    """What failed since the last look, and where the next one begins."""

    runs: list[Failed]
    cursor: str


def failed_since(instance: dg.DagsterInstance, cursor: str | None, now: datetime) -> FailedRuns:
    """Our runs that failed since the look that left the cursor; the first one sees a day back.

    A look overlaps the one before, and knows what it saw: two runs may end in the same instant.
    """
    after, seen = _read_cursor(cursor, now)
    wanted = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE],
        updated_after=datetime.fromtimestamp(after - _OVERLAP_SECONDS, UTC),
    )
    records = instance.get_run_records(
        wanted, limit=_MOST_RUNS, order_by="update_timestamp", ascending=True
    )
    new = [record for record in records if record.dagster_run.run_id not in seen]
    latest = max([after, *(record.update_timestamp.timestamp() for record in new)])
    kept = [*seen, *(record.dagster_run.run_id for record in new)][-2 * _MOST_RUNS :]
    ours = [_failed(instance, record) for record in new if _is_ours(record.dagster_run)]
    return FailedRuns(ours, json.dumps({"after": latest, "seen": kept}))


def _read_cursor(cursor: str | None, now: datetime) -> tuple[float, list[str]]:
    """Where to begin; a moment in the future is from a clock since set back."""
    with suppress(ValueError, TypeError, KeyError):
        told = json.loads(cursor or "")
        return min(float(told["after"]), now.timestamp()), [str(each) for each in told["seen"]]
    return now.timestamp() - _FIRST_LOOK_SECONDS, []


def _is_ours(run: dg.DagsterRun) -> bool:
    return JOB_TAG in run.tags or WORKER_TAG in run.tags


def _failed(instance: dg.DagsterInstance, record: dg.RunRecord) -> Failed:
    run = record.dagster_run
    later = dg.RunsFilter(
        job_name=run.job_name,
        statuses=[dg.DagsterRunStatus.SUCCESS],
        created_after=record.create_timestamp,
    )
    is_over = bool(instance.get_run_records(later, limit=1))
    entries = instance.all_logs(run.run_id, of_type=_FAILURES)
    events = [entry.dagster_event for entry in entries if entry.dagster_event]
    failures = failures_in(events) or [_as_a_whole(events)]
    return Failed(run.run_id, job_of(run), tuple(failures), TOLD_TAG in run.tags or is_over)


def _as_a_whole(events: Sequence[dg.DagsterEvent]) -> dict[str, Any]:
    """Why a run failed of which no step says why."""
    from harmony_pipelines.steps.notify import failure_told

    said = [event.message for event in events if event.message]
    if said and not said[-1].startswith(_NO_WORD):
        return failure_told(said[-1])
    return failure_told(
        "The run's process ended without a word: it was killed, or the machine stopped. What it "
        "had done is kept; the next run goes on from there."
    )


def tick_was_fine(settings: Settings) -> None:
    """Let the heartbeat know of a tick that skipped as it should; nobody is called here."""
    if not settings.heartbeat_url:
        return
    from harmony_pipelines.steps import notify, send

    with suppress(HarmonyError):
        if notify.tick_was_fine(settings, datetime.now(UTC)):
            send.begin_sending()


def _failure(event: dg.DagsterEvent) -> dict[str, Any]:
    data = event.step_failure_data
    told = data.user_failure_data
    metadata: Mapping[str, Any] = told.metadata if told else {}
    if "code" in metadata:
        details = metadata["details"].value if "details" in metadata else {}
        return {
            "code": metadata["code"].value,
            "message": metadata["message"].value,
            **{name: details[name] for name in ("reason", "problems") if name in details},
        }
    said = (told.description or told.label) if told else (data.error and data.error.message)
    return {"code": str(ErrorCode.INTERNAL_ERROR), "message": str(said or "It failed.").strip()}
