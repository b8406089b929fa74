"""One partition per watched artist; its key is `<slug>-<artist id>`, fixed at first sight."""

from collections.abc import Sequence

import dagster as dg

from harmony_pipelines.runs import AT_WORK

watched_artists = dg.DynamicPartitionsDefinition(name="artists")


def register(instance: dg.DagsterInstance, keys: list[str]) -> list[str]:
    """Add the keys that Dagster does not know yet, and return them.

    A run only adds: removing is the sensor's, which sees no run in flight.
    """
    known = set(watched_artists.get_partition_keys(dynamic_partitions_store=instance))
    new = [key for key in keys if key not in known]
    if new:
        instance.add_dynamic_partitions("artists", new)
    return new


def in_flight(instance: dg.DagsterInstance, registered: Sequence[str]) -> set[str]:
    """The keys that a run which has not ended may work on.

    A run whose tags name neither a key nor a range, such as one of refresh_catalogue, may be at
    any of them; so may a backfill, whose runs are still to be made.
    """
    if _is_backfill_at_work(instance):
        return set(registered)
    busy: set[str] = set()
    for record in instance.get_run_records(dg.RunsFilter(statuses=AT_WORK)):
        busy |= _keys_of(record.dagster_run, registered)
        if len(busy) == len(registered):
            break
    return busy


def _is_backfill_at_work(instance: dg.DagsterInstance) -> bool:
    # No public name for it, and slow to import.
    from dagster._core.execution.backfill import BulkActionStatus as Status

    at_work = (Status.REQUESTED, Status.CANCELING, Status.FAILING)
    return any(instance.get_backfills(status=status, limit=1) for status in at_work)


def _keys_of(run: dg.DagsterRun, registered: Sequence[str]) -> set[str]:
    key = run.tags.get("dagster/partition")
    first = run.tags.get("dagster/asset_partition_range_start")
    last = run.tags.get("dagster/asset_partition_range_end")
    if key:
        return {key}
    if first in registered and last in registered:
        return set(registered[registered.index(first) : registered.index(last) + 1])
    return set() if run.job_name in _WITHOUT_ARTISTS else set(registered)


_WITHOUT_ARTISTS = frozenset({"embed_artwork", "restore_artwork", "apply_retention"})
"""The jobs that work on no partition."""
