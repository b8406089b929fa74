"""What every run that writes into audio files keeps to: locks, limits, journal and counts."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.clients.database import writing
from harmony_pipelines.clients.embedding import WayBack
from harmony_pipelines.clients.safe_write import (
    WriteOptions,
    album_lock,
    sweep,
    sweep_abandoned,
)
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError, Reason
from harmony_pipelines.domain.undo import EMBEDDED, RESTORED
from harmony_pipelines.steps.plan_covers import commit, commit_journal, file_of, forget, refusal


@dataclass(frozen=True)
class Limits:
    """When a run stops by itself, the rest being for the next; no file is begun after `until`."""

    until: Deadline
    max_rewrite_bytes: int
    max_undo_bytes: int


@dataclass(frozen=True)
class Stores:
    """Where covers wait, where displaced pictures are kept, where locks and rows lie."""

    catalogue: Catalogue
    covers: ContentStore
    undo: ContentStore
    locks: Path


@dataclass
class FileWork:
    """One run's work on files, album by album, counted by outcome, with a row where it matters.

    Files are given as what names them in `artwork_results`: `path`, `beets_album_id`, `album_id`.
    """

    run_id: str
    stores: Stores
    roots: tuple[Path, ...]
    limits: Limits
    guard: Callable[[], None]
    break_hard_links: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    rows: dict[str, Row] = field(default_factory=dict)
    bytes_written: int = 0
    not_kept: set[str] = field(default_factory=set)
    seen: list[Row] = field(default_factory=list, init=False)
    ends_run: HarmonyError | None = field(default=None, init=False)
    last_told: dict[str, Row] | None = field(default=None, init=False)
    """By path, the changes of earlier runs that the last snapshot shows no trace of."""

    def sweep_abandoned(self) -> None:
        """Remove what killed runs left, also beside files of albums on which no run works again."""
        self.stores.undo.sweep()
        sweep_abandoned(self.stores.locks)

    def on_album(self, album: str, files: Sequence[Row], work: Callable[[], None]) -> None:
        """Do the work on an album's files while we hold its lock; else they are left for later."""
        if self.is_over():
            self.counts["deferred"] += len(files)
            return
        folders = {Path(os.path.realpath(file_of(file["path"]))).parent for file in files}
        lock = album_lock(self.stores.locks, album, self.limits.until, folders=folders)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(lock)
            except HarmonyError as error:
                self._not_locked(files, error)
                return
            _sweep(folders)
            work()
            commit(self.stores.catalogue, [], self.seen, self.guard)
            self.seen.clear()

    def _not_locked(self, files: Sequence[Row], error: HarmonyError) -> None:
        if error.reason is Reason.DEADLINE:
            self.counts["deferred"] += len(files)
        elif error.reason is Reason.LOCKED:
            for file in files:
                self.refuse(file, error)
        else:
            raise error

    def is_over(self) -> bool:
        """Whether no further file may be begun."""
        return self.limits.until.passed or self.bytes_written >= self.limits.max_rewrite_bytes

    def write_options(self, path: Path) -> WriteOptions:
        """How the file may be changed; one that the library lists elsewhere is where it may be."""
        inside = any(path.is_relative_to(root) for root in self.roots)
        roots = self.roots if inside else (*self.roots, path.parent)
        return WriteOptions(roots, self.break_hard_links)

    def journal(self, row: Row, item: int | None, way_back: WayBack) -> None:
        """Commit what the rename that comes next does; see `journal_all`."""
        self.journal_all([(row, item, way_back)])

    def journal_all(self, changes: Sequence[tuple[Row, int | None, WayBack]]) -> None:
        """Commit what the renames that come next do, so that no kill hides it from undo.

        The row of each comes with the file's id in the library, by which it is found should it be
        moved, and with what leads back.
        """
        with self.ours():
            deltas = [back.delta for _, _, back in changes if back.delta]
            kept = iter(self.stores.undo.put_all([delta.packed() for delta in deltas]))
            undo: list[Row] = [
                {
                    "run_id": self.run_id,
                    "path": row["path"],
                    "beets_item_id": item,
                    "size": back.size,
                    "audio": back.audio,
                    "delta": next(kept) if back.delta else None,
                }
                for row, item, back in changes
            ]
            rows = [row for row, _, _ in changes]
            unmade = [row for row in map(self._unmade, undo) if row]
            commit_journal(self.stores.catalogue, rows, undo, unmade, self.guard)
        self.rows |= {row["path"]: row for row in rows}

    def withdraw(self, paths: Sequence[str]) -> None:
        """Take back what was journalled of files that were not changed after all.

        That is said also once the run is over: it is what it did not do. A killed run cannot say
        it, and undo takes no notice of such rows, so nothing is wrong where this fails.
        """
        with contextlib.suppress(HarmonyError), writing(self.stores.catalogue.engine) as connection:
            forget(connection, [{"run_id": self.run_id, "path": path} for path in paths])
        for path in paths:
            self.rows.pop(path, None)

    def _unmade(self, undo: Row) -> Row | None:
        """The same change of the same file, where a killed run journalled and did not make it."""
        if self.last_told is None:
            self.last_told = changes_without_trace(self.stores.catalogue)
        told = self.last_told.get(undo["path"])
        return told if told and told["delta"] and told["delta"] == undo["delta"] else None

    def refuse(self, file: Row, error: HarmonyError, **told: Any) -> None:
        """Commit why a file was not changed."""
        row = refusal(self.run_id, file, error) | told
        commit(self.stores.catalogue, [row], [], self.guard)
        self.rows[row["path"]] = row
        self.counts[row["status"]] += 1

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """What fails in here is the fault of no file: it ends the run."""
        try:
            yield
        except HarmonyError as error:
            self.ends_run = error
            raise


def changes_without_trace(store: Catalogue) -> dict[str, Row]:
    """The newest change of each file, by path, where it put a cover there that is not there."""
    done, undo, track = tables.artwork_results.c, tables.artwork_undo.c, tables.beets_tracks.c
    newest = (
        sa.select(done.path, sa.func.max(done.sequence).label("sequence"))
        .where(done.status.in_((EMBEDDED, RESTORED)))
        .group_by(done.path)
        .subquery()
    )
    rows = store.rows(
        sa.select(done.path, done.run_id, undo.delta)
        .join(newest, (newest.c.path == done.path) & (newest.c.sequence == done.sequence))
        .join(
            tables.artwork_undo,
            (undo.path == done.path) & (undo.run_id == done.run_id),
        )
        .join(tables.beets_tracks, track.path == done.path)
        .where(done.status == EMBEDDED, track.front_sha256.is_distinct_from(done.sha256))
    )
    return {row["path"]: row for row in rows}


def _sweep(folders: Iterable[Path]) -> None:
    """Remove what a killed run left beside the album's files; we hold the album's lock."""
    for folder in folders:
        with contextlib.suppress(HarmonyError):  # each file will say what is wrong here
            sweep(folder, now=time.time(), older_than_s=0)
