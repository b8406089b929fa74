"""The user's beets library: read, never written, never migrated."""

import errno
import hashlib
import os
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from operator import itemgetter
from pathlib import Path

from harmony_pipelines.clients.beets_config import BeetsConfig
from harmony_pipelines.clients.beets_tables import digest, opened, paths_of_items, read_tables
from harmony_pipelines.clients.catalogue import chunks
from harmony_pipelines.clients.collector import collected_rarely
from harmony_pipelines.clients.database_copy import FILES, copy_database
from harmony_pipelines.clients.file_errors import file_error
from harmony_pipelines.clients.folders import Found, fingerprints, look_at
from harmony_pipelines.clients.library_files import telling_of
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.library import LibraryPaths
from harmony_pipelines.domain.library_rows import (
    ITEM_COLUMNS,
    LibraryRow,
    Raw,
    RawItem,
    RawRow,
    album_row,
    text_of,
    track_row,
)
from harmony_pipelines.domain.paths import path_text

_ROWS_BETWEEN_LOOKS = 100
_MOST_OBJECTS = 1_000_000
"""All of them are rows, which are kept to the end in any case."""
_IDS = itemgetter(*map(ITEM_COLUMNS.index, ("album_id", "spotify_album_id")))
_PATH = itemgetter(ITEM_COLUMNS.index("path"))
_ALBUM_ID = itemgetter("beets_album_id")
_NOT_THERE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG})
_MAY_NOT = frozenset({errno.EACCES, errno.EPERM})


@dataclass(frozen=True)
class LibrarySnapshot:
    """Rows of `beets_albums` and `beets_tracks` at one moment, and what was odd about them.

    A track's `mtime` is in nanoseconds since the epoch: a fingerprint, not a time to read.
    """

    albums: list[LibraryRow]
    tracks: list[LibraryRow]
    warnings: list[str] = field(default_factory=list)

    @property
    def found_files(self) -> int:
        """How many of the tracks have their file where the library says."""
        return sum(track["size"] is not None for track in self.tracks)


@dataclass(frozen=True)
class LibraryLimits:
    """How long to wait for a share to answer, and for other programs to pause their writing."""

    share_seconds: float = 10.0
    settle_seconds: float = 30.0


class BeetsLibrary:
    """A beets library of any age on this machine or, by its path map, of another one."""

    def __init__(
        self,
        config: BeetsConfig,
        scratch: Path | None = None,
        limits: LibraryLimits = LibraryLimits(),
    ) -> None:
        """`scratch` is an existing folder for private copies; by default the system's."""
        self.config = config
        self._scratch = scratch
        self._limits = limits
        self._paths = LibraryPaths(
            os.fsencode(config.music_directory),
            [(os.fsencode(stored), os.fsencode(here)) for stored, here in config.path_map],
        )

    def exists(self, deadline: Deadline) -> bool:
        """Whether there is a file where the beets database should be."""
        return self._found(deadline) is Found.FILE

    def fingerprint(self, deadline: Deadline) -> str | None:
        """What differs after any commit to the beets database; None where there is no file.

        Only looked at, never locked: no other program has to wait for it.
        """
        database = os.fsencode(os.path.realpath(self.config.database))
        files = [database + os.fsencode(suffix) for suffix in FILES]
        found = fingerprints(files, deadline, self._limits.share_seconds)
        return None if found[0] == "-" else hashlib.sha256("\n".join(found).encode()).hexdigest()

    def digest(self, deadline: Deadline) -> str:
        """What differs once albums or tracks do, in anything of them that we look at."""
        with self.private_copy(deadline) as copy:
            return digest(copy, self.config.database, deadline)

    @contextmanager
    def private_copy(self, deadline: Deadline) -> Iterator[Path]:
        """A copy of the beets database that may be opened at will; gone afterwards."""
        self._require_database(deadline)
        with _temporary_folder(self._scratch) as folder:
            yield copy_database(
                self.config.database, Path(folder), deadline, self._limits.settle_seconds
            )

    @collected_rarely(_MOST_OBJECTS)
    def snapshot(self, deadline: Deadline) -> LibrarySnapshot:
        """All albums and tracks with what their files say; the files are not opened."""
        database, seconds = self.config.database, self._limits.share_seconds
        with (
            self.private_copy(deadline) as copy,
            opened(copy, database, deadline) as tables,
            telling_of(copy, paths_of_items(tables), self._paths, deadline, seconds) as told,
        ):
            albums, items = read_tables(tables)
            here = [path and self._paths.here(path) for path in map(_PATH, items)]
            tracks = list(_tracks(items, here, deadline))
            rows = self._albums(albums, items)
            strays = _without_album(tracks, albums)
            counts = Counter(map(_ALBUM_ID, tracks))
            files = told([path or b"" for path in here])
        lost = [number for number, (_, size, _) in enumerate(files) if size < 0]
        warnings = _warnings([(here[number] or b"", files[number][0]) for number in lost])
        _refuse_lost(items, here, lost)
        for track, (_, size, mtime) in zip(tracks, files, strict=True):
            if size >= 0:
                track["size"], track["mtime"] = size, mtime
        missing = Counter(_ALBUM_ID(tracks[number]) for number in lost)
        for row in rows:
            album_id = row["beets_album_id"]
            row["tracks"], row["missing_files"] = counts[album_id], missing[album_id]
        return LibrarySnapshot(rows, tracks, [*_stray(strays), *warnings])

    def _found(self, deadline: Deadline) -> Found:
        [found] = look_at([os.fsencode(self.config.database)], deadline, self._limits.share_seconds)
        return found

    def _require_database(self, deadline: Deadline) -> None:
        found = self._found(deadline)
        if found is not Found.FILE:
            database = self.config.database
            fault = "does not exist" if found is Found.NOTHING else "is not a file"
            raise HarmonyError(
                ErrorCode.VALIDATION_ERROR,
                Reason.NO_LIBRARY,
                f"The beets database {database} {fault}. Set HARMONY_BEETS_LIBRARY to the file "
                "that `beet config` calls `library` (usually library.db).",
                path=str(database),
            )

    def _albums(self, albums: Sequence[RawRow], items: Sequence[RawItem]) -> list[LibraryRow]:
        spotify_ids: defaultdict[Raw, set[Raw]] = defaultdict(set)
        for album_id, spotify_id in set(map(_IDS, items)):
            spotify_ids[album_id].add(spotify_id)
        rows: list[LibraryRow] = []
        for album in albums:
            art = self._path_here(album["artpath"])
            named = {*map(text_of, spotify_ids[album["id"]])}
            rows.append(album_row(album, named, None if art is None else path_text(art)))
        return rows

    def _path_here(self, value: object) -> bytes | None:
        return self._paths.here(value) if isinstance(value, bytes) and value else None


