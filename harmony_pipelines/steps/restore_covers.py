"""Take our covers back: each file gets the picture it had before, also none."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path

import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.audio_payload import fingerprint
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.delta import Delta
from harmony_pipelines.clients.digests import names_its_kind
from harmony_pipelines.clients.embedding import EmbedOptions, embed_front, put_back
from harmony_pipelines.clients.file_errors import shown
from harmony_pipelines.clients.front_cover import FrontCover, NewCover
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.clients.telling import mtime_of
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.undo import EMBEDDED, RESTORED, Before, Change, picture_before
from harmony_pipelines.steps.cover_files import our_cover_files
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
    """A file that we once changed, where it is or may be now, and its changes, newest first.

    `path` is where the library has it, else where we changed it; `places` begins with it, and has
    what `beets_tracks` lists at each. `audio` is the fingerprint by which it is known again.
    `is_moved` says that it was elsewhere when we changed it last.
    """

    path: str
    beets_album_id: int | None
    album_id: str | None
    audio: str | None
    is_moved: bool
    places: dict[str, tuple[Row, ...]]
    history: tuple[Change, ...]

    @property
    def size(self) -> int:
        """What rewriting it comes to, as far as the library's last snapshot knows."""
        return next((track["size"] or 0 for track in self.places[self.path]), 0)

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
    journal = _journal(store)
    files = _Library(store.table(tables.beets_tracks)).files(journal)
    chosen = [file for file in files if _is_wanted(file, wanted)]
    if wanted.run_id and not chosen and not our_cover_files(store, run_id=wanted.run_id):
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
        self.sweep_abandoned()
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

    def _file(self, found: ChangedFile) -> None:
        file = found if self._is_back(found) else _where_it_is(found)
        path = file_of(file.path)
        front = read_front(path)
        ours = front.sha256 if front else None
        before = picture_before(file.history, ours, self.only_run)
        if before is None:
            raise _not_ours(path)
        if before.sha256 == ours:
            self.counts[AS_BEFORE] += 1
            return
        self._restore(file, before, ours)

    def _is_back(self, file: ChangedFile) -> bool:
        """Whether it is where it was, with the picture it had: no need to read it whole."""
        if file.is_moved:
            return False
        try:
            front = read_front(file_of(file.path))
        except HarmonyError:
            return False
        ours = front.sha256 if front else None
        return picture_before(file.history, ours, self.only_run) == Before(ours)

    def _restore(self, file: ChangedFile, before: Before, ours: str | None) -> None:
        """Rebuild the file as it was; where others changed it since, give it its picture back."""
        path, tracks = file_of(file.path), file.places[file.path]
        picture = self._kept(path, before.sha256) if before.sha256 else None
        told = _told_of(picture) | {"sha256": before.sha256, "old_sha256": ours}
        row = result(self.run_id, file.named, status=RESTORED, **told)
        item = tracks[0]["beets_item_id"] if tracks else None
        options = EmbedOptions(
            write=self.write_options(path),
            journal=partial(self.journal, row, item),
            keep_old=self._keep,
            only_over=ours,
            as_it_was=True,
        )
        done = put_back(path, self._deltas(before), options)
        if done is None:
            row["message"] = (
                f"{shown(path)} has its picture back. Else it is as it was just now: it was "
                "changed since, or what leads back further was not kept."
            )
            done = embed_front(path, picture, options)
        self.not_kept |= done.not_kept
        self.counts[RESTORED] += 1
        with contextlib.suppress(OSError):  # gone the moment after: the next snapshot will see
            self._has_it(tracks, path, row)

    def _deltas(self, before: Before) -> list[tuple[Delta, bytes]]:
        """What leads back to the whole file, with the pictures for it; empty if some is missing."""
        deltas: list[tuple[Delta, bytes]] = []
        for change in before.undone:
            packed = change.delta and self._still_kept(change.delta)
            if not packed:
                return []
            delta = Delta.unpacked(packed)
            picture = self._still_kept(delta.picture_sha256) if delta.picture_sha256 else b""
            if picture is None:
                return []
            deltas.append((delta, picture))
        return deltas

    def _still_kept(self, sha256: str) -> bytes | None:
        try:
            return self.stores.undo.get(sha256)
        except HarmonyError as error:
            if error.code is ErrorCode.NOT_FOUND:
                return None
            self.ends_run = error
            raise

    def _kept(self, path: Path, sha256: str) -> NewCover:
        data = self._still_kept(sha256)
        if data is None:
            raise HarmonyError(
                ErrorCode.NOT_FOUND,
                Reason.NOT_KEPT,
                f"{shown(path)} keeps our cover: the picture it had before, {sha256}, is no longer "
                "among the replaced pictures. Bring their folder back from a backup, or name "
                "another picture for the album under `cover` in decisions.yaml.",
                path=shown(path),
                sha256=sha256,
            )
        front = FrontCover.of(data, "")
        return NewCover(data, front.mime, front.width or 0, front.height or 0)

    def _keep(self, picture: bytes) -> None:
        with self.ours():
            self.stores.undo.put(picture)

    def _has_it(self, tracks: Sequence[Row], path: Path, row: Row) -> None:
        """Remember what the file holds now, so that the next run need not open it."""
        now = path.stat()
        self.bytes_written += now.st_size
        self.seen += [
            {
                "beets_item_id": track["beets_item_id"],
                "path": row["path"],
                "size": now.st_size,
                "mtime": mtime_of(now),
                "has_front": int(row["sha256"] is not None),
                "front_sha256": row["sha256"],
                "front_width": row["width"],
                "front_height": row["height"],
                "front_code": None,
                "front_reason": None,
                "front_tried": None,
            }
            for track in tracks
        ]


