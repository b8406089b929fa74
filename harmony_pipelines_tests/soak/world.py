"""A Spotify whose artists release, withdraw and re-issue while it has bad days.

What happens follows the seed: what appears when, what fails, and where a run is killed.
"""

import os
import signal
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from random import Random

from harmony_pipelines.demo import faults
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.entities import Album
from harmony_pipelines.demo.exchange import Answer
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines_tests.soak.clock import Clock

DAY, HOUR = 86_400.0, 3_600.0
QUOTA_REST = 49_861
FIRST_FILL_DAYS = 4
KINDS = {
    "new": 70,
    "two on one day": 30,
    "back-dated": 30,
    "re-issued": 15,
    "during a failure": 15,
    "removed and back": 25,
    "removed": 15,
}
"""How many of each happen in the time."""

_FAMILIES = ("artists", "artist_albums", "albums", "album_tracks", "search")
_Burst = tuple[str, Callable[[], faults.Fault], int]
_BURSTS: tuple[_Burst, ...] = (
    ("429, Retry-After 2", partial(faults.rate_limited, 2), 2),
    ("503", faults.server_error, 12),
    ("connection reset", faults.connection_reset, 7),
    ("truncated JSON", faults.half_body, 7),
    ("HTML with 200", faults.html_page, 7),
)
_QUOTA_DAYS = {5: "albums", 20: "artist_albums"}
_QUOTA_AT_LEAST = 60


@dataclass(frozen=True)
class Appeared:
    """A release that Spotify lists since a moment; `kind` is empty for what it had before."""

    artist_id: str
    kind: str
    at: float
    released: str


@dataclass
class _Day:
    number: int
    dies_at_request: int | None
    dies_at_commit: int | None
    bursts: list[tuple[int, "_Burst"]]
    requests: int = 0
    killed: bool = False


