"""Bring the tables of whom the user watches up to date with `watchlist.yaml`."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row, utc_text
from harmony_pipelines.clients.watchlist import read_watchlist
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.identifiers import artist_id_in, partition_key
from harmony_pipelines.domain.library_artists import Known, LibraryArtists
from harmony_pipelines.domain.titles import is_various_artists
from harmony_pipelines.domain.watchlist import (
    FromBeets,
    Resolved,
    Watchlist,
    WatchlistEntry,
    split_duplicates,
)
from harmony_pipelines.settings import Settings
from harmony_pipelines.steps.settle import ArtistLookup, Memory, Settler, problem

BEETS = "beets"
FILE = "file"


@dataclass(frozen=True)
class Sources:
    """Who is asked about the names, and who is told what that costs."""

    open_lookup: Callable[[], ArtistLookup]
    album_artists: Callable[[str], Counter[str]]
    """The library's album artists that a beets query finds, with their number of albums."""
    library_artists: Callable[[], LibraryArtists]
    """Whom the library knows by an id; asked only where a name is to be settled."""
    log: Callable[[str], object]


@dataclass(frozen=True)
class BeetsCost:
    """How many artists `from_beets` names, and what those that are new cost in requests."""

    artists: int
    new: int
    by_id: int
    """New ones of whom the library has an id: one request, which their first look saves."""
    by_search: int
    """New ones whom one search each must find."""
    listings: int
    """The least that listing the new ones takes; their releases cost one each on top."""

    def __str__(self) -> str:
        """The cost, as a run says it before its first call."""
        settling = self.by_id + self.by_search
        return (
            f"from_beets names {self.artists} artists of the library, {self.new} of them new. "
            f"Settling who they are costs {settling} requests ({self.by_id} by an id that the "
            f"library has, {self.by_search} by a search); then listing their releases costs at "
            f"least {self.listings}, and each release one more."
        )


@dataclass(frozen=True)
class WatchlistRead:
    """Who is watched, what the user must look at, and what went wrong."""

    watched: list[Row]
    review: list[Row]
    problems: list[dict[str, Any]] = field(default_factory=list)
    waiting: int = 0
    """Names that were not asked about: the next run does."""
    stopped: HarmonyError | None = None
    """The fault that is everybody's, after which nobody more was asked about."""
    from_beets: BeetsCost | None = None


def read(settings: Settings, store: Catalogue, sources: Sources, now: datetime) -> WatchlistRead:
    """Bring the tables `watchlist` and `watchlist_review` up to date with the file.

    An unreadable file drops nobody: whoever was watched stays, and the fault is a problem of the
    run. Only where nobody was watched yet is there nothing to go on with.
    """
    watched = store.table(tables.watchlist)
    try:
        watchlist = read_watchlist(settings.watchlist_path)
        beets, fault = _from_beets(watchlist, sources)
    except HarmonyError as error:
        if not watched:
            raise
        return WatchlistRead(watched, store.table(tables.watchlist_review), [problem(error)])
    groups = watchlist.default_groups or settings.album_groups
    reviewed = store.table(tables.watchlist_review)
    settler = Settler(
        _memory(store, reviewed),
        sources.open_lookup,
        now,
        _known(sources),
        workers=settings.spotify_concurrency,
    )
    cost = _cost(settler, watchlist.entries, beets, len(groups)) if beets else None
    if cost:
        sources.log(str(cost))
    rows = _rows(store, watched, _settled(settler, watchlist.entries, beets), groups, now)
    if fault:
        settler.problems.append(problem(fault))
        followed = {row["artist_id"] for row in rows}
        rows += [
            row for row in watched if row["source"] == BEETS and row["artist_id"] not in followed
        ]
    rows.sort(key=lambda row: row["artist_id"])
    review = sorted(settler.review, key=lambda row: row["line"])
    if rows != watched or review != reviewed:
        store.replace_all({tables.watchlist: rows, tables.watchlist_review: review})
    return WatchlistRead(
        rows,
        review,
        settler.problems,
        settler.waiting,
        settler.stopped,
        cost,
    )


def chosen(wanted: Iterable[str], watched: list[Row]) -> tuple[list[Row], list[dict[str, Any]]]:
    """The watched artists that are named, and what is wrong about the names of nobody watched.

    Ids, URIs, links, partition keys and names of the watchlist name an artist.
    """
    by_name: dict[str, Row] = {}
    for row in watched:
        for name in (row["artist_id"], row["partition_key"], row["name"].casefold()):
            by_name.setdefault(name, row)
    found: dict[str, Row] = {}
    problems: list[dict[str, Any]] = []
    for text in wanted:
        row = by_name.get(_artist_id(text) or text.strip()) or by_name.get(text.strip().casefold())
        if row:
            found[row["artist_id"]] = row
        else:
            problems.append(problem(_not_watched(text), artist=text[:100]))
    return list(found.values()), problems


