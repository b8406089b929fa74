"""Decide which files get a cover, and from where; opens only files that were not seen before."""

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row, utc_text
from harmony_pipelines.clients.database import upsert, writing
from harmony_pipelines.domain.covers import (
    KEPT_OUT,
    AlbumPlan,
    LibraryAlbum,
    Plan,
    Wishes,
    is_lasting,
    plan_album,
    status_of,
)
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.paths import path_bytes
from harmony_pipelines.domain.undo import EMBEDDED, RESTORED
from harmony_pipelines.steps.search_albums import searched_albums

_CHUNK = 200
_IDS_SHOWN = 10
_RESULT = [column.name for column in tables.artwork_results.columns]
_FILE = ("path", "beets_album_id", "album_id")
_KEY = ("beets_item_id", "path")
_FRONT = [column.name for column in tables.beets_tracks.columns if "front" in column.name]


@dataclass(frozen=True)
class PlanOptions:
    """Which albums to look at, and what may be done.

    `albums` are beets ids, none means all. An album that is named is looked at anew: what was
    remembered against its files and sources does not count.
    """

    albums: Sequence[str] = ()
    dry_run: bool = False
    break_hard_links: bool = False


@dataclass
class Planner:
    """Plans over the last snapshot and its matches; `until` is when looking into files stops."""

    store: Catalogue
    run_id: str
    until: Deadline
    guard: Callable[[], None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def plan(self, wishes: Wishes, options: PlanOptions) -> Plan:
        """What is to be embedded in which files, and why nothing in the others."""
        albums = _chosen(self.store.table(tables.beets_albums), options.albums)
        tracks = self._tracks({album["beets_album_id"] for album in albums}, options)
        refused = self._look_into(tracks)
        if not options.albums:
            wishes = replace(wishes, resting=self._resting())
        plans: list[AlbumPlan] = []
        skipped: Counter[str] = Counter()
        closed: set[int] = set()
        held_back = frozenset[int]() if options.albums else self._restored()
        for found in self._library_albums(albums, tracks, held_back):
            plan = plan_album(found, wishes)
            if isinstance(plan, AlbumPlan):
                plans.append(plan)
            else:
                skipped[str(plan)] += 1
                if plan in KEPT_OUT:
                    closed.add(found.album["beets_album_id"])
        left_alone = sum(bool(track["front_code"]) for track in tracks)
        told = {row["path"] for row in refused}
        unread = sum(_is_unread(track) and track["path"] not in told for track in tracks)
        return Plan(
            tuple(plans),
            dict(skipped),
            left_alone,
            unread,
            tuple(refused),
            options.dry_run,
            frozenset(album["beets_album_id"] for album in albums) - closed,
            bool(options.albums),
        )

    def _tracks(self, albums: set[int], options: PlanOptions) -> list[Row]:
        """The albums' tracks that have files, without what no longer stands against them."""
        track = tables.beets_tracks.c
        here = self.store.table(tables.beets_tracks, track.size.is_not(None), track.path != "")
        return [
            row | dict.fromkeys(("front_code", "front_reason", "front_tried"))
            if options.albums or _is_lifted(row, options.break_hard_links)
            else row
            for row in here
            if row["beets_album_id"] in albums
        ]

    def _look_into(self, tracks: list[Row]) -> list[Row]:
        """Read the front cover of each file not seen before; the results of those without tags."""
        unseen = [track for track in tracks if _is_unread(track)]
        refused: list[Row] = []
        for start in range(0, len(unseen), _CHUNK):
            results: list[Row] = []
            chunk = unseen[start : start + _CHUNK]
            for track in chunk:
                if self.until.passed:
                    break
                front, error = _look(track)
                track.update(front)
                results += [refusal(self.run_id, track, error)] if error else []
            seen = [{name: track[name] for name in (*_KEY, *_FRONT)} for track in chunk]
            commit(self.store, results, seen, self.guard)
            refused += results
        return refused

    def _library_albums(
        self, albums: list[Row], tracks: list[Row], held_back: frozenset[int]
    ) -> Iterator[LibraryAlbum]:
        of_album: defaultdict[int, list[Row]] = defaultdict(list)
        for track in tracks:
            of_album[track["beets_album_id"]].append(track)
        matches = {row["beets_album_id"]: row for row in self.store.table(tables.album_matches)}
        known = [*searched_albums(self.store), *self.store.table(tables.spotify_albums)]
        spotify = {row["album_id"]: row for row in known}
        replaced = self._replaced()
        for album in albums:
            match = matches.get(album["beets_album_id"], {"verdict": "unmatched", "album_id": None})
            yield LibraryAlbum(
                album,
                of_album[album["beets_album_id"]],
                match["verdict"],
                spotify.get(match["album_id"]),
                album["beets_album_id"] in held_back,
                frozenset(replaced[album["beets_album_id"]]),
            )

    def _restored(self) -> frozenset[int]:
        """The albums that went back to their own pictures and got none of ours since."""
        done = tables.artwork_results.c

        def last(status: str) -> sa.ColumnElement[int]:
            return sa.func.max(sa.case((done.status == status, done.sequence), else_=0))

        held_back = sa.select(done.beets_album_id).group_by(done.beets_album_id)
        rows = self.store.rows(held_back.having(last(RESTORED) > last(EMBEDDED)))
        return frozenset(row["beets_album_id"] for row in rows)

    def _replaced(self) -> defaultdict[int, set[tuple[str, str]]]:
        """Which covers of ours took the place of which pictures, by album."""
        done = tables.artwork_results.c
        of_album: defaultdict[int, set[tuple[str, str]]] = defaultdict(set)
        has_replaced = (done.status == EMBEDDED, done.old_sha256.is_not(None))
        for row in self.store.table(tables.artwork_results, *has_replaced):
            of_album[row["beets_album_id"]].add((row["sha256"], row["old_sha256"]))
        return of_album

    def _resting(self) -> frozenset[str]:
        """The sources that failed and are left in peace for now; a file only until it changes."""
        failures = self.store.table(
            tables.cover_failures, tables.cover_failures.c.next_attempt_at > utc_text(self.now())
        )
        return frozenset(row["source_url"] for row in failures if not _has_changed(row))


def file_of(path: str) -> Path:
    """The file that a path in our tables names."""
    return Path(os.fsdecode(path_bytes(path)))


def result(run_id: str, track: Row, **told: object) -> Row:
    """A whole row of `artwork_results` about a file."""
    of_file = {name: track[name] for name in _FILE if name in track}
    return dict.fromkeys(_RESULT) | {"run_id": run_id} | of_file | told


def refusal(run_id: str, track: Row, error: HarmonyError) -> Row:
    """The row of `artwork_results` of a file that was left alone or failed."""
    return result(
        run_id,
        track,
        status=status_of(error),
        code=str(error.code),
        reason=str(error.reason),
        message=error.message,
    )


def commit(
    store: Catalogue,
    results: Sequence[Row],
    seen: Sequence[Row],
    guard: Callable[[], None],
) -> None:
    """Commit rows of results and what was seen of files, if the run is still the one at work.

    Each row of `seen` is one of `beets_tracks` with the columns to set. They alone are not waited
    for until the disk has them: at worst a file is looked at again.
    """
    if not results and not seen:
        return
    track = tables.beets_tracks.c
    of_file = (track.beets_item_id == sa.bindparam("of_item")) & (track.path == sa.bindparam("at"))
    with writing(store.engine, durable=bool(results)) as connection:
        _save_results(connection, results)
        for _, alike in groupby(seen, key=tuple):
            columns = [
                {"of_item": row["beets_item_id"], "at": row["path"]}
                | {name: value for name, value in row.items() if name not in _KEY}
                for row in alike
            ]
            connection.execute(tables.beets_tracks.update().where(of_file), columns)
        guard()


def commit_journal(
    store: Catalogue,
    results: Sequence[Row],
    undo: Sequence[Row],
    unmade: Sequence[Row],
    guard: Callable[[], None],
) -> None:
    """Commit the results of changes that are made next, with their rows of `artwork_undo`.

    `unmade` names what an earlier run journalled and a kill kept it from making.
    """
    with writing(store.engine) as connection:
        forget(connection, unmade)
        _save_results(connection, results)
        upsert(connection, tables.artwork_undo, undo)
        guard()


def _save_results(connection: Connection, results: Sequence[Row]) -> None:
    if results:
        last = connection.scalar(sa.select(sa.func.max(tables.artwork_results.c.sequence)))
        rows = [row | {"sequence": (last or 0) + 1} for row in results]
        upsert(connection, tables.artwork_results, rows)


def forget(connection: Connection, rows: Sequence[Row]) -> None:
    """Take back the results of runs about files, `run_id` and `path` each."""
    for table in (tables.artwork_results, tables.artwork_undo) if rows else ():
        one = (table.c.run_id == sa.bindparam("of_run")) & (table.c.path == sa.bindparam("at"))
        keys = [{"of_run": row["run_id"], "at": row["path"]} for row in rows]
        connection.execute(table.delete().where(one), keys)


def refuse_unknown_albums(wanted: Sequence[str], known: set[str]) -> None:
    """VALIDATION_ERROR if a run names an album that is not there."""
    unknown = sorted(set(wanted) - known)
    if unknown:
        shown = ", ".join(unknown[:_IDS_SHOWN]) + (", …" if len(unknown) > _IDS_SHOWN else "")
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.RUN_CONFIG,
            f"`albums` names what the library has not: no album has the beets id {shown}; "
            "`beet ls -a -f '$id $albumartist - $album'` lists them.",
            albums=unknown[:_IDS_SHOWN],
        )


