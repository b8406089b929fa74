"""Work off what listings left to be read: album bodies, then ISRCs; each answer is committed."""

import threading
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime

from harmony_pipelines.clients.backlog import (
    Backlog,
    put_off,
    save_bodies,
    save_body_failure,
    save_isrcs,
)
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.pool import in_pool
from harmony_pipelines.clients.quota import COUNTED, ISRCS
from harmony_pipelines.clients.spotify import (
    BODIES,
    FAILURES_IN_A_ROW,
    MORE_TRACKS,
    TRACKS_A_PAGE,
    BodiesRead,
    SpotifyClient,
    concerns_everybody,
    read_bodies,
    waits_for_tracks,
)
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.discography import track_isrc
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError

Unit = tuple[str, Mapping[str, str]]
"""An artist, and the albums to ask for by one call, each with its group."""


@dataclass
class BodyWork:
    """Reads the bodies that wait, in the order of spending, until a budget or the time is over.

    A spent budget or time is no fault: what is left waits for the next run.
    """

    client: SpotifyClient
    catalogue: Catalogue
    backlog: Backlog
    deadline: Deadline
    until: Deadline
    """The sooner one after which no call is begun."""
    workers: int = 1
    stopped: HarmonyError | None = None
    waits_for: dict[str, HarmonyError] = field(default_factory=dict, init=False)
    """What kept bodies of an artist from being read that did not fail."""
    failed: dict[str, HarmonyError] = field(default_factory=dict, init=False)
    """The first failure of each artist of whom a body could not be read."""
    requests: Counter[str] = field(default_factory=Counter, init=False)
    """The calls made for each artist's bodies."""
    _left: Counter[str] = field(default_factory=Counter, init=False)
    _taken: set[tuple[str, str]] = field(default_factory=set, init=False)
    _failures: Counter[str] = field(default_factory=Counter, init=False)
    _in_a_row: list[str] = field(default_factory=list, init=False)
    _clients: threading.local = field(default_factory=threading.local, init=False)

    def artists(self) -> Generator[str, None, None]:
        """The ids of the artists as the last body of each is committed; at the end all others."""
        self._left = Counter(self.backlog.how_many_bodies())
        touched: dict[str, None] = {}
        if self._left:
            with closing(in_pool(self._read, self._units(), self.workers)) as results:
                for (artist_id, albums), (read, requests) in results:
                    touched[artist_id] = None
                    self._save(read, requests)
                    self._left[artist_id] -= len(albums)
                    if self._left[artist_id] <= 0:
                        self._settle(artist_id)
                        del touched[artist_id]
                        yield artist_id
        for artist_id in touched:
            self._settle(artist_id)
            yield artist_id
        if self.stopped and self._left:
            put_off(self.catalogue, self.stopped, self._left)

    def _units(self) -> Iterator[Unit]:
        if not self._may_go_on():
            return
        a_call = self.client.albums_a_call
        for row in self.backlog.bodies():
            if not self._is_worth_asking(row):
                continue
            if not self._may_go_on():
                return
            rows = self._asked_together(row, a_call)
            albums = {each["album_id"]: each["album_group"] for each in rows}
            self._taken |= {(row["artist_id"], album_id) for album_id in (row["album_id"], *albums)}
            if albums:
                yield row["artist_id"], albums

    def _asked_together(self, row: Row, most: int) -> list[Row]:
        """The bodies for one call, that of the row first; not what another run read meanwhile."""
        if most == 1:
            return [row] if self.backlog.waits(row) else []
        rows = filter(self._is_worth_asking, self.backlog.bodies_of(row["artist_id"]))
        return sorted(rows, key=lambda each: each["album_id"] != row["album_id"])[:most]

    def _may_go_on(self) -> bool:
        if not (self.stopped or self.until.passed):
            self.stopped = self.client.why_not(BODIES)
        return not (self.stopped or self.until.passed)

    def _is_worth_asking(self, row: Row) -> bool:
        """Not what was asked for, of an artist whose bodies fail, or would be cut off."""
        artist_id = row["artist_id"]
        if (artist_id, row["album_id"]) in self._taken:
            return False
        if self._failures[artist_id] >= FAILURES_IN_A_ROW:
            return False
        return (row["total_tracks"] or 0) <= TRACKS_A_PAGE or not (self.client.why_not(MORE_TRACKS))

    def _read(self, unit: Unit) -> tuple[BodiesRead, Counter[str]]:
        """Ask in a thread of the pool, and judge there: before it takes the next."""
        artist_id, albums = unit
        client = self._client_of_this_thread()
        before = Counter(client.requests)
        read = read_bodies(client, artist_id, albums)
        self._judge(read)
        return read, client.requests - before

    def _client_of_this_thread(self) -> SpotifyClient:
        if not hasattr(self._clients, "mine"):
            self._clients.mine = self.client.within(self.deadline)
        return self._clients.mine

    def _judge(self, read: BodiesRead) -> None:
        artist_id = read.artist_id
        for error in read.errors:
            if waits_for_tracks(error):
                self.waits_for[artist_id] = error
            elif concerns_everybody(error):
                self.stopped = self.stopped or error
            else:
                self.failed.setdefault(artist_id, error)
                self._failures[artist_id] += 1
        if read.bodies:
            self._in_a_row = []
        elif read.errors and artist_id in self.failed and artist_id not in self._in_a_row:
            self._in_a_row = [*self._in_a_row, artist_id]
            if len(self._in_a_row) >= FAILURES_IN_A_ROW:
                self.stopped = self.stopped or read.errors[0]

    def _save(self, read: BodiesRead, requests: Counter[str]) -> None:
        count = sum(requests[family] for family in COUNTED)
        self.requests[read.artist_id] += count
        if read.bodies or read.gone:
            save_bodies(self.catalogue, read, count, datetime.now(UTC))

    def _settle(self, artist_id: str) -> None:
        """Note what became of the artist, once its bodies of this run are committed."""
        if artist_id in self.failed:
            save_body_failure(self.catalogue, artist_id, self.failed[artist_id], datetime.now(UTC))
        elif artist_id in self.waits_for:
            put_off(self.catalogue, self.waits_for[artist_id], [artist_id])


