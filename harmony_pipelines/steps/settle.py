"""Settle who is meant by each name of the watchlist; only what is new is asked of Spotify."""

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import takewhile
from threading import Event
from typing import Any, Literal, Protocol

from harmony_pipelines.clients.catalogue import Row, utc_text
from harmony_pipelines.clients.pool import in_pool
from harmony_pipelines.clients.spotify import FAILURES_IN_A_ROW, concerns_everybody
from harmony_pipelines.domain.discography import artist_row
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines.domain.identifiers import artist_id_of
from harmony_pipelines.domain.library_artists import Known
from harmony_pipelines.domain.watchlist import (
    Candidate,
    Resolved,
    Review,
    WatchlistEntry,
    ambiguous,
    resolve_by_library,
    resolve_by_search,
)

ASK_AGAIN_AFTER = timedelta(hours=24)
"""How long a name that Spotify did not settle is left to the user; then ever longer, up to
`LONGEST_LEFT`: nobody may be looking, and each question costs a request."""

LONGEST_LEFT = timedelta(days=30)


class ArtistLookup(Protocol):
    """What settling needs of the Spotify client."""

    def artist(self, artist_id: str) -> dict[str, Any]:
        """The artist of an id."""
        ...

    def search_artists(self, name: str) -> list[dict[str, Any]]:
        """Artists whose names are like this one."""
        ...


@dataclass(frozen=True)
class Memory:
    """What earlier runs found out, by the text of the line."""

    names: dict[str, Row]
    review: Mapping[str, Row]
    keep: Callable[[Row], None]
    """Stores a row of `watchlist_names` at once, so that no request is ever spent twice."""

    keep_artist: Callable[[Row], None]
    """Stores a row of `spotify_artists`: the first refresh need not ask for it again."""

    def remember(self, row: Row) -> None:
        """Know a name from now on."""
        self.names[row["text"]] = row
        self.keep(row)


