"""Dagster's history of our runs, which grows for ever unless somebody forgets it."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from uuid import UUID

import dagster as dg

from harmony_pipelines.domain.deadline import Deadline

_OVER = [
    dg.DagsterRunStatus.SUCCESS,
    dg.DagsterRunStatus.FAILURE,
    dg.DagsterRunStatus.CANCELED,
]
_PAGE = 100


def forget_runs(
    instance: dg.DagsterInstance,
    before: datetime,
    is_ours: Callable[[dg.DagsterRun], bool],
    deadline: Deadline,
) -> int:
    """Delete our runs that ended before a moment, with their logs and files; how many went.

    One that holds the latest materialisation of an asset, or of a partition of it, stays.
    """

    @cache
    def latest_run(key: dg.AssetKey, partition: str | None) -> str | None:
        wanted = dg.AssetRecordsFilter(
            asset_key=key, asset_partitions=[partition] if partition else None
        )
        found = instance.fetch_materializations(wanted, limit=1).records
        return found[0].run_id if found else None

    def holds_a_latest(run_id: str) -> bool:
        logged = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        told = [entry.asset_materialization for entry in logged]
        return any(latest_run(each.asset_key, each.partition) == run_id for each in told if each)

    gone = 0
    for run in _ended_before(instance, before):
        deadline.check()
        if is_ours(run) and not holds_a_latest(run.run_id):
            _forget(instance, run.run_id)
            gone += 1
    return gone


def _ended_before(instance: dg.DagsterInstance, before: datetime) -> Iterator[dg.DagsterRun]:
    """Oldest first; the ids are read before anything is deleted, as deleting moves the pages."""
    wanted = dg.RunsFilter(statuses=_OVER, created_before=before)
    ids: list[str] = []
    while True:
        page = instance.get_run_records(
            wanted, limit=_PAGE, cursor=ids[-1] if ids else None, ascending=True
        )
        ids += [record.dagster_run.run_id for record in page]
        if len(page) < _PAGE:
            break
    for run_id in ids:
        record = instance.get_run_record_by_id(run_id)
        if record and record.end_time and record.end_time < before.timestamp():
            yield record.dagster_run


def _forget(instance: dg.DagsterInstance, run_id: str) -> None:
    instance.compute_log_manager.delete_logs(prefix=[run_id])
    instance.delete_run(run_id)
    folder = Path(instance.storage_directory()) / str(UUID(run_id))  # what ops handed on
    with suppress(OSError):
        shutil.rmtree(folder)
