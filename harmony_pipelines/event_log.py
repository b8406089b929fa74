"""Dagster's event log in SQLite as a run writes it that tells of many artists: the same files.

Dagster makes an engine and a connection for each event and each of the two files that it goes to,
and waits for the disk each time, which takes longer than all else that is done for an artist.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import dagster as dg
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sqlite.sqlite_event_log import (
    INDEX_SHARD_NAME,
    SqliteEventLogStorage,
)
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy import Connection, Engine, create_engine, func, select
from sqlalchemy.pool import StaticPool

_LAST_ID = select(func.max(SqlEventLogStorageTable.c.id))


class EventLog(SqliteEventLogStorage):
    """Dagster's own, with one connection a file that stays open, for one process and one run."""

    def __init__(self, like: SqliteEventLogStorage) -> None:
        super().__init__(str(Path(like.path_for_shard(INDEX_SHARD_NAME)).parent))
        self._initialized_dbs = like._initialized_dbs
        self._engines: dict[str, Engine] = {}
        self._held: list[EventLogEntry] | None = None

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        if shard in self._initialized_dbs:
            with self._db_lock, self._engine(shard).begin() as connection:
                yield connection
        else:  # Dagster looks at its tables first, and logs that it does
            with super()._connect(shard) as connection:
                yield connection

    def _engine(self, shard: str) -> Engine:
        if shard not in self._engines:
            self._engines[shard] = create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
        return self._engines[shard]

    def close(self) -> None:
        """Give the files back."""
        for engine in self._engines.values():
            engine.dispose()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Keep the materialisations of this block and store them at its end."""
        self._held = []
        try:
            yield
        finally:
            held, self._held = self._held, None
            self.store_event_batch(held)

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event, or keep it for the end of the block."""
        if self._held is not None and _is_materialisation(event):
            self._held.append(event)
        else:
            super().store_event(event)
            self._show(event.run_id)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store materialisations of one run by one transaction in each of the two files.

        As Dagster does with each: first in the run's file, then in the index of all, which also
        holds what was last materialised of each asset.
        """
        if not events:
            return
        [run_id] = {event.run_id for event in events}
        insert, rows = SqlEventLogStorageTable.insert(), [self._event_to_row(one) for one in events]
        with self.run_connection(run_id) as connection:
            connection.execute(insert, rows)
        with self.index_connection() as connection:
            connection.execute(insert, rows)
            last_id = connection.scalars(_LAST_ID).one()  # of ours: nobody else writes meanwhile
            ids = range(last_id - len(rows) + 1, last_id + 1)
            self._store_asset_event_tags(connection, events, ids)
            last = {
                event.get_dagster_event().asset_key: (event, event_id)
                for event, event_id in zip(events, ids, strict=True)
            }
            for event, event_id in last.values():
                self._store_asset_event(connection, event, event_id)
        self._show(run_id)

    def _show(self, run_id: str) -> None:
        """Touch the run's file, for the UIs that wait for it to change.

        An SQLite file that is kept open changes only once its log has grown long.
        """
        with suppress(OSError):
            os.utime(self.path_for_shard(run_id))


def _is_materialisation(event: EventLogEntry) -> bool:
    return event.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION


@contextmanager
def event_log_kept_open(instance: dg.DagsterInstance) -> Iterator[None]:
    """Write what is logged in this block by an `EventLog`, where Dagster's is in SQLite files."""
    dagsters = instance.event_log_storage
    if type(dagsters) is not SqliteEventLogStorage:
        yield
        return
    ours = EventLog(dagsters)
    ours.register_instance(instance)
    instance._event_storage = ours
    try:
        yield
    finally:
        instance._event_storage = dagsters
        ours.close()


@contextmanager
def told_together(instance: dg.DagsterInstance) -> Iterator[None]:
    """Store the materialisations of this block at once, where an `EventLog` is kept open."""
    log = instance.event_log_storage
    if isinstance(log, EventLog):
        with log.together():
            yield
    else:
        yield
