"""Embed the covers that were found, album by album; what is left of a run's time is kept for it."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from harmony_pipelines.clients.catalogue import Row
from harmony_pipelines.clients.embedding import PrepareOptions, WayBack, prepare_front
from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.clients.safe_write import Prepared, changed_meanwhile
from harmony_pipelines.clients.telling import mtime_of
from harmony_pipelines.domain.covers import (
    AlbumPlan,
    Covered,
    Found,
    PlannedTrack,
    Skip,
    is_lasting,
)
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.undo import EMBEDDED
from harmony_pipelines.steps.file_work import FileWork
from harmony_pipelines.steps.plan_covers import file_of, result
from harmony_pipelines.steps.together import Change, Together


@dataclass(frozen=True)
class _Work:
    """A file, the cover that it is to get, and the plan that both belong to."""

    plan: AlbumPlan
    track: PlannedTrack
    found: Found
    cover: Covered
    picture: NewCover
    together: Together


@dataclass
class Embedding(FileWork):
    """One run's embedding; `undo_bytes` is what the store of displaced pictures holds before it."""

    undo_bytes: int = 0
    begun: set[str] = field(default_factory=set, init=False)
    """The paths of the files that were to be changed, whatever came of it."""

    def albums(self, plans: Sequence[AlbumPlan], found: Mapping[int, Found]) -> None:
        """Embed in each album for which there is a cover."""
        self.sweep_abandoned()
        for plan in plans:
            what = found.get(plan.beets_album_id, Found())
            if what.cover is not None:
                self._album(plan, what, what.cover)
            elif what.problem is not None:
                self._uncovered(plan, what)
            else:
                self.counts["deferred"] += len(plan.tracks)

    def _album(self, plan: AlbumPlan, found: Found, cover: Covered) -> None:
        files = [_key(plan, track) for track in plan.tracks]

        def work() -> None:
            try:
                data = self.stores.covers.get(cover.sha256)
            except HarmonyError as error:
                for file in files:
                    self.refuse(file, error, status="failed")
                return
            picture = NewCover(data, cover.mime, cover.width, cover.height)
            with closing(Together(self)) as together:
                for track in plan.tracks:
                    self._file(_Work(plan, track, found, cover, picture, together))
                together.make()

        self.on_album(str(plan.beets_album_id), files, work)

    def _file(self, work: _Work) -> None:
        track = work.track
        is_done = track.path in self.begun or track.path in self.rows
        if is_done or track.old_sha256 == work.cover.sha256:
            self.counts[Skip.HAS_COVER] += 1
            self._tried(work)
        elif track.old_sha256 and work.found.objection:
            self._objected(work, work.found.objection)
        elif self.is_over() or (track.old_sha256 and self._undo_is_full()):
            self.counts["deferred"] += 1
        else:
            self._embed(work)

    def _embed(self, work: _Work) -> None:
        self.begun.add(work.track.path)
        try:
            copy = self._prepared(work)
        except HarmonyError as error:
            if error is self.ends_run:
                raise
            self._refused(work, error)
            return
        if copy is None:
            self.counts[Skip.HAS_COVER] += 1
            self._has_it(work)
            return
        self.bytes_written += _rewritten(work)
        row, item = _embedded(self.run_id, work), work.track.beets_item_id
        work.together.add(
            Change(row, item, copy, partial(self._made, work), partial(self._not_made, work))
        )

    def _prepared(self, work: _Work) -> Prepared[WayBack] | None:
        path = file_of(work.track.path)
        options = PrepareOptions(
            write=self.write_options(path),
            keep_old=lambda picture: self._keep(work, picture),
            only_over=work.track.old_sha256,
        )
        try:
            return prepare_front(path, work.picture, options)[1]
        except HarmonyError as error:
            if error.reason is Reason.DISK_FULL and work.together.make():  # they took the room
                return prepare_front(path, work.picture, options)[1]
            raise

    def _made(self, work: _Work) -> None:
        self.counts["embedded"] += 1
        self._has_it(work)

    def _not_made(self, work: _Work, error: HarmonyError) -> None:
        self.bytes_written -= _rewritten(work)
        self._refused(work, error)

    def _refused(self, work: _Work, error: HarmonyError) -> None:
        self.refuse(_key(work.plan, work.track), error)
        if is_lasting(error):
            of_cover = error.code is ErrorCode.PAYLOAD_TOO_LARGE
            self._leave_alone(work, error, work.plan.looked_at(Found()) if of_cover else None)

    def _keep(self, work: _Work, picture: bytes) -> None:
        if work.track.old_sha256 is None:  # it was to get its first cover, and got one meanwhile
            raise changed_meanwhile(file_of(work.track.path))
        with self.ours():
            self.stores.undo.put(picture)
        self.undo_bytes += len(picture)

    def _uncovered(self, plan: AlbumPlan, found: Found) -> None:
        """No source had a good cover: a failure, unless there just is none."""
        assert found.problem is not None
        error, source = found.problem.error, found.problem.source
        is_absent = error.code is ErrorCode.NOT_FOUND and source.name != "user"
        for track in plan.tracks:
            if is_absent and track.old_sha256:
                self.counts[Skip.HAS_COVER] += 1
                continue
            self.refuse(
                _key(plan, track),
                error,
                status="skipped" if is_absent else "failed",
                message=f"{track.path} got no cover: {error.message} "
                "It is tried again later, or when a run names the album.",
                source=source.name,
                source_url=source.location,
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
        self.refuse(_key(work.plan, work.track), error, **_told_of(work.cover))
        self._leave_alone(work, error, work.plan.looked_at(work.found))

    def _tried(self, work: _Work) -> None:
        """Remember that these sources have nothing for the file, though nothing is wrong."""
        self._remember(work, {"front_tried": work.plan.looked_at(work.found)})

    def _leave_alone(self, work: _Work, error: HarmonyError, tried: str | None) -> None:
        """Remember why the file was left alone, so that the next run need not try."""
        why = {"front_code": str(error.code), "front_reason": str(error.reason)}
        self._remember(work, {**why, "front_tried": tried})

    def _has_it(self, work: _Work) -> None:
        """Remember what the file holds now, so that the next run need not open it."""
        try:
            now = file_of(work.track.path).stat()
        except OSError:  # gone the moment after: the next snapshot will see
            return
        self._remember(
            work,
            {
                "size": now.st_size,
                "mtime": mtime_of(now),
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
        self.seen.append(key | seen)

    def _undo_is_full(self) -> bool:
        return self.undo_bytes >= self.limits.max_undo_bytes


def stored_bytes(folder: Path) -> int:
    """What a content store's folder holds, for comparing it with its limit."""
    return sum(path.stat().st_size for path in folder.glob("??/*"))


def _key(plan: AlbumPlan, track: PlannedTrack) -> Row:
    """What names the file in `artwork_results`."""
    ids = {"beets_album_id": plan.beets_album_id, "album_id": plan.album_id}
    return {"path": track.path} | ids


def _rewritten(work: _Work) -> int:
    """What writing the file comes to."""
    return work.track.size + work.cover.bytes


def _embedded(run_id: str, work: _Work) -> Row:
    return result(
        run_id,
        _key(work.plan, work.track),
        status=EMBEDDED,
        old_sha256=work.track.old_sha256,
        **_told_of(work.cover),
    )


def _told_of(cover: Covered) -> Row:
    return {
        "source": cover.source.name,
        "source_url": cover.source.location,
        "bytes": cover.bytes,
        "width": cover.width,
        "height": cover.height,
        "sha256": cover.sha256,
    }