@dataclass
class IsrcWork:
    """Asks for the ISRCs of tracks, until the budget of their own or the time is over."""

    client: SpotifyClient
    catalogue: Catalogue
    backlog: Backlog
    until: Deadline
    workers: int = 1
    found: int = 0
    stopped: HarmonyError | None = None
    _in_a_row: int = 0

    def run(self) -> None:
        """Ask for batch by batch; each is committed."""
        with closing(in_pool(self._ask, self._batches(), self.workers)) as results:
            for rows, isrcs in results:
                save_isrcs(self.catalogue, isrcs, rows)
                self.found += len(isrcs)

    def _batches(self) -> Iterator[list[Row]]:
        if not self._may_go_on():
            return
        a_call = self.client.tracks_a_call
        batch: dict[str, Row] = {}
        asked: set[str] = set()
        for row in self.backlog.tracks():
            if row["track_id"] in asked:
                continue  # of another watched artist too, who gets the same
            asked.add(row["track_id"])
            batch[row["track_id"]] = row
            if len(batch) == a_call:
                yield [*batch.values()]
                batch = {}
                if not self._may_go_on():
                    return
        if batch:
            yield [*batch.values()]

    def _may_go_on(self) -> bool:
        if not (self.stopped or self.until.passed):
            self.stopped = self.client.why_not(ISRCS)
        return not (self.stopped or self.until.passed)

    def _ask(self, rows: list[Row]) -> dict[str, str]:
        isrcs: dict[str, str] = {}
        for track_id, answer in self.client.tracks([row["track_id"] for row in rows]):
            if isinstance(answer, HarmonyError):
                self._judge(answer)
                if answer.code is not ErrorCode.NOT_FOUND:
                    continue
            isrcs[track_id] = "" if isinstance(answer, HarmonyError) else track_isrc(answer)
            self._in_a_row = 0
        return isrcs

    def _judge(self, error: HarmonyError) -> None:
        if error.code is ErrorCode.NOT_FOUND:
            return
        self._in_a_row += 1
        if concerns_everybody(error) or self._in_a_row >= FAILURES_IN_A_ROW:
            self.stopped = self.stopped or error
