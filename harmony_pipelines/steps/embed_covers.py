"""Embed the covers that were found, album by album; what is left of a run's time is kept for it."""

import contextlib
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.clients.embedding import EmbedOptions, embed_front
from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.clients.safe_write import (
    WriteOptions,
    album_lock,
    changed_meanwhile,
    sweep,
)
from harmony_pipelines.domain.covers import (
    AlbumPlan,
    Covered,
    Found,
    PlannedTrack,
    Skip,
    is_lasting,
)
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.steps.plan_covers import commit, file_of, refusal, result


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


@dataclass(frozen=True)
class _Work:
    """A file, the cover that it is to get, and the plan that both belong to."""

    plan: AlbumPlan
    track: PlannedTrack
    found: Found
    cover: Covered
    picture: NewCover


@dataclass
class Embedding:
    """One run's embedding: what was done, counted by outcome, and a row where it matters.

    `undo_bytes` is what the store of displaced pictures holds when the run begins.
    """

    run_id: str
    stores: Stores
    roots: tuple[Path, ...]
    limits: Limits
    guard: Callable[[], None]
    break_hard_links: bool = False
    undo_bytes: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    rows: dict[str, Row] = field(default_factory=dict)
    bytes_written: int = 0
    not_kept: set[str] = field(default_factory=set)
    _seen: list[Row] = field(default_factory=list, init=False)
    _ends_run: HarmonyError | None = field(default=None, init=False)

    def albums(self, plans: Sequence[AlbumPlan], found: Mapping[int, Found]) -> None:
        """Embed in each album for which there is a cover."""
        for plan in plans:
            what = found.get(plan.beets_album_id, Found())
            if what.cover is not None:
                self._album(plan, what, what.cover)
            elif what.problem is not None:
                self._uncovered(plan, what)
            else:
                self.counts["deferred"] += len(plan.tracks)

    def _album(self, plan: AlbumPlan, found: Found, cover: Covered) -> None:
        if self._is_over():
            self.counts["deferred"] += len(plan.tracks)
            return
        with contextlib.ExitStack() as stack:
            try:
                lock = album_lock(self.stores.locks, str(plan.beets_album_id), self.limits.until)
                stack.enter_context(lock)
            except HarmonyError as error:
                self._not_locked(plan, error)
                return
            _sweep(plan)
            try:
                data = self.stores.covers.get(cover.sha256)
            except HarmonyError as error:
                for track in plan.tracks:
                    self._record(self._refused(plan, track, error) | {"status": "failed"})
                return
            picture = NewCover(data, cover.mime, cover.width, cover.height)
            for track in plan.tracks:
                self._file(_Work(plan, track, found, cover, picture))
            commit(self.stores.catalogue, [], self._seen, self.guard)
            self._seen.clear()

    def _not_locked(self, plan: AlbumPlan, error: HarmonyError) -> None:
        if error.reason is Reason.DEADLINE:
            self.counts["deferred"] += len(plan.tracks)
        elif error.reason is Reason.LOCKED:
            for track in plan.tracks:
                self._record(self._refused(plan, track, error))
        else:
            raise error

    def _file(self, work: _Work) -> None:
        track = work.track
        if track.path in self.rows or track.old_sha256 == work.cover.sha256:
            self.counts[Skip.HAS_COVER] += 1
            self._tried(work)
        elif track.old_sha256 and work.found.objection:
            self._objected(work, work.found.objection)
        elif self._is_over() or (track.old_sha256 and self._undo_is_full()):
            self.counts["deferred"] += 1
        else:
            self._embed(work)

    def _embed(self, work: _Work) -> None:
        path = file_of(work.track.path)
        try:
            done = embed_front(path, work.picture, self._options(work))
        except HarmonyError as error:
            if error is self._ends_run:
                raise
            self._record(self._refused(work.plan, work.track, error))
            if is_lasting(error):
                of_cover = error.code is ErrorCode.PAYLOAD_TOO_LARGE
                self._leave_alone(work, error, work.plan.looked_at(Found()) if of_cover else None)
            return
        self.not_kept |= done.not_kept
        if done.changed:
            self.bytes_written += work.track.size + work.cover.bytes
            self.counts["embedded"] += 1
        else:
            self.counts[Skip.HAS_COVER] += 1
        with contextlib.suppress(OSError):  # gone the moment after: the next snapshot will see
            self._has_it(work, path.stat())

    def _options(self, work: _Work) -> EmbedOptions:
        path = file_of(work.track.path)
        return EmbedOptions(
            write=WriteOptions(self._roots(path), self.break_hard_links),
            guard=lambda: self._journal(work),
            keep_old=lambda picture: self._keep(work, picture),
            only_over=work.track.old_sha256,
        )

    def _roots(self, path: Path) -> tuple[Path, ...]:
        """The library's folders; a file that it lists elsewhere may be changed where it is."""
        inside = any(path.is_relative_to(root) for root in self.roots)
        return self.roots if inside else (*self.roots, path.parent)

    def _keep(self, work: _Work, picture: bytes) -> None:
        if work.track.old_sha256 is None:  # it was to get its first cover, and got one meanwhile
            raise changed_meanwhile(file_of(work.track.path))
        with self._ours():
            self.stores.undo.put(picture)
        self.undo_bytes += len(picture)

    def _journal(self, work: _Work) -> None:
        """Commit what the rename that comes next does, so that no kill hides it from undo."""
        row = result(
            self.run_id,
            _key(work.plan, work.track),
            album_id=work.plan.album_id,
            status="embedded",
            old_sha256=work.track.old_sha256,
            **_told_of(work.cover),
        )
        with self._ours():
            commit(self.stores.catalogue, [row], [], self.guard)
        self.rows[work.track.path] = row

    @contextlib.contextmanager
    def _ours(self) -> Iterator[None]:
        """What fails in here is the fault of no file: it ends the run."""
        try:
            yield
        except HarmonyError as error:
            self._ends_run = error
            raise

    def _uncovered(self, plan: AlbumPlan, found: Found) -> None:
        """No source had a good cover: a failure, unless there just is none."""
        assert found.problem is not None
        error, source = found.problem.error, found.problem.source
        is_absent = error.code is ErrorCode.NOT_FOUND and source.name != "user"
        for track in plan.tracks:
            if is_absent and track.old_sha256:
                self.counts[Skip.HAS_COVER] += 1
                continue
            self._record(
                self._refused(plan, track, error)
                | {
                    "status": "skipped" if is_absent else "failed",
                    "message": f"{track.path} got no cover: {error.message} "
                    "It is tried again later, or when a run names the album.",
                    "source": source.name,
                    "source_url": source.location,
                }
            )

    def _objected(self, work: _Work, objection: Skip) -> None:
        """The cover does not fit what the file has; other files of the album may still get it."""
        if objection is Skip.NOT_LARGER:
            self.counts[Skip.NOT_LARGER] += 1
            self._tried(work)
            return
        error = HarmonyError(
            ErrorCode.CONFLICT,
            Reason.OTHER_PICTURE,
            f"{work.track.path} keeps its cover: the larger one shows another picture. To have it "
            f"all the same, name a picture for album {work.plan.beets_album_id} under `cover` in "
            "decisions.yaml.",
        )
        self._record(self._refused(work.plan, work.track, error) | _told_of(work.cover))
        self._leave_alone(work, error, work.plan.looked_at(work.found))

    def _tried(self, work: _Work) -> None:
        """Remember that these sources have nothing for the file, though nothing is wrong."""
        self._remember(work, {"front_tried": work.plan.looked_at(work.found)})

    def _leave_alone(self, work: _Work, error: HarmonyError, tried: str | None) -> None:
        """Remember why the file was left alone, so that the next run need not try."""
        why = {"front_code": str(error.code), "front_reason": str(error.reason)}
        self._remember(work, {**why, "front_tried": tried})

    def _has_it(self, work: _Work, now: os.stat_result) -> None:
        """Remember what the file holds now, so that the next run need not open it."""
        self._remember(
            work,
            {
                "size": now.st_size,
                "mtime": now.st_mtime_ns,
                "has_front": 1,
                "front_sha256": work.cover.sha256,
                "front_width": work.cover.width,
                "front_height": work.cover.height,
                "front_code": None,
                "front_reason": None,
                "front_tried": work.plan.looked_at(work.found),
            },
        )

    def _remember(self, work: _Work, seen: Row) -> None:
        key = {"beets_item_id": work.track.beets_item_id, "path": work.track.path}
        self._seen.append(key | seen)

    def _refused(self, plan: AlbumPlan, track: PlannedTrack, error: HarmonyError) -> Row:
        row = refusal(self.run_id, _key(plan, track), error)
        return row | {"album_id": plan.album_id}

    def _record(self, row: Row) -> None:
        """Commit the result of a file that was not changed."""
        commit(self.stores.catalogue, [row], [], self.guard)
        self.rows[row["path"]] = row
        self.counts[row["status"]] += 1

    def _is_over(self) -> bool:
        return self.limits.until.passed or self.bytes_written >= self.limits.max_rewrite_bytes

    def _undo_is_full(self) -> bool:
        return self.undo_bytes >= self.limits.max_undo_bytes


def stored_bytes(folder: Path) -> int:
    """What a content store's folder holds, for comparing it with its limit."""
    return sum(path.stat().st_size for path in folder.glob("??/*"))


def _key(plan: AlbumPlan, track: PlannedTrack) -> Row:
    return {"path": track.path, "beets_album_id": plan.beets_album_id}


def _told_of(cover: Covered) -> Row:
    return {
        "source": cover.source.name,
        "source_url": cover.source.location,
        "bytes": cover.bytes,
        "width": cover.width,
        "height": cover.height,
        "sha256": cover.sha256,
    }


def _sweep(plan: AlbumPlan) -> None:
    """Remove what a killed run left beside the album's files; we hold the album's lock."""
    for folder in {os.path.realpath(file_of(track.path).parent) for track in plan.tracks}:
        with contextlib.suppress(HarmonyError):  # each file will say what is wrong here
            sweep(Path(folder), now=time.time(), older_than_s=0)
