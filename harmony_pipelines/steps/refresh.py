"""List many artists in one process: a few threads read Spotify, the caller's thread commits.

The bodies of what is listed are read afterwards, in `steps/backlog.py`: no listing waits for them.
"""

import json
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.discographies import (
    Attempt,
    Saved,
    Stored,
    attempted_between,
    put_last,
    save_discography,
    save_failure,
    stored,
)
from harmony_pipelines.clients.pool import in_pool
from harmony_pipelines.clients.quota import COUNTED
from harmony_pipelines.clients.spotify import (
    FAILURES_IN_A_ROW,
    SHORT_PAGE,
    Look,
    SpotifyClient,
    concerns_everybody,
    list_artist,
)
from harmony_pipelines.domain.cadence import is_sweep_due
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.discography import ArtistCatalogue
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

ARTIST_SECONDS = 1800.0
"""The longest that one artist may take; a run may have less left."""

_UNANSWERED = frozenset({ErrorCode.DEPENDENCY_ERROR, ErrorCode.DEADLINE_EXCEEDED})


@dataclass(frozen=True)
class Target:
    """An artist to refresh."""

    artist_id: str
    partition_key: str
    name: str
    groups: tuple[str, ...]
    has_baseline: bool = True
    """Whether it was listed before: those who were come before those who were not."""


@dataclass(frozen=True)
class Brought:
    """What reading one artist took and brought; a failure in the middle keeps what came."""

    catalogue: ArtistCatalogue | None
    error: HarmonyError | None
    is_everybodys: bool
    """Whether the failure would meet the next artist as well."""
    requests: int
    seconds: float


@dataclass(frozen=True)
class Refreshed:
    """One artist whose refresh was committed."""

    target: Target
    saved: Saved
    brought: Brought


@dataclass(frozen=True)
class Reader:
    """Reads one artist from Spotify; safe for several threads at a time."""

    client: SpotifyClient
    catalogue: Catalogue
    market: str
    deadline: Deadline
    sweep: bool = False
    """Read everything to its end, also where a look at the newest would do."""
    artist_seconds: float = ARTIST_SECONDS

    def read(self, target: Target) -> Brought:
        """The artist where it is due, and the listings."""
        began = time.monotonic()
        deadline = self.deadline.sooner(
            self.artist_seconds, f"one artist ({self.artist_seconds:g} s)"
        )
        client = self.client.within(deadline)
        known = stored(self.catalogue, target.artist_id)
        catalogue, error = None, None
        try:
            look = self._look(target, known)
            catalogue = list_artist(client, target.artist_id, target.groups, look)
            error = catalogue.error
        except HarmonyError as failure:
            error = failure
        too_slow = (
            error is not None and error.reason is Reason.DEADLINE and deadline is not self.deadline
        )
        return Brought(
            catalogue,
            error,
            is_everybodys=error is not None and concerns_everybody(error) and not too_slow,
            requests=sum(client.requests[family] for family in COUNTED),
            seconds=time.monotonic() - began,
        )

    def _look(self, target: Target, known: Stored) -> Look:
        """The cheapest look that misses nothing: one page where one held all there was.

        Listings hide what is added with an old date behind the newest; so each is read to its end
        once in a while, and whenever groups or market are others than the last time.
        """
        now = datetime.now(UTC)
        as_before = known.market == self.market and known.groups == frozenset(target.groups)
        short = as_before and known.listed <= SHORT_PAGE
        to_the_end = short or self.sweep or not as_before or is_sweep_due(known.listed_at, now)
        return Look(
            combined=short,
            with_artist=self.sweep or is_sweep_due(known.artist_at, now),
            known=None if to_the_end else known.seen,
        )


@dataclass
class Refresh:
    """One run over many artists; what is everybody's fault stops it once.

    When the run is stopped, what was in flight is still committed, and the artists not begun stay
    due.
    """

    catalogue: Catalogue
    read: Callable[[Target], Brought]
    attempt: Attempt
    workers: int
    lock: Callable[[Target], AbstractContextManager[None]] = lambda _: nullcontext()
    """Keeps other runs from an artist between reading and committing; CONFLICT if one is at it."""
    again: bool = True
    """Refresh also those whom another run refreshed since this attempt began."""
    stopped: HarmonyError | None = None
    busy: list[tuple[Target, HarmonyError]] = field(default_factory=list, init=False)
    """The artists at which another run is just now; that one commits them."""
    _in_a_row: int = field(default=0, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)

    def artists(self, targets: Sequence[Target]) -> Generator[Refreshed, None, None]:
        """Refresh the targets; each comes back once it is committed.

        No first listing is begun before all others are over: budgets are for these first.
        """
        first = [target for target in targets if not target.has_baseline]
        for some in ([target for target in targets if target.has_baseline], first):
            yield from self._artists(some)

    def _artists(self, targets: list[Target]) -> Generator[Refreshed, None, None]:
        if not targets:
            return
        with closing(in_pool(self._read, self._until_stopped(targets), self.workers)) as results:
            for target, (brought, held) in results:
                with held:
                    saved = self._save(target, brought) if brought else None
                if brought and saved:
                    yield Refreshed(target, saved, brought)

    def _until_stopped(self, targets: Iterable[Target]) -> Iterator[Target]:
        for target in targets:
            if self.stopped:
                return
            yield target

    def _read(self, target: Target) -> tuple[Brought | None, ExitStack]:
        """Read in a thread of the pool, and judge there: before it begins the next artist.

        Nothing is brought of an artist that is another run's; the lock is held until the commit.
        """
        held = ExitStack()
        try:
            held.enter_context(self.lock(target))
        except HarmonyError as busy:
            self.busy.append((target, busy))
            return None, held
        if not self.again and self._was_refreshed_meanwhile(target):
            return None, held
        brought = self.read(target)
        with self._lock:
            if not self.stopped and self._stops(brought):
                self.stopped = brought.error
        return brought, held

    def _was_refreshed_meanwhile(self, target: Target) -> bool:
        began, now = self.attempt.now, datetime.now(UTC)
        return attempted_between(self.catalogue, target.artist_id, began, now)

    def _save(self, target: Target, brought: Brought) -> Saved | None:
        attempt = replace(
            self.attempt,
            now=datetime.now(UTC),
            requests=brought.requests,
            stopped=brought.is_everybodys,
        )
        if brought.catalogue is not None:
            return save_discography(self.catalogue, brought.catalogue, attempt)
        error = brought.error
        if error is None or brought.is_everybodys:
            put_last(self.catalogue, target.artist_id, attempt.now)
            return None  # this artist did not fail and stays due
        status = "gone" if error.reason is Reason.UNKNOWN_ARTIST else "failed"
        return save_failure(self.catalogue, target.artist_id, error, status, attempt)

    def _stops(self, brought: Brought) -> bool:
        error = brought.error
        self._in_a_row = self._in_a_row + 1 if error and error.code in _UNANSWERED else 0
        if error is None:
            return False
        return brought.is_everybodys or self._in_a_row >= FAILURES_IN_A_ROW


def targets_of(rows: Iterable[Row]) -> list[Target]:
    """The targets that rows of `watchlist` name."""
    return [
        Target(
            row["artist_id"],
            row["partition_key"],
            row["name"],
            tuple(json.loads(row["groups"])),
            has_baseline=row.get("baseline_at", "") is not None,
        )
        for row in rows
    ]