@dataclass
class Settler:
    """Settles entry by entry; collects what the user must look at and what went wrong."""

    memory: Memory
    open_lookup: Callable[[], ArtistLookup]
    now: datetime
    library: Callable[[str], Known]
    """What the user's library knows of a name."""
    followed: set[str] = field(default_factory=set)
    """The artists whom the user's file names: of several candidates the user chose these."""
    review: list[Row] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    waiting: int = 0
    """Names that a fault which is everybody's left for the next run."""
    stopped: HarmonyError | None = None
    workers: int = 1
    """How many are asked about at once."""
    _lookup: ArtistLookup | None = None
    _refused: dict[str, HarmonyError] = field(default_factory=dict)
    _in_a_row: int = 0

    def settle(self, entries: Sequence[WatchlistEntry]) -> list[tuple[WatchlistEntry, Resolved]]:
        """The entries that are settled, each with the artist who is meant."""
        self._look_up_ids(entries)
        return [(entry, artist) for entry in entries if (artist := self._settle(entry))]

    def to_review(
        self,
        entry: WatchlistEntry,
        error: HarmonyError,
        candidates: tuple[Candidate, ...] = (),
        checked_at: str | None = None,
    ) -> None:
        """Leave the entry to the user."""
        shown = [{"artist_id": each.artist_id, "name": each.name} for each in candidates]
        before = self.memory.review.get(entry.text)
        now = utc_text(self.now)
        self.review.append(
            {
                "line": entry.line,
                "text": entry.text,
                "candidates": json.dumps(shown, ensure_ascii=False),
                "code": str(error.code),
                "message": error.message,
                "first_seen_at": before["first_seen_at"] if before else now,
                "checked_at": checked_at,
            }
        )

    def question(self, entry: WatchlistEntry) -> Literal["artists", "search"] | None:
        """The family of the request that settling the entry costs; None where it costs none."""
        if entry.problem or entry.text in self.memory.names or self._was_asked_lately(entry):
            return None
        if entry.artist_id:
            return "artists"
        ids = self.library(entry.text).artist_ids
        if not ids:
            return "search"
        return "artists" if len(ids) == 1 else None

    def _look_up_ids(self, entries: Iterable[WatchlistEntry]) -> None:
        """Ask about the entries that are ids, several at once; each answer is kept as it comes.

        What went wrong is dealt with in the order of the entries.
        """
        asked = (each for each in entries if each.artist_id and self.question(each) == "artists")
        by_id = {each.artist_id or "": each for each in asked}
        if self.workers < 2 or len(by_id) < 2 or self.stopped:
            return
        with suppress(HarmonyError):  # else the first entry says it
            self._spotify()
        if self._lookup is None:
            return
        for artist_id, answer in self._answers(self._lookup, by_id):
            if isinstance(answer, HarmonyError):
                self._refused[artist_id] = answer
            else:
                found = self._kept(artist_id, answer)
                self._remembered(by_id[artist_id], Resolved(artist_id, found.name, "id"))

    def _answers(
        self, lookup: ArtistLookup, artist_ids: Collection[str]
    ) -> Iterator[tuple[str, Row | HarmonyError]]:
        """What is said of each artist; nobody more is asked about once something is amiss."""
        is_over = Event()

        def until_over() -> Iterator[str]:
            yield from takewhile(lambda _: not is_over.is_set(), artist_ids)

        def look(artist_id: str) -> Row | HarmonyError:
            try:
                return artist_row(lookup.artist(artist_id))
            except HarmonyError as error:
                if error.code is not ErrorCode.NOT_FOUND:
                    is_over.set()
                return error

        workers = min(self.workers, len(artist_ids))
        with closing(in_pool(look, until_over(), workers)) as answers:
            yield from answers

    def _settle(self, entry: WatchlistEntry) -> Resolved | None:
        if entry.problem:
            self.to_review(entry, entry.problem)
            return None
        known = self.memory.names.get(entry.text)
        if known:
            return Resolved(known["artist_id"], known["name"], known["evidence"])
        before = self.memory.review.get(entry.text)
        if before and (chosen := self._chosen(entry, _candidates(before))):
            return self._remembered(entry, chosen)
        if before and (self.stopped or self._was_asked_lately(entry)):
            self.review.append({**before, "line": entry.line})
            return None
        if self.stopped:
            self.waiting += 1
            return None
        return self._asked(entry)

    def _chosen(self, entry: WatchlistEntry, candidates: Iterable[Candidate]) -> Resolved | None:
        """The one candidate for a name of the library whom the user's file follows."""
        followed = [each for each in candidates if each.artist_id in self.followed]
        if entry.is_in_file or len(followed) != 1:
            return None
        return Resolved(followed[0].artist_id, followed[0].name, "file")

    def _was_asked_lately(self, entry: WatchlistEntry) -> bool:
        before = self.memory.review.get(entry.text)
        if not (before and before["checked_at"]):
            return False
        asked = datetime.fromisoformat(before["checked_at"])
        waited = asked - datetime.fromisoformat(before["first_seen_at"])
        return self.now - asked < min(max(ASK_AGAIN_AFTER, waited), LONGEST_LEFT)

    def _asked(self, entry: WatchlistEntry) -> Resolved | None:
        try:
            found = self._ask(entry)
        except HarmonyError as error:
            self._give_up(entry, error)
            return None
        self._in_a_row = 0
        if isinstance(found, Resolved):
            return self._remembered(entry, found)
        chosen = self._chosen(entry, found.candidates)
        if chosen:
            return self._remembered(entry, chosen)
        error = HarmonyError(found.code, found.reason, found.message)
        self.to_review(entry, error, found.candidates, utc_text(self.now))
        return None

    def _remembered(self, entry: WatchlistEntry, artist: Resolved) -> Resolved:
        self.memory.remember(
            {
                "text": entry.text,
                "artist_id": artist.artist_id,
                "name": artist.name,
                "evidence": artist.evidence,
                "resolved_at": utc_text(self.now),
            }
        )
        return artist

    def _ask(self, entry: WatchlistEntry) -> Resolved | Review:
        if entry.artist_id:
            return Resolved(entry.artist_id, self._artist(entry.artist_id).name, "id")
        known = self.library(entry.text)
        if len(known.artist_ids) > 1:
            return ambiguous(entry, [Candidate(one, entry.text) for one in known.artist_ids])
        if known.artist_ids:
            try:
                return resolve_by_library(entry, known, self._artist(known.artist_ids[0]))
            except HarmonyError as error:
                if error.code is not ErrorCode.NOT_FOUND:
                    raise  # else the library's id is of an artist that Spotify has no more
        results = [_candidate(body) for body in self._spotify().search_artists(entry.text)]
        found = resolve_by_search(entry, results, known)
        if isinstance(found, Resolved):
            artist_id_of(found.artist_id)  # refuses whom nobody can follow
        return found

    def _artist(self, artist_id: str) -> Candidate:
        """The artist of an id; what is read of them is kept."""
        if refused := self._refused.pop(artist_id, None):
            raise refused
        return self._kept(artist_id, artist_row(self._spotify().artist(artist_id)))

    def _kept(self, artist_id: str, row: Row) -> Candidate:
        self.memory.keep_artist({**row, "fetched_at": utc_text(self.now)})
        return Candidate(artist_id, str(row["name"] or ""))

    def _spotify(self) -> ArtistLookup:
        self._lookup = self._lookup or self.open_lookup()
        return self._lookup

    def _give_up(self, entry: WatchlistEntry, error: HarmonyError) -> None:
        if concerns_everybody(error) or self._lookup is None:
            self.waiting += 1
            self.stopped = error
            return
        if error.code in (ErrorCode.NOT_FOUND, ErrorCode.VALIDATION_ERROR):
            self.to_review(entry, error, checked_at=utc_text(self.now))
            return
        self._in_a_row += 1
        self.problems.append(problem(error, artist=entry.text, line=entry.line))
        if self._in_a_row >= FAILURES_IN_A_ROW:
            self.stopped = error


def problem(error: HarmonyError, **where: object) -> dict[str, Any]:
    """An error as one row of what a run reports at its end."""
    return {
        **where,
        "code": str(error.code),
        "reason": str(error.reason),
        "message": error.message,
    }


def _candidates(review: Row) -> list[Candidate]:
    return [
        Candidate(each["artist_id"], each["name"])
        for each in json.loads(review["candidates"] or "[]")
    ]


def _candidate(body: dict[str, Any]) -> Candidate:
    row = artist_row(body)
    return Candidate(str(row["artist_id"]), str(row["name"] or ""))
