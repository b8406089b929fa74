"""Whom the user follows: what the watchlist says, who is meant, which partitions change."""

import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

ALBUM_GROUPS = ("album", "single", "compilation", "appears_on")
"""The album groups an artist may be followed in."""

_CANDIDATES_SHOWN = 5


@dataclass(frozen=True)
class WatchlistEntry:
    """One artist as the user wrote it; `artist_id` where that was an id, a URI or a link."""

    text: str
    line: int
    groups: tuple[str, ...] | None = None
    paused: bool = False
    artist_id: str | None = None
    problem: HarmonyError | None = None
    """Why this entry alone cannot be followed; the others can."""


@dataclass(frozen=True)
class FromBeets:
    """Which album artists of the library are followed too."""

    query: str = ""
    min_albums: int = 2
    limit: int = 500


@dataclass(frozen=True)
class Watchlist:
    """The contents of `watchlist.yaml`."""

    entries: tuple[WatchlistEntry, ...]
    default_groups: tuple[str, ...] | None = None
    from_beets: FromBeets | None = None


@dataclass(frozen=True)
class Candidate:
    """An artist who may be meant."""

    artist_id: str
    name: str


Evidence = Literal["id", "library", "search"]


@dataclass(frozen=True)
class Resolved:
    """The artist a name stands for, and how that is known."""

    artist_id: str
    name: str
    evidence: Evidence


@dataclass(frozen=True)
class Review:
    """A name that is not certain: the user chooses, nothing is guessed."""

    candidates: tuple[Candidate, ...]
    code: ErrorCode
    reason: Reason
    message: str


def resolve_name(
    name: str, library_hits: Iterable[Candidate], search_results: Iterable[Candidate]
) -> Resolved | Review:
    """The artist a name stands for; what the library knows beats what the search found."""
    known = _distinct(library_hits)
    if len(known) == 1:
        return Resolved(known[0].artist_id, known[0].name, "library")
    if known:
        return _ambiguous(name, known, "in your library")
    found = _distinct(search_results)
    same = [candidate for candidate in found if _comparable(candidate.name) == _comparable(name)]
    if len(same) == 1:
        return Resolved(same[0].artist_id, same[0].name, "search")
    return _ambiguous(name, same, "on Spotify") if same else _not_found(name, found)


@dataclass(frozen=True)
class Duplicate:
    """An entry that names the same artist as an earlier line."""

    entry: WatchlistEntry
    first_line: int

    @property
    def problem(self) -> HarmonyError:
        """What to tell the user."""
        return HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.WATCHLIST,
            f"Line {self.entry.line} names the same artist as line {self.first_line}, which "
            "counts; remove one of them.",
            line=self.entry.line,
            first_line=self.first_line,
        )


def split_duplicates(
    resolved: Iterable[tuple[WatchlistEntry, Resolved]],
) -> tuple[list[tuple[WatchlistEntry, Resolved]], list[Duplicate]]:
    """Each artist by its first line, and the later lines that name it again."""
    first: dict[str, tuple[WatchlistEntry, Resolved]] = {}
    duplicates: list[Duplicate] = []
    for entry, artist in sorted(resolved, key=lambda pair: pair[0].line):
        earlier = first.setdefault(artist.artist_id, (entry, artist))[0]
        if earlier is not entry:
            duplicates.append(Duplicate(entry, earlier.line))
    return list(first.values()), duplicates


@dataclass(frozen=True)
class PartitionChanges:
    """The partition keys to register and to remove."""

    add: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()


def partition_changes(
    watched_keys: Collection[str] | None,
    registered_keys: Collection[str],
    in_flight: Collection[str] = (),
) -> PartitionChanges:
    """What to change so that exactly the watched artists have a partition.

    `watched_keys` is None where the watchlist could not be read: neither a failed read nor an
    empty one drops anybody, and nobody is dropped under a run that is in flight.
    """
    if not watched_keys:
        return PartitionChanges()
    watched, registered, busy = dict.fromkeys(watched_keys), set(registered_keys), set(in_flight)
    return PartitionChanges(
        add=tuple(key for key in watched if key not in registered),
        drop=tuple(key for key in registered_keys if key not in watched and key not in busy),
    )


def _comparable(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.artist_id, candidate)
    return list(first.values())


def _ambiguous(name: str, candidates: Sequence[Candidate], where: str) -> Review:
    return Review(
        tuple(candidates),
        ErrorCode.VALIDATION_ERROR,
        Reason.AMBIGUOUS_NAME,
        f"{len(candidates)} artists {where} are called “{name}”. Replace the line in the "
        f"watchlist by one of: {_lines(candidates)}",
    )


def _not_found(name: str, near: Sequence[Candidate]) -> Review:
    advice = (
        f" Replace the line in the watchlist by one of: {_lines(near)}"
        if near
        else (" Write the artist's id or link into the watchlist instead.")
    )
    return Review(
        tuple(near),
        ErrorCode.NOT_FOUND,
        Reason.UNKNOWN_ARTIST,
        f"Spotify knows no artist called exactly “{name}”.{advice}",
    )


def _lines(candidates: Sequence[Candidate]) -> str:
    shown = candidates[:_CANDIDATES_SHOWN]
    return " or ".join(f"`- {each.artist_id}  # {' '.join(each.name.split())}`" for each in shown)