def _chosen(albums: list[Row], wanted: Sequence[str]) -> list[Row]:
    if not wanted:
        return albums
    chosen = [album for album in albums if str(album["beets_album_id"]) in wanted]
    refuse_unknown_albums(wanted, {str(album["beets_album_id"]) for album in chosen})
    return chosen


def _is_lifted(track: Row, break_hard_links: bool) -> bool:
    """Whether what stood against a file is gone, though its content, and so its time, is as before.

    Asks the file system only; the file is not opened.
    """
    reason, path = track["front_reason"], file_of(track["path"])
    try:
        if reason == Reason.HARD_LINK:
            return break_hard_links or path.stat().st_nlink == 1
        if reason == Reason.READ_ONLY:
            folder = path.resolve().parent
            is_writable = path.stat().st_mode & 0o222 and os.access(path, os.R_OK | os.W_OK)
            return bool(is_writable) and os.access(folder, os.W_OK | os.X_OK)
    except (OSError, RuntimeError):  # gone, or a loop of links
        return False
    return False


def _is_unread(track: Row) -> bool:
    return track["has_front"] is None and track["front_code"] is None


def _look(track: Row) -> tuple[Row, HarmonyError | None]:
    """What a file says of its front cover, as columns of `beets_tracks`."""
    from harmony_pipelines.clients.pictures import read_front

    try:
        front = read_front(file_of(track["path"]))
    except HarmonyError as error:
        remembered = {"front_code": str(error.code), "front_reason": str(error.reason)}
        return (remembered if is_lasting(error) else {}), error
    return {
        "has_front": int(front is not None),
        "front_sha256": front.sha256 if front else None,
        "front_width": front.width if front else None,
        "front_height": front.height if front else None,
    }, None


def _has_changed(failure: Row) -> bool:
    """Whether the source is a file that was put or changed after it failed."""
    location: str = failure["source_url"]
    if not location.startswith("/"):
        return False
    try:
        changed = file_of(location).stat().st_ctime
    except OSError:
        return False
    return utc_text(datetime.fromtimestamp(changed, UTC)) > failure["tried_at"]
