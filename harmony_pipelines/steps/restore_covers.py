"""Take our covers back: each file gets the picture it had before, also none."""

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.embedding import EmbedOptions, embed_front
from harmony_pipelines.clients.file_errors import shown
from harmony_pipelines.clients.front_cover import FrontCover, NewCover
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.undo import EMBEDDED, RESTORED, Change, picture_before
from harmony_pipelines.steps.file_work import FileWork
from harmony_pipelines.steps.plan_covers import file_of, refuse_unknown_albums, result

AS_BEFORE = "as_before"
"""Counts the files that have the picture already, though a change of ours is recorded."""


@dataclass(frozen=True)
class Wanted:
    """What goes back: one run's pictures, those of albums by their beets ids, or all of ours."""

    run_id: str | None = None
    albums: Sequence[str] = ()
    everything: bool = False

    def __post_init__(self) -> None:
        """Refuse to guess: everything is never the default."""
        if bool(self.run_id) + bool(self.albums) + self.everything != 1:
            raise HarmonyError(
                ErrorCode.VALIDATION_ERROR,
                Reason.RUN_CONFIG,
                "Name what goes back: exactly one of run_id, albums and everything under "
                "ops.restore_covers.config.",
            )


@dataclass(frozen=True)
class ChangedFile:
    """A file that we once changed, its present rows of `beets_tracks`, and its changes."""

    path: str
    beets_album_id: int | None
    album_id: str | None
    tracks: tuple[Row, ...]
    history: tuple[Change, ...]

    @property
    def size(self) -> int:
        """What rewriting it comes to, as far as the library's last snapshot knows."""
        return next((track["size"] or 0 for track in self.tracks), 0)

    @property
    def named(self) -> Row:
        """What names it in `artwork_results`."""
        ids = {"beets_album_id": self.beets_album_id, "album_id": self.album_id}
        return {"path": self.path} | ids

    def was_changed_by(self, run_id: str) -> bool:
        """Whether a run put a cover into it."""
        return any((change.run_id, change.status) == (run_id, EMBEDDED) for change in self.history)


def changed_files(store: Catalogue, wanted: Wanted) -> list[ChangedFile]:
    """The files that may have to go back, album by album."""
    tracks = _tracks(store)
    journal = _journal(store)
    files = [_changed(path, list(rows), tracks) for path, rows in groupby(journal, _path)]
    chosen = [file for file in files if _is_wanted(file, wanted)]
    if wanted.run_id and not chosen:
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.RUN_CONFIG,
            f"No run {wanted.run_id} put a cover into a file. Give the whole id of one that did, "
            "as in artwork_results or at the top of the run's page.",
            run_id=wanted.run_id,
        )
    if wanted.albums:
        library = store.table(tables.beets_albums)
        ids = {str(row["beets_album_id"]) for row in (*library, *journal)}
        refuse_unknown_albums(wanted.albums, ids)
    return sorted(chosen, key=lambda file: (file.beets_album_id or 0, file.path))


