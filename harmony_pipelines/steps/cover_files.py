"""Put each album's cover beside its tracks as a file too, and take ours back."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import sqlalchemy as sa

from harmony_pipelines.clients import cover_file, tables
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.database import upsert
from harmony_pipelines.clients.file_errors import shown
from harmony_pipelines.clients.front_cover import FrontCover
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.domain.covers import is_lasting
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.steps.file_work import FileWork
from harmony_pipelines.steps.plan_covers import commit, file_of, result

WRITTEN, REMOVED = "written", "removed"
"""The words for cover files in `artwork_results`."""

_TAKEN_BACK = "restored"
"""Why a folder gets none until a run names its album."""

_LASTING = (Reason.NOT_OURS, Reason.SHARED_FOLDER)
_TRACK = [
    tables.beets_tracks.c[name]
    for name in ("path", "beets_album_id", "size", "has_front", "front_sha256", "front_code")
]


@dataclass(frozen=True)
class _Folder:
    """A folder whose tracks share one cover, where one of them lies, and what is known of it."""

    path: str
    albums: frozenset[int | None]
    sha256: str
    track: str
    known: Row | None

    @property
    def here(self) -> Path:
        """The folder itself."""
        return file_of(self.path)

    @property
    def album(self) -> int | None:
        """The album whose folder it is, None where it is several albums'."""
        return next(iter(self.albums)) if len(self.albums) == 1 else None

    @property
    def named(self) -> Row:
        """What names it in `artwork_results`."""
        return {"path": self.path, "beets_album_id": self.album, "album_id": None}

    @property
    def ours(self) -> tuple[Path, str] | None:
        """The file that we put there, and its SHA-256."""
        if not self.known or not self.known["path"]:
            return None
        return file_of(self.known["path"]), self.known["sha256"]

    @property
    def was_taken_away(self) -> bool:
        """Whether somebody removed the file that we surely put there."""
        if not self.known or self.known["folder_changed"] is None or self.ours is None:
            return False
        return cover_file.sha256_in(self.ours[0]) is None

    @property
    def is_settled(self) -> bool:
        """Whether nothing can have changed since we were done with it; opens nothing."""
        if self.known is None or self.known["folder_changed"] is None:
            return False
        if self.known["reason"] == _TAKEN_BACK:
            return True
        if self.known["code"]:
            return self.known["folder_changed"] == _changed(self.here)
        return self.known["sha256"] == self.sha256


class CoverFiles(FileWork):
    """One run's cover files; a folder gets one once all its tracks have the same cover."""

    @classmethod
    def beside(cls, work: FileWork) -> "CoverFiles":
        """The cover files of the run that does `work`, within what is left of its limits."""
        return cls(
            run_id=work.run_id,
            stores=work.stores,
            roots=work.roots,
            limits=work.limits,
            guard=work.guard,
            bytes_written=work.bytes_written,
        )

    def put(self, albums: Collection[int], *, is_named: bool = False) -> None:
        """Bring the folders of the albums up to date; those of named albums are looked at anew."""
        for folder in _folders(self.stores.catalogue, albums):
            if is_named or not folder.is_settled:
                self._on(folder, partial(self._put, folder, is_named=is_named))

    def take_back(self, files: Sequence[Row]) -> None:
        """Remove the files that are still ours; their folders get none until a run names them."""
        for known in files:
            folder = _Folder(known["folder"], frozenset({known["beets_album_id"]}), "", "", known)
            self._on(folder, partial(self._take_back, folder))

    def _on(self, folder: _Folder, work: partial[None]) -> None:
        def guarded() -> None:
            try:
                work()
            except HarmonyError as error:
                if error is self.ends_run:
                    raise
                self.refuse(folder.named, error)
                if is_lasting(error) or error.reason in _LASTING:
                    self._leave_alone(folder, error)

        inside = folder.named | {"path": f"{folder.path}/cover"}
        self.on_album(str(folder.album), [inside], guarded)

    def _put(self, folder: _Folder, *, is_named: bool) -> None:
        if folder.album is None:
            raise _shared(folder.here)
        options = self.write_options(file_of(folder.track))
        cover_file.refuse_outside(folder.here, options.roots)
        front = read_front(file_of(folder.track))
        if front is None or front.sha256 != folder.sha256:
            self.counts["deferred"] += 1  # changed just now: the next snapshot will see
            return
        target = folder.here / cover_file.name_for(front.mime, folder.here)
        row = self._row(folder, target, front)
        new = cover_file.NewFile(
            front.data, file_of(folder.track), partial(self._announce, folder, row)
        )
        if not is_named and folder.was_taken_away:
            self._keep_out(folder)
            return
        run_id = folder.known["run_id"] if folder.known else self.run_id
        if _write(folder, target, new):
            self.counts[WRITTEN] += 1
            self.bytes_written += len(front.data)
            run_id = self.run_id
        self._remember(folder, path=shown(target), sha256=folder.sha256, run_id=run_id)

    def _row(self, folder: _Folder, target: Path, front: FrontCover) -> Row:
        size = {"width": front.width, "height": front.height, "bytes": len(front.data)}
        told = size | {"status": WRITTEN, "sha256": folder.sha256, "source": "tracks"}
        return result(self.run_id, folder.named | {"path": shown(target)}, **told)

    def _announce(self, folder: _Folder, row: Row) -> None:
        """Commit that the file is ours right before it is there, so that no kill hides it."""
        told = {"path": row["path"], "sha256": row["sha256"], "folder_changed": None}
        self._remember(folder, **told)
        self._tell(row)

    def _take_back(self, folder: _Folder) -> None:
        assert folder.ours
        path, sha256 = folder.ours
        if cover_file.remove(path, sha256, self._still_at_work):
            told = {"status": REMOVED, "old_sha256": sha256}
            self._tell(result(self.run_id, folder.named | {"path": shown(path)}, **told))
            self.counts[REMOVED] += 1
        self._keep_out(folder)

    def _keep_out(self, folder: _Folder) -> None:
        self._remember(folder, code=str(ErrorCode.CONFLICT), reason=_TAKEN_BACK)

    def _leave_alone(self, folder: _Folder, error: HarmonyError) -> None:
        """Remember why nothing was done; what is there stays ours, unless that is why."""
        told = {"code": str(error.code), "reason": str(error.reason)}
        if folder.known and error.reason is not Reason.NOT_OURS:
            told |= {name: folder.known[name] for name in ("path", "sha256", "run_id")}
        self._remember(folder, **told)

    def _still_at_work(self) -> None:
        with self.ours():
            self.guard()

    def _remember(self, folder: _Folder, **told: str | int | None) -> None:
        nothing = dict.fromkeys(column.name for column in tables.cover_files.columns)
        key = {"folder": folder.path, "beets_album_id": folder.album, "run_id": self.run_id}
        changed = {"folder_changed": _changed(folder.here)}
        with self.ours(), self.stores.catalogue.writing() as connection:
            upsert(connection, tables.cover_files, [nothing | key | changed | told])
            self.guard()

    def _tell(self, row: Row) -> None:
        with self.ours():
            commit(self.stores.catalogue, [row], [], self.guard)
        self.rows[row["path"]] = row


