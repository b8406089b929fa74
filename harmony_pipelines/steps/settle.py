"""Settle who is meant by each name of the watchlist; only what is new is asked of Spotify."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from harmony_pipelines.clients.catalogue import Row, utc_text
from harmony_pipelines.clients.spotify import FAILURES_IN_A_ROW, concerns_everybody
from harmony_pipelines.domain.discography import artist_row
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines.domain.identifiers import artist_id_of
from harmony_pipelines.domain.watchlist import (
    Candidate,
    Resolved,
    Review,
    WatchlistEntry,
    resolve_name,
)

ASK_AGAIN_AFTER = timedelta(hours=24)
"""How long a name that Spotify did not settle is left to the user."""


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
    review: list[Row] = field(default_factory=list)
    problems: list[dict[str, Any]] = field(default_factory=list)
    waiting: int = 0
    """Names that a fault which is everybody's left for the next run."""
    stopped: HarmonyError | None = None
    _lookup: ArtistLookup | None = None
    _in_a_row: int = 0

    def settle(self, entries: Iterable[WatchlistEntry]) -> list[tuple[WatchlistEntry, Resolved]]:
        """The entries that are settled, each with the artist who is meant."""
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

    def must_ask(self, entry: WatchlistEntry) -> bool:
        """Whether settling the entry costs a request."""
        return not (
            entry.problem or entry.text in self.memory.names or self._was_asked_lately(entry)
        )

    def _settle(self, entry: WatchlistEntry) -> Resolved | None:
        if entry.problem:
            self.to_review(entry, entry.problem)
            return None
        known = self.memory.names.get(entry.text)
        if known:
            return Resolved(known["artist_id"], known["name"], known["evidence"])
        before = self.memory.review.get(entry.text)
        if before and (self.stopped or self._was_asked_lately(entry)):
            self.review.append({**before, "line": entry.line})
            return None
        if self.stopped:
            self.waiting += 1
            return None
        return self._asked(entry)

    def _was_asked_lately(self, entry: WatchlistEntry) -> bool:
        before = self.memory.review.get(entry.text)
        asked = before["checked_at"] if before else None
        return bool(asked) and self.now - datetime.fromisoformat(asked) < ASK_AGAIN_AFTER

    def _asked(self, entry: WatchlistEntry) -> Resolved | None:
        try:
            found = self._ask(entry)
        except HarmonyError as error:
            self._give_up(entry, error)
            return None
        self._in_a_row = 0
        if isinstance(found, Review):
            error = HarmonyError(found.code, found.reason, found.message)
            self.to_review(entry, error, found.candidates, utc_text(self.now))
            return None
        self.memory.remember(
            {
                "text": entry.text,
                "artist_id": found.artist_id,
                "name": found.name,
                "evidence": found.evidence,
                "resolved_at": utc_text(self.now),
            }
        )
        return found

    def _ask(self, entry: WatchlistEntry) -> Resolved | Review:
        self._lookup = self._lookup or self.open_lookup()
        if entry.artist_id:
            row = artist_row(self._lookup.artist(entry.artist_id))
            self.memory.keep_artist({**row, "fetched_at": utc_text(self.now)})
            return Resolved(entry.artist_id, str(row["name"] or ""), "id")
        results = [_candidate(body) for body in self._lookup.search_artists(entry.text)]
        found = resolve_name(entry.text, library_hits=(), search_results=results)
        if isinstance(found, Resolved):
            artist_id_of(found.artist_id)  # refuses whom nobody can follow
        return found

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


def _candidate(body: dict[str, Any]) -> Candidate:
    row = artist_row(body)
    return Candidate(str(row["artist_id"]), str(row["name"] or ""))