def _not_watched(text: str) -> HarmonyError:
    return HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.RUN_CONFIG,
        f"{text[:100]!r} is not on the watchlist. Add a line to watchlist.yaml, or name a "
        "partition key of the asset spotify_artists.",
    )


def _artist_id(text: str) -> str | None:
    try:
        return artist_id_in(text)
    except HarmonyError:
        return None


def _from_beets(
    watchlist: Watchlist, sources: Sources
) -> tuple[list[WatchlistEntry], HarmonyError | None]:
    """The library's album artists as lines after the file's own, or why they are not known."""
    wanted = watchlist.from_beets
    if wanted is None:
        return [], None
    try:
        names = _names_in_library(wanted, sources.album_artists(wanted.query))
    except HarmonyError as error:
        if not watchlist.entries:
            raise
        return [], error
    if not (names or watchlist.entries):
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.WATCHLIST,
            "from_beets finds nobody in the library and watchlist.yaml names no other artist; "
            "until one does everybody stays.",
        )
    return [WatchlistEntry(name, line=-number) for number, name in enumerate(names, 1)], None


def _names_in_library(wanted: FromBeets, albums: Counter[str]) -> list[str]:
    """Those with the most albums first."""
    ranked = sorted(albums.items(), key=lambda item: (-item[1], item[0]))
    names = [
        name
        for name, count in ranked
        if count >= wanted.min_albums and not is_various_artists(name)
    ]
    return names[: wanted.limit]


def _cost(
    settler: Settler,
    entries: Iterable[WatchlistEntry],
    beets: list[WatchlistEntry],
    groups: int,
) -> BeetsCost:
    in_file = {entry.text for entry in entries}
    asked = Counter(settler.question(each) for each in beets if each.text not in in_file)
    by_id, by_search = asked["artists"], asked["search"]
    new = by_id + by_search
    return BeetsCost(len(beets), new, by_id, by_search, listings=new * groups + by_search)


def _known(sources: Sources) -> Callable[[str], Known]:
    """What the library knows of a name; it is read once, and only if anything is asked."""

    @cache
    def artists() -> LibraryArtists:
        try:
            return sources.library_artists()
        except HarmonyError as error:
            sources.log(f"Names are settled without the library's ids: {error.message}")
            return LibraryArtists()

    return lambda name: artists().known(name)


def _memory(store: Catalogue, reviewed: list[Row]) -> Memory:
    return Memory(
        names={row["text"]: row for row in store.table(tables.watchlist_names)},
        review={row["text"]: row for row in reviewed},
        keep=lambda row: store.save(tables.watchlist_names, [row], durable=False),
        keep_artist=lambda row: store.save(tables.spotify_artists, [row], durable=False),
    )


def _settled(
    settler: Settler, entries: Sequence[WatchlistEntry], beets: Sequence[WatchlistEntry]
) -> list[tuple[WatchlistEntry, Resolved]]:
    """Each artist once, by the first line that names them; the file's lines come first."""
    first, duplicates = split_duplicates(settler.settle(entries))
    for duplicate in duplicates:
        settler.to_review(duplicate.entry, duplicate.problem)
    by_artist = {artist.artist_id: (entry, artist) for entry, artist in first}
    settler.followed.update(by_artist)
    for entry, artist in settler.settle(beets):
        by_artist.setdefault(artist.artist_id, (entry, artist))
    return list(by_artist.values())


def _rows(
    store: Catalogue,
    watched: list[Row],
    settled: Iterable[tuple[WatchlistEntry, Resolved]],
    groups: tuple[str, ...],
    now: datetime,
) -> list[Row]:
    """The rows of `watchlist`; a key once given stays, whatever the artist is called later."""
    known = {row["artist_id"]: row for row in watched}
    names = {row["artist_id"]: row["name"] for row in store.table(tables.spotify_artists)}
    rows: list[Row] = []
    for entry, artist in settled:
        name = names.get(artist.artist_id) or artist.name
        before = known.get(artist.artist_id)
        in_file = entry.line > 0
        rows.append(
            {
                "artist_id": artist.artist_id,
                "partition_key": before["partition_key"]
                if before
                else partition_key(name, artist.artist_id),
                "name": name,
                "line": entry.line if in_file else None,
                "source": FILE if in_file else BEETS,
                "groups": json.dumps(list(entry.groups or groups)),
                "paused": int(entry.paused),
                "added_at": before["added_at"] if before else utc_text(now),
            }
        )
    return rows