def our_cover_files(
    store: Catalogue, *, run_id: str | None = None, albums: Collection[str] = ()
) -> list[Row]:
    """The cover files of ours that a run wrote, or of albums; of none named, all there are."""
    file = tables.cover_files.c
    rows = store.table(tables.cover_files, file.path.is_not(None))
    return [
        row
        for row in rows
        if run_id in (None, row["run_id"]) and (not albums or str(row["beets_album_id"]) in albums)
    ]


def _folders(store: Catalogue, albums: Collection[int]) -> list[_Folder]:
    """The folders of the albums in which every track that can have a cover has the same."""
    inside: defaultdict[str, list[Row]] = defaultdict(list)
    for track in store.rows(sa.select(*_TRACK).where(tables.beets_tracks.c.path != "")):
        inside[track["path"].rpartition("/")[0]].append(track)
    known = {row["folder"]: row for row in store.table(tables.cover_files)}
    found: list[_Folder] = []
    for path, tracks in sorted(inside.items()):
        whose = frozenset(track["beets_album_id"] for track in tracks)
        usable = [
            track for track in tracks if track["size"] is not None and not track["front_code"]
        ]
        fronts = {track["front_sha256"] if track["has_front"] else None for track in usable}
        sha256 = fronts.pop() if len(fronts) == 1 else None
        if sha256 and not whose.isdisjoint(albums):
            found.append(_Folder(path, whose, sha256, usable[0]["path"], known.get(path)))
    return found


def _write(folder: _Folder, target: Path, new: cover_file.NewFile) -> bool:
    """Make, replace or leave the folder's cover file; whether anything was written."""
    path, sha256 = folder.ours or (None, "")
    there = None if path is None else cover_file.sha256_in(path)
    theirs = [file for file in cover_file.covers_in(folder.here) if there is None or file != path]
    if theirs:
        raise cover_file.not_ours(theirs[0])
    if path is None or there is None:
        cover_file.place(target, new)
        return True
    if there == folder.sha256 == sha256:
        return False
    if path == target:
        cover_file.put_over(path, sha256, new)
    else:  # another kind of picture, so another name
        cover_file.remove(path, sha256, new.guard)
        cover_file.place(target, new)
    return True


def _changed(folder: Path) -> int | None:
    with suppress(OSError):
        return folder.stat().st_ctime_ns
    return None


def _shared(folder: Path) -> HarmonyError:
    return HarmonyError(
        ErrorCode.CONFLICT,
        Reason.SHARED_FOLDER,
        f"{shown(folder)} got no cover file: tracks of several albums, or of none, lie in it.",
        path=shown(folder),
    )