class _Library:
    """Where the library's last snapshot has which tracks."""

    def __init__(self, tracks: Sequence[Row]) -> None:
        self._at: defaultdict[str, list[Row]] = defaultdict(list)
        self._of_size: defaultdict[int | None, list[str]] = defaultdict(list)
        self._path_of = {track["beets_item_id"]: track["path"] for track in tracks}
        for track in tracks:
            self._at[track["path"]].append(track)
            self._of_size[track["size"]].append(track["path"])

    def files(self, journal: Sequence[Row]) -> list[ChangedFile]:
        """The files that the journal's rows are about: what was moved is still the same file."""
        rows: defaultdict[tuple[str, str | None], list[Row]] = defaultdict(list)
        taken: defaultdict[str | None, set[str]] = defaultdict(set)
        of_kind: defaultdict[bool, set[str]] = defaultdict(set)
        for here, audio, row in self._placed(journal):
            rows[here, audio].append(row)
            taken[audio].add(here)
            of_kind[names_its_kind(row["audio"])].add(here)
        return [
            self._file(path, about, (taken[audio], of_kind[not names_its_kind(audio)]))
            for (path, audio), about in rows.items()
            if any(row["status"] == EMBEDDED for row in about)
        ]

    def _placed(self, journal: Sequence[Row]) -> Iterator[tuple[str, str | None, Row]]:
        """The rows, newest first, with where their file is and the fingerprint of its sound.

        One of an earlier kind does not tell whether it is the same sound: what was changed next at
        the same place, by a later release, is taken for it.
        """
        newer: dict[str, str | None] = {}
        same: dict[tuple[str, str | None], str | None] = {}
        for row in journal:
            here, audio = self._path_of.get(row["beets_item_id"]) or row["path"], row["audio"]
            next_one = newer.get(here)
            if audio and names_its_kind(next_one) and not names_its_kind(audio):
                same[here, audio] = next_one
            newer[here] = audio
            yield here, same.get((here, audio), audio), row

    def _file(self, path: str, rows: Sequence[Row], taken: Sequence[set[str]]) -> ChangedFile:
        """A file with where else it may be: where it was, and where one of its size is.

        `taken` are the places of files that sound the same, each of which has its own history, or
        may, as what is known of them is of another kind.
        """
        newest, was = rows[0], [row["path"] for row in rows]
        alike = self._of_size[newest["size"]] if newest["size"] else []
        free = (at for at in (*was, *alike) if not any(at in places for places in taken))
        places = [path, *free]
        here = self._at.get(path, ())
        return ChangedFile(
            path,
            here[0]["beets_album_id"] if here else newest["beets_album_id"],
            newest["album_id"],
            newest["audio"],
            newest["path"] != path,
            {place: tuple(self._at.get(place, ())) for place in places},
            tuple(
                Change(
                    *(row[name] for name in ("run_id", "status", "sha256", "old_sha256", "delta"))
                )
                for row in rows
            ),
        )


def _journal(store: Catalogue) -> list[Row]:
    """All changes, the newest first."""
    done, undo = tables.artwork_results, tables.artwork_undo
    same = (done.c.run_id == undo.c.run_id) & (done.c.path == undo.c.path)
    kept = (undo.c.beets_item_id, undo.c.size, undo.c.audio, undo.c.delta)
    rows = sa.select(done, *kept).outerjoin_from(done, undo, same)
    changes = rows.where(done.c.status.in_((EMBEDDED, RESTORED)))
    return store.rows(changes.order_by(done.c.sequence.desc(), done.c.path))


def _where_it_is(file: ChangedFile) -> ChangedFile:
    """The file at the first of its places where it is found; its sound is what it is known by."""
    if file.audio is None:
        return file
    refused: HarmonyError | None = None
    for place in file.places:
        path = file_of(place)
        try:
            if fingerprint(path, file.audio) == file.audio:
                return replace(file, path=place)
            refused = refused or _another(path)
        except HarmonyError as error:
            refused = refused or error
    assert refused is not None
    raise refused


def _is_wanted(file: ChangedFile, wanted: Wanted) -> bool:
    if wanted.run_id:
        return file.was_changed_by(wanted.run_id)
    return wanted.everything or str(file.beets_album_id) in wanted.albums


def _told_of(picture: NewCover | None) -> Row:
    if picture is None:
        return {}
    size = {"width": picture.width or None, "height": picture.height or None}
    return size | {"bytes": len(picture.data)}


def _another(path: Path) -> HarmonyError:
    return HarmonyError(
        ErrorCode.CONFLICT,
        Reason.CHANGED_MEANWHILE,
        f"{shown(path)} was left alone: it does not sound like the file that got our cover, which "
        "was not found elsewhere in the library either.",
        path=shown(path),
    )


def _not_ours(path: Path) -> HarmonyError:
    return HarmonyError(
        ErrorCode.CONFLICT,
        Reason.CHANGED_MEANWHILE,
        f"{shown(path)} was left alone: its cover is no longer the one that was put there.",
        path=shown(path),
    )