@dataclass
class Restoring(FileWork):
    """One run's work of taking covers back, from one run's (`only_run`) or from all of ours."""

    only_run: str | None = None

    def files(self, files: Sequence[ChangedFile]) -> None:
        """Put each file back, those of an album together."""
        for album, together in groupby(files, lambda file: file.beets_album_id):
            group = list(together)
            work = partial(self._album, group)
            self.on_album(str(album), [file.named for file in group], work)

    def _album(self, files: Sequence[ChangedFile]) -> None:
        for file in files:
            if self.is_over():
                self.counts["deferred"] += 1
                continue
            try:
                self._file(file)
            except HarmonyError as error:
                if error is self.ends_run:
                    raise
                self.refuse(file.named, error)

    def _file(self, file: ChangedFile) -> None:
        path = file_of(file.path)
        front = read_front(path)
        ours = front.sha256 if front else None
        before = picture_before(file.history, ours, self.only_run)
        if before is None:
            raise _not_ours(path)
        if before.sha256 == ours:
            self.counts[AS_BEFORE] += 1
            return
        picture = self._kept(path, before.sha256) if before.sha256 else None
        row = result(
            self.run_id,
            file.named,
            status=RESTORED,
            sha256=before.sha256,
            old_sha256=ours,
            **_told_of(picture),
        )
        options = EmbedOptions(
            write=self.write_options(path),
            guard=lambda: self.journal(row),
            keep_old=self._keep,
            only_over=ours,
            as_it_was=True,
        )
        done = embed_front(path, picture, options)
        self.not_kept |= done.not_kept
        self.counts[RESTORED] += 1
        with contextlib.suppress(OSError):  # gone the moment after: the next snapshot will see
            self._has_it(file, path, row)

    def _kept(self, path: Path, sha256: str) -> NewCover:
        try:
            data = self.stores.undo.get(sha256)
        except HarmonyError as error:
            if error.code is not ErrorCode.NOT_FOUND:
                self.ends_run = error
                raise
            raise HarmonyError(
                ErrorCode.NOT_FOUND,
                Reason.NOT_KEPT,
                f"{shown(path)} keeps our cover: the picture it had before, {sha256}, is no longer "
                "among the replaced pictures. Bring their folder back from a backup, or name "
                "another picture for the album under `cover` in decisions.yaml.",
                path=shown(path),
                sha256=sha256,
            ) from error
        front = FrontCover.of(data, "")
        return NewCover(data, front.mime, front.width or 0, front.height or 0)

    def _keep(self, picture: bytes) -> None:
        with self.ours():
            self.stores.undo.put(picture)

    def _has_it(self, file: ChangedFile, path: Path, row: Row) -> None:
        """Remember what the file holds now, so that the next run need not open it."""
        now = path.stat()
        self.bytes_written += now.st_size
        self.seen += [
            {
                "beets_item_id": track["beets_item_id"],
                "path": file.path,
                "size": now.st_size,
                "mtime": now.st_mtime_ns,
                "has_front": int(row["sha256"] is not None),
                "front_sha256": row["sha256"],
                "front_width": row["width"],
                "front_height": row["height"],
                "front_code": None,
                "front_reason": None,
                "front_tried": None,
            }
            for track in file.tracks
        ]


def _tracks(store: Catalogue) -> dict[str, list[Row]]:
    """What the library lists at each path."""
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in store.table(tables.beets_tracks):
        found[row["path"]].append(row)
    return found


def _journal(store: Catalogue) -> list[Row]:
    """All changes, those of a file together, the newest first."""
    done = tables.artwork_results.c
    rows = sa.select(tables.artwork_results).where(done.status.in_((EMBEDDED, RESTORED)))
    return store.rows(rows.order_by(done.path, done.sequence.desc()))


def _path(row: Row) -> str:
    return row["path"]


def _changed(path: str, rows: Sequence[Row], tracks: dict[str, list[Row]]) -> ChangedFile:
    newest, here = rows[0], tuple(tracks.get(path, ()))
    return ChangedFile(
        path,
        here[0]["beets_album_id"] if here else newest["beets_album_id"],
        newest["album_id"],
        here,
        tuple(Change(r["run_id"], r["status"], r["sha256"], r["old_sha256"]) for r in rows),
    )


def _is_wanted(file: ChangedFile, wanted: Wanted) -> bool:
    if wanted.run_id:
        return file.was_changed_by(wanted.run_id)
    return wanted.everything or str(file.beets_album_id) in wanted.albums


def _told_of(picture: NewCover | None) -> Row:
    if picture is None:
        return {}
    size = {"width": picture.width or None, "height": picture.height or None}
    return size | {"bytes": len(picture.data)}


def _not_ours(path: Path) -> HarmonyError:
    return HarmonyError(
        ErrorCode.CONFLICT,
        Reason.CHANGED_MEANWHILE,
        f"{shown(path)} was left alone: its cover is no longer the one that was put there.",
        path=shown(path),
    )
