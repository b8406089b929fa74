"""Whom the user follows: what the watchlist says, who is meant, which partitions change."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.library_artists import Known
from harmony_pipelines.domain.titles import comparable_name

ALBUM_GROUPS = ("album", "single", "compilation", "appears_on")
"""The album groups an artist may be followed in."""

_CANDIDATES_SHOWN = 5
_UNKNOWN = Known()


@dataclass(frozen=True)
class WatchlistEntry:
    """One artist as the user wrote it; `artist_id` where that was an id, a URI or a link."""

    text: str
    line: int
    """Where it stands in the file; negative for an album artist of the library."""
    groups: tuple[str, ...] | None = None
    paused: bool = False
    artist_id: str | None = None
    problem: HarmonyError | None = None
    """Why this entry alone cannot be followed; the others can."""

    @property
    def is_in_file(self) -> bool:
        """Whether the user wrote it; else the library names the artist."""
        return self.line > 0

    def line_for(self, artist: "Candidate") -> str:
        """The line of the watchlist that means this artist, with the entry's own options."""
        options = [f"groups: [{', '.join(self.groups)}]"] if self.groups else []
        options += ["paused: true"] if self.paused else []
        whom = artist.artist_id
        if options:
            whom = f"{{artist: {whom}, {', '.join(options)}}}"
        return f"- {whom}  # {' '.join(artist.name.split())}"


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


Evidence = Literal["id", "library", "search", "file"]
"""How it is known who is meant: the entry is an id; the library has an id for the name; one search
found one artist of that name; the user's file follows one of the candidates."""


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


def resolve_by_library(entry: WatchlistEntry, known: Known, artist: Candidate) -> Resolved | Review:
    """Who is meant where the library has one Spotify id for the name; `artist` is whose it is.

    An album by several artists has the id of the first alone: so the names must agree.
    """
    if comparable_name(artist.name) in known.names:
        return Resolved(artist.artist_id, artist.name, "library")
    return Review(
        (artist,),
        ErrorCode.VALIDATION_ERROR,
        Reason.AMBIGUOUS_NAME,
        f"Your library's id for “{entry.text}” is that of “{artist.name}” on Spotify. If they are "
        f"meant: {_advice(entry, (artist,))}",
    )


def resolve_by_search(
    entry: WatchlistEntry, found: Iterable[Candidate], known: Known = _UNKNOWN
) -> Resolved | Review:
    """Who is meant among those whom a search found; one of just the name, or nobody for certain."""
    candidates = _distinct(found)
    name = comparable_name(entry.text)
    same = [each for each in candidates if comparable_name(each.name) == name]
    if len(same) > 1:
        return ambiguous(entry, same, "on Spotify")
    if not same:
        return _not_found(entry, candidates)
    if known.namesakes > 1:
        return Review(
            tuple(same),
            ErrorCode.VALIDATION_ERROR,
            Reason.AMBIGUOUS_NAME,
            f"{known.namesakes} artists of your library are called “{entry.text}” (MusicBrainz "
            f"tells them apart), and one on Spotify. If that one is meant: {_advice(entry, same)}",
        )
    return Resolved(same[0].artist_id, same[0].name, "search")


def ambiguous(
    entry: WatchlistEntry, candidates: Sequence[Candidate], where: str = "in your library"
) -> Review:
    """The review of a name that several artists have."""
    return Review(
        tuple(candidates),
        ErrorCode.VALIDATION_ERROR,
        Reason.AMBIGUOUS_NAME,
        f"{len(candidates)} artists {where} are called “{entry.text}”. "
        f"{_advice(entry, candidates)}",
    )


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


def _distinct(candidates: Iterable[Candidate]) -> list[Candidate]:
    first: dict[str, Candidate] = {}
    for candidate in candidates:
        first.setdefault(candidate.artist_id, candidate)
    return list(first.values())


def _not_found(entry: WatchlistEntry, near: Sequence[Candidate]) -> Review:
    advice = (
        _advice(entry, near)
        if near
        else "Write the artist's id or link into the watchlist instead."
    )
    return Review(
        tuple(near),
        ErrorCode.NOT_FOUND,
        Reason.UNKNOWN_ARTIST,
        f"Spotify knows no artist called exactly “{entry.text}”. {advice}",
    )


def _advice(entry: WatchlistEntry, candidates: Sequence[Candidate]) -> str:
    """What to do, with the lines to paste."""
    what = (
        "Replace the line in the watchlist by"
        if entry.is_in_file
        else "Add to `artists:` in the watchlist"
    )
    lines = [f"`{entry.line_for(each)}`" for each in candidates[:_CANDIDATES_SHOWN]]
    return f"{what} {'one of: ' if len(lines) > 1 else ''}{' or '.join(lines)}"
