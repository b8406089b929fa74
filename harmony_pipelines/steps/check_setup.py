"""What of the user's set-up is right and wrong on this machine; nothing is made or changed."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.beets_library import BeetsLibrary
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.database import open_engine
from harmony_pipelines.clients.file_system_probe import NEEDED, Abilities, probe
from harmony_pipelines.clients.home import network_file_system
from harmony_pipelines.clients.schema import is_up_to_date
from harmony_pipelines.clients.watchlist import read_decisions, read_watchlist
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.readable import counted
from harmony_pipelines.domain.setup import Finding, good, noted, wrong
from harmony_pipelines.settings import Settings

_ROOM_AT_HOME = 256 << 20
_ROOM_OF_A_COPY = 32 << 20
_SHOWN_WARNINGS = 5
_MOST_FOLDERS = 3
_SAME_FILE = ("path", "size", "mtime")


@dataclass
class Library:
    """What was found of the library: its files, and those known to have a cover or none."""

    tracks: list[Row] = field(default_factory=list)
    folders: tuple[Path, ...] = ()

    @property
    def largest(self) -> int:
        """The bytes of its largest file."""
        return max((track["size"] or 0 for track in self.tracks), default=0)

    def without_cover(self, known: list[Row]) -> tuple[int, int, int]:
        """Files that may get a cover, their bytes, and how many of them no run has looked into."""
        seen = {row["beets_item_id"]: row for row in known}
        files = size = unseen = 0
        for track in self.tracks:
            if track["size"] is None:
                continue
            row = seen.get(track["beets_item_id"])
            if row is None or any(row[name] != track[name] for name in _SAME_FILE):
                row = {"has_front": None, "front_code": None}
            if row["has_front"] or row["front_code"]:
                continue
            files, size = files + 1, size + track["size"]
            unseen += row["has_front"] is None
        return files, size, unseen


@contextmanager
def catalogue_as_it_is(settings: Settings) -> Iterator[Catalogue | None]:
    """The catalogue, if there is one that needs neither making nor migrating; else None."""
    engine = None
    try:
        if _is_made(settings.database_url):
            engine = open_engine(settings.database_url)
            yield Catalogue(engine) if is_up_to_date(engine) else None
        else:
            yield None
    finally:
        if engine is not None:
            engine.dispose()


@contextmanager
def catalogue_in_memory() -> Iterator[Catalogue]:
    """An empty catalogue that goes with the run, where there is none yet to book requests in."""
    engine = open_engine("sqlite://")
    tables.metadata.create_all(engine)
    yield Catalogue(engine)
    engine.dispose()


def _is_made(url: str) -> bool:
    """Whether the database may be there; a file is not made by looking for it."""
    return not url.startswith("sqlite:///") or Path(url.removeprefix("sqlite:///")).is_file()


def check_settings(settings: Settings, folder: Path) -> list[Finding]:
    """What is set and does nothing, and where settings come from."""
    file = folder / ".env"
    if file.is_file():
        told = good("Settings", f"All that is set can be used; {file} is read.")
    elif settings.spotify_client_id:
        told = good("Settings", "All that is set can be used; it comes from the environment.")
    else:
        told = noted(
            "Settings",
            f"Nothing is set: there is no {file}.",
            "Copy .env.example to .env in the project's folder and fill in its first three lines, "
            "or set them in the environment.",
        )
    return [told, *(noted("Settings", warning) for warning in settings.warnings)]


def check_home(settings: Settings) -> Iterator[Finding]:
    """Whether HARMONY_HOME can be used, and its room."""
    home = settings.home
    there = next(path for path in (home, *home.parents) if path.exists())
    kind = network_file_system(home)
    if kind:
        yield wrong(
            "HARMONY_HOME",
            _setting(f"Name a folder on a disk of this machine; {kind} is a network's."),
            str(home),
        )
    elif not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
        yield wrong(
            "HARMONY_HOME",
            _setting(f"Name a folder that this user may write to; {there} is none."),
            str(home),
        )
    else:
        yield good("HARMONY_HOME", f"{home}{'' if there == home else ' (made by the first run)'}")
    with suppress(OSError):
        free = shutil.disk_usage(there).free
        yield _room("Room at home", there, free, _ROOM_AT_HOME)


def check_catalogue(settings: Settings) -> Finding:
    """Whether the database can be read, and whether a run will make or migrate it."""
    try:
        with catalogue_as_it_is(settings) as store:
            if store is None:
                made = _is_made(settings.database_url)
                when = "brought up to date" if made else "made"
                return good("Catalogue", f"It is {when} by the first run.")
            artists = counted(store.count(tables.watchlist), "artist")
            albums = counted(store.count(tables.spotify_albums), "album")
            return good("Catalogue", f"{artists}, {albums}")
    except HarmonyError as error:
        return wrong("Catalogue", error)


def check_watchlist(settings: Settings) -> tuple[Finding, int]:
    """Whether the watchlist can be read, and how many lines it has."""
    path = settings.watchlist_path
    try:
        watchlist = read_watchlist(path)
    except HarmonyError as error:
        return wrong("Watchlist", error, str(path) if path.exists() else "not there"), 0
    more = ", and the library's album artists" if watchlist.from_beets else ""
    lines = len(watchlist.entries)
    return good("Watchlist", f"{counted(lines, 'line')}{more} in {path}"), lines


def check_decisions(settings: Settings) -> Finding:
    """Whether the decisions can be read, if there are any."""
    path = settings.decisions_path
    try:
        read_decisions(path)
    except HarmonyError as error:
        return wrong("Decisions", error, str(path))
    return good("Decisions", str(path) if path.exists() else "none yet")


def check_library(
    settings: Settings, open_library: Callable[[], BeetsLibrary], deadline: Deadline
) -> tuple[list[Finding], Library]:
    """Whether the beets database can be read and its files are where it says."""
    subject = "Beets library"
    try:
        library = open_library()
        database = library.config.database
        roots = (library.config.music_directory, *(here for _, here in library.config.path_map))
        if not library.exists(deadline):
            return [_no_library(settings, subject, database)], Library()
        found = library.snapshot(deadline)
    except HarmonyError as error:
        is_path = error.reason is Reason.PATH_NOT_MAPPED
        return [wrong("Library's paths" if is_path else subject, error)], Library()
    missing = sum(track["size"] is None for track in found.tracks)
    albums, tracks = counted(len(found.albums), "album"), counted(len(found.tracks), "track")
    said = f"{albums}, {tracks} in {database}"
    told = [good(subject, said)]
    told += [noted(subject, warning) for warning in found.warnings[:_SHOWN_WARNINGS]]
    where = "All of its files are where it says."
    if missing:
        where = f"{missing} of its files are not there."
    told.append(noted("Library's paths", where) if missing else good("Library's paths", where))
    return told, Library(found.tracks, tuple(dict.fromkeys(roots))[:_MOST_FOLDERS])


def check_file_system(
    library: Library, attempt: Callable[[Path], Abilities | None] = probe
) -> Iterator[Finding]:
    """What each of the library's folders lets us do, tried on a file that is removed again."""
    for folder in library.folders:
        subject = f"Music in {folder}"
        can = attempt(folder)
        if can is None:
            yield wrong(subject, _hung(folder), "no answer")
            continue
        yield _what_it_can(subject, folder, can)
        if can.refused is None:
            need = library.largest + _ROOM_OF_A_COPY
            yield _room(f"Room in {folder}", folder, can.free, need)