@dataclass
class World:
    """The server's catalogue and its temper; called once for each request, it tells the time."""

    clock: Clock
    seed: int
    artists: int
    start: datetime
    days: int
    appeared: dict[str, Appeared] = field(default_factory=dict)
    gone: dict[str, Album] = field(default_factory=dict)
    """What is withdrawn just now."""
    ever_gone: set[str] = field(default_factory=set)
    kills: list[str] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    rests: list[tuple[float, float]] = field(default_factory=list)
    """From when to when Spotify wants no request."""
    is_over: bool = False
    """Nothing changes and nothing fails any more."""

    def __post_init__(self) -> None:
        self._random = Random(self.seed)
        self.catalogue = Catalogue()
        self.server = SpotifyServer(self.catalogue, clock=self)
        self.names: dict[str, str] = {}
        self._released: defaultdict[str, list[str]] = defaultdict(list)
        self._plan: list[tuple[float, int, Callable[[], None]]] = []
        self._begin = self.start.timestamp()
        self._days = [self._a_day(number) for number in range(self.days + 1)]
        self._quota_days = dict(_QUOTA_DAYS)
        for number in range(self.artists):
            self._add_artist(number)
        busy = [release.artist_id for release in self.appeared.values()]
        for kind, count in KINDS.items():
            for _ in range(count):
                self._foresee(kind, self._random.choice(busy))
        self._plan.sort(key=lambda event: event[:2], reverse=True)
        for family in _FAMILIES:
            self.server.faults.add(family, partial(self._spoiled, family), times=None)

    def __call__(self) -> float:
        now = self.clock.now
        if self.is_over:
            return now
        while self._plan and self._plan[-1][0] <= now:
            self._plan.pop()[-1]()
        self._today(now).requests += 1
        self._kill_if_due(now)
        return now

    def dies_at_commit(self, now: float) -> int | None:
        """Where the run that begins now dies by itself."""
        if self.is_over or self._is_late(now) or self._today(now).killed:
            return None
        return self._today(now).dies_at_commit

    def died(self, now: float) -> None:
        """The run died by itself."""
        self._today(now).killed = True
        self.kills.append("before a commit")

    # The artists and what they did before

    def _add_artist(self, number: int) -> None:
        name = f"Artist {number:03}"
        artist_id = self.catalogue.add_artist(name)
        self.names[artist_id] = name
        share = number / self.artists
        many = (15, 35) if share < 0.15 else (4, 15) if share < 0.5 else (1, 6)
        for _ in range(self._random.randint(*many)):
            self._release(artist_id, "", self._date(20, 3000 if share < 0.5 else 9000))

    def _date(self, least: int, most: int) -> str:
        day = self.start - timedelta(days=self._random.randint(least, most))
        return day.date().isoformat()

    def _release(self, artist_id: str, kind: str, released: str, like: Album | None = None) -> None:
        number = len(self._released[artist_id])
        is_long = self._random.random() < 0.003
        album_id = self.catalogue.add_album(
            artist_id,
            like.name if like else f"{self.names[artist_id]}, Work {number}",
            album_type=self._random.choice(("album", "single", "single")),
            release_date=released,
            tracks=[track.name for track in like.tracks] if like else 55 if is_long else 2,
            upc=like.upc if like else "",
        )
        self._released[artist_id].append(album_id)
        now = self.clock.now if kind else 0.0
        self.appeared[album_id] = Appeared(artist_id, kind, now, released)

    # What they will do

    def _foresee(self, kind: str, artist_id: str) -> None:
        """Plan an event; who releases often is likelier to be chosen."""
        first = 0.5 if kind in ("new", "two on one day") else FIRST_FILL_DAYS + 1
        at = self._begin + self._random.uniform(first, self.days - 0.5) * DAY
        seed, happen = (
            self._random.random(),
            {
                "new": self._new,
                "two on one day": self._two,
                "back-dated": self._back_dated,
                "re-issued": self._re_issued,
                "removed": self._remove,
                "removed and back": self._remove,
            },
        )
        event = self._outage(artist_id, kind) if kind not in happen else None
        event = event or partial(self._happen, seed, partial(happen[kind], artist_id, kind))
        self._plan.append((at, len(self._plan), event))

    def _happen(self, seed: float, event: Callable[[], None]) -> None:
        """Each event has chance of its own: what came before changes nothing of it."""
        self._random = Random(seed)
        event()

    def _today_s_date(self) -> str:
        return datetime.fromtimestamp(self.clock.now, UTC).date().isoformat()

    def _new(self, artist_id: str, kind: str) -> None:
        self._release(artist_id, kind, self._today_s_date())

    def _two(self, artist_id: str, kind: str) -> None:
        for _ in range(2):
            self._release(artist_id, kind, self._today_s_date())

    def _back_dated(self, artist_id: str, kind: str) -> None:
        self._release(artist_id, kind, self._date(400, 5000))

    def _re_issued(self, artist_id: str, kind: str) -> None:
        there = [one for one in self._released[artist_id] if one in self.catalogue.albums]
        known = [one for one in there if not self.appeared[one].kind]
        if known:
            again = self.catalogue.albums[self._random.choice(known)]
            self._release(artist_id, kind, self._today_s_date(), again)

    def _outage(self, artist_id: str, kind: str) -> Callable[[], None]:
        """Spotify will fail for the artist; the release appears between that and the retry.

        Returns what makes the next look at the artist the one that fails.
        """
        armed, until = False, 0.0

        def arm() -> None:
            nonlocal armed
            armed = True

        def fault(answer: Answer) -> Answer:
            nonlocal until
            if not armed or self.is_over or 0 < until < self.clock.now:
                return answer
            if not until:
                until = self.clock.now + HOUR / 2
                self._new(artist_id, kind)
            self.faults["503 for one artist"] += 1
            return faults.server_error()(answer)

        self.server.faults.add(f"/v1/artists/{artist_id}", fault, times=None)
        return arm

    def _remove(self, artist_id: str, kind: str) -> None:
        there = [one for one in self._released[artist_id] if one in self.catalogue.albums]
        before = [one for one in there if not self.appeared[one].kind]
        if not before:
            return
        album_id = self._random.choice(before)
        self.gone[album_id] = self.catalogue.albums[album_id]
        self.ever_gone.add(album_id)
        self.catalogue.remove_album(album_id)
        if kind == "removed and back":
            back = self.clock.now + self._random.uniform(1, 12) * DAY
            self._plan.append((back, 0, partial(self._bring_back, album_id)))
            self._plan.sort(key=lambda event: event[:2], reverse=True)

    def _bring_back(self, album_id: str) -> None:
        with self.catalogue.lock:
            self.catalogue.albums[album_id] = self.gone.pop(album_id)

    # How Spotify fails, and where a run is killed

    def _a_day(self, number: int) -> _Day:
        at_request, at_commit = self._random.randint(1, 40), self._random.randint(1, 12)
        bursts = [(self._random.randint(3, 90), self._random.choice(_BURSTS)) for _ in range(2)]
        if self._random.random() < 0.5:
            return _Day(number, at_request, None, bursts)
        return _Day(number, None, at_commit, bursts)

    def _today(self, now: float) -> _Day:
        return self._days[int((now - self._begin) // DAY)]

    def _is_late(self, now: float) -> bool:
        """So late that the day's kill may not wait for its moment any more."""
        return (now - self._begin) % DAY > DAY * 3 / 4

    def _kill_if_due(self, now: float) -> None:
        day, pid = self._today(now), self.clock.pid
        is_due = day.requests == day.dies_at_request or self._is_late(now)
        if is_due and not day.killed and pid:
            day.killed = True
            self.kills.append("in a request")
            os.kill(pid, signal.SIGKILL)

    def _spoiled(self, family: str, answer: Answer) -> Answer:
        now = self.clock.now
        if self.is_over:
            return answer
        day = self._today(now)
        if self._quota_days.get(day.number) == family:
            asked = [r for r in self.server.requests if r.family == family and r.at > now - DAY]
            if len(asked) >= _QUOTA_AT_LEAST:
                del self._quota_days[day.number]
                self.rests.append((now, now + QUOTA_REST))
                self.faults[f"429, QUOTA_EXCEEDED, Retry-After {QUOTA_REST}"] += 1
                return faults.rate_limited(QUOTA_REST, quota=True)(answer)
        for first, (name, fault, length) in day.bursts:
            if first <= day.requests < first + length:
                self.faults[name] += 1
                return fault()(answer)
        return answer
