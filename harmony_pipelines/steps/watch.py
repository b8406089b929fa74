"""Bring the tables of whom the user watches up to date with `watchlist.yaml`."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row, utc_text
from harmony_pipelines.clients.watchlist import read_watchlist
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.identifiers import artist_id_in, partition_key
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
    log: Callable[[str], object]


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
    settler = Settler(_memory(store), sources.open_lookup, now)
    if beets:
        in_file = {entry.text for entry in watchlist.entries}
        cost = sum(settler.must_ask(each) and each.text not in in_file for each in beets)
        sources.log(
            f"from_beets names {len(beets)} artists of the library; "
            f"asking Spotify about those that are new costs {cost} requests."
        )
    settled = _settled(settler, watchlist.entries, beets)
    rows = _rows(store, settled, watchlist.default_groups or settings.album_groups, now)
    if fault:
        settler.problems.append(problem(fault))
        followed = {row["artist_id"] for row in rows}
        rows += [
            row for row in watched if row["source"] == BEETS and row["artist_id"] not in followed
        ]
    store.replace_all({tables.watchlist: rows, tables.watchlist_review: settler.review})
    return WatchlistRead(
        store.table(tables.watchlist),
        store.table(tables.watchlist_review),
        settler.problems,
        settler.waiting,
        settler.stopped,
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


def _memory(store: Catalogue) -> Memory:
    return Memory(
        names={row["text"]: row for row in store.table(tables.watchlist_names)},
        review={row["text"]: row for row in store.table(tables.watchlist_review)},
        keep=lambda row: store.save(tables.watchlist_names, [row]),
        keep_artist=lambda row: store.save(tables.spotify_artists, [row]),
    )


def _settled(
    settler: Settler, entries: Iterable[WatchlistEntry], beets: Iterable[WatchlistEntry]
) -> list[tuple[WatchlistEntry, Resolved]]:
    """Each artist once, by the first line that names them; the file's lines come first."""
    first, duplicates = split_duplicates(settler.settle(entries))
    for duplicate in duplicates:
        settler.to_review(duplicate.entry, duplicate.problem)
    by_artist = {artist.artist_id: (entry, artist) for entry, artist in first}
    for entry, artist in settler.settle(beets):
        by_artist.setdefault(artist.artist_id, (entry, artist))
    return list(by_artist.values())


def _rows(
    store: Catalogue,
    settled: Iterable[tuple[WatchlistEntry, Resolved]],
    groups: tuple[str, ...],
    now: datetime,
) -> list[Row]:
    """The rows of `watchlist`; a key once given stays, whatever the artist is called later."""
    known = {row["artist_id"]: row for row in store.table(tables.watchlist)}
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