def _what_it_can(subject: str, folder: Path, can: Abilities) -> Finding:
    if can.refused is not None:
        return wrong(
            subject,
            HarmonyError(
                ErrorCode.DEPENDENCY_ERROR,
                Reason.READ_ONLY,
                f"Allow this user to write into {folder}, or covers cannot be embedded "
                "(HARMONY_ARTWORK_POLICY=never, if you want none).",
            ),
            f"It cannot be written: {can.refused}.",
        )
    if can.fails & NEEDED:
        lacks = ", ".join(sorted(can.fails & NEEDED))
        fault = f"No cover can be embedded safely on a file system without: {lacks}."
        return wrong(subject, HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.IO_ERROR, fault))
    works = f"works: {', '.join(sorted(can.works))}"
    if not can.fails:
        return good(subject, works)
    return noted(
        subject,
        f"{works}; does not: {', '.join(sorted(can.fails))}",
        "Nothing to do: files that get a cover lose what the file system cannot keep.",
    )


def _no_library(settings: Settings, subject: str, database: Path) -> Finding:
    to_do = (
        "Without one the catalogue works, but nothing is compared and no cover embedded. Set "
        "HARMONY_BEETS_LIBRARY to the file that `beet config` calls `library`, or BEETSDIR."
    )
    if settings.beets_library or settings.beets_dir:
        error = HarmonyError(ErrorCode.VALIDATION_ERROR, Reason.NO_LIBRARY, to_do)
        return wrong(subject, error, f"{database} is not there")
    return noted(subject, f"none at {database}", to_do)


def _room(subject: str, folder: Path, free: int, needed: int) -> Finding:
    said = f"{size(free)} free"
    if free >= needed:
        return good(subject, said)
    fault = f"Make room on the disk of {folder}: at least {size(needed)} are needed."
    return wrong(subject, HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.DISK_FULL, fault), said)


def _setting(message: str) -> HarmonyError:
    return HarmonyError(ErrorCode.VALIDATION_ERROR, Reason.SETTING, message)


def _hung(folder: Path) -> HarmonyError:
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.SHARE_HUNG,
        f"Check that the disk or share of {folder} is mounted and its server is up.",
    )


def size(number: float) -> str:
    """Bytes as people read them."""
    for unit in ("B", "KiB", "MiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} GiB"


def known_tracks(store: Catalogue | None) -> list[Row]:
    """What earlier runs saw of the library's files."""
    return store.table(tables.beets_tracks) if store else []


def lines_to_review(store: Catalogue | None) -> list[Any]:
    """The lines of the watchlist that name nobody for certain."""
    return store.table(tables.watchlist_review) if store else []