def _temporary_folder(within: Path | None) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="library-", dir=within)
    except OSError as error:
        raise file_error(within or Path(tempfile.gettempdir()), error) from error


def _tracks(
    items: Sequence[RawItem], here: Sequence[bytes | None], deadline: Deadline
) -> Iterator[LibraryRow]:
    for some in chunks(zip(items, here, strict=True), _ROWS_BETWEEN_LOOKS):
        deadline.check()
        for item, path in some:
            yield track_row(item, path_text(path) if path else None)


def _without_album(tracks: Sequence[LibraryRow], albums: Sequence[RawRow]) -> list[LibraryRow]:
    """Leave the tracks whose album the library does not have without one; these are they."""
    known = {album["id"] for album in albums} | {None}
    strays = [track for track in tracks if track["beets_album_id"] not in known]
    for track in strays:
        track["beets_album_id"] = None
    return strays


def _refuse_lost(
    items: Sequence[RawItem], here: Sequence[bytes | None], without: Sequence[int]
) -> None:
    """Refuse a library whose files are mostly not here: its paths belong elsewhere."""
    lost = [number for number in without if here[number]]
    named = len(here) - here.count(None)
    if len(lost) * 2 > named:
        first = lost[0]
        how_many = f"{len(lost)} of {named}"
        raise _not_mapped(_PATH(items[first]), here[first] or b"", how_many)


def _warnings(lost: Sequence[tuple[bytes, int]]) -> list[str]:
    """What the user should know of the files; raises where the system could not say."""
    faults = [(path, error) for path, error in lost if error]
    for path, error in faults:
        if error not in _NOT_THERE | _MAY_NOT:
            raise file_error(Path(os.fsdecode(path)), OSError(error, os.strerror(error)))
    denied = [path for path, error in faults if error in _MAY_NOT]
    if not denied:
        return []
    return [
        f"{len(denied)} files are in folders that this user may not enter, for example "
        f"{path_text(denied[0])}; they count as missing."
    ]


def _stray(strays: Sequence[LibraryRow]) -> list[str]:
    if not strays:
        return []
    return [
        f"{len(strays)} tracks belong to albums that the library does not have, for example "
        f"{strays[0]['path']}; they count as tracks without an album."
    ]


def _not_mapped(stored: bytes, here: bytes, how_many: str) -> HarmonyError:
    as_stored, as_resolved = path_text(stored), path_text(here)
    return HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.PATH_NOT_MAPPED,
        f"{how_many} of the library's files that were looked for are not here. {as_stored}, as "
        f"the library has it, was looked for at {as_resolved}. Mount the disk, or set "
        "HARMONY_MUSIC_DIRECTORY to the folder that relative paths hang on, or HARMONY_PATH_MAP "
        "(/music=/mnt/nas/music) if the paths belong to another machine.",
        stored=as_stored,
        resolved=as_resolved,
    )
