"""A month of a big watchlist at the default budget, while Spotify fails and runs are killed.

`-s -n 0` prints what happened and how long releases took to be seen; SOAK_SEED tries
another month.
"""

import json
import os
import subprocess
import sys
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from itertools import pairwise
from statistics import median
from typing import Any

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.domain.releases import RECENT
from harmony_pipelines_tests.conftest import Home
from harmony_pipelines_tests.soak.clock import Clock
from harmony_pipelines_tests.soak.world import DAY, FIRST_FILL_DAYS, HOUR, Appeared, World

ARTISTS, DAYS, BUDGET = 300, 30, 400
SEED = int(os.environ.get("SOAK_SEED", "1"))
START = datetime(2026, 11, 30, tzinfo=UTC)
_MINUTE_OF_TICKS = 12 * 60.0
_MOST_SWEEPS = 24 * 14

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


class Soak:
    """The ticks of a schedule, one after the other, in simulated time."""

    def __init__(self, home: Home, world: World) -> None:
        self.home, self.world = home, world
        self.outcomes: Counter[str] = Counter()
        self._number = 0
        self._at = START.timestamp() + _MINUTE_OF_TICKS
        self._worker = subprocess.Popen(
            [sys.executable, "-m", f"{__package__}.worker", str(home.folder / "clock")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def close(self) -> None:
        with self._worker:
            self._worker.kill()

    def month(self) -> None:
        """Every hour's tick, with all that goes wrong."""
        while self._at < START.timestamp() + DAYS * DAY:
            self._tick()

    def sweep(self) -> None:
        """What a person does who wants to be sure: read all listings to their end."""
        self.world.is_over = True
        since = datetime.fromtimestamp(self.world.clock.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for _ in range(_MOST_SWEEPS):
            listed = [row["last_listed_at"] or "" for row in self.home.rows(tables.refresh_state)]
            left = sum(moment <= since for moment in listed)
            if not left:
                return
            self._tick(sweep=left)
        raise AssertionError("the sweep does not end")

    def _tick(self, *, sweep: int = 0) -> None:
        self._number += 1
        order = {
            "at": self._at,
            "number": self._number,
            "sweep": sweep,
            "dies_at_commit": self.world.dies_at_commit(self._at),
        }
        kills = len(self.world.kills)
        assert self._worker.stdin
        assert self._worker.stdout
        self._worker.stdin.write(json.dumps(order) + "\n")
        self._worker.stdin.flush()
        answer: dict[str, Any] = json.loads(self._worker.stdout.readline())
        if "killed" in answer and len(self.world.kills) == kills:
            self.world.died(self._at)
        self.outcomes[_outcome(answer)] += 1
        now = max(self.world.clock.now, self._at)
        self._at = (now - _MINUTE_OF_TICKS) // HOUR * HOUR + HOUR + _MINUTE_OF_TICKS


def _outcome(answer: dict[str, Any]) -> str:
    if "skipped" in answer:
        return f"skipped: {answer['skipped'].partition(',')[0].partition(';')[0]}"
    if "killed" in answer:
        return "killed"
    return f"stopped: {answer['stopped']}" if answer["stopped"] else "ran to its end"


@pytest.fixture
def soak(home: Home) -> Iterator[Soak]:
    clock = Clock(home.folder / "clock")
    clock.now = START.timestamp()
    world = World(clock, SEED, ARTISTS, START, DAYS)
    home.unset("HARMONY_SPOTIFY_REQUESTS_PER_SECOND")
    home.set(HARMONY_SPOTIFY_PROFILE="development")
    names = list(world.names.items())
    home.watch(*(name if number % 3 else one for number, (one, name) in enumerate(names)))
    os.utime(home.folder / "watchlist.yaml", (clock.now, clock.now))
    with world.server:
        home.set(
            HARMONY_SPOTIFY_API_URL=world.server.api_url,
            HARMONY_SPOTIFY_ACCOUNTS_URL=world.server.accounts_url,
        )
        soak = Soak(home, world)
        yield soak
        soak.close()


def test_a_month_of_three_hundred_artists_misses_nothing_doubles_nothing_and_stays_in_budget(
    soak: Soak,
) -> None:
    home, world = soak.home, soak.world
    soak.month()
    states = {row["artist_id"]: row for row in home.rows(tables.refresh_state)}
    in_the_month = _news(home)
    _tell_the_month(soak)
    _tell_the_delays(world, in_the_month)

    last = max(_moment(state["baseline_at"]) for state in states.values())
    assert len(states) == ARTISTS
    assert last <= START.timestamp() + FIRST_FILL_DAYS * DAY
    assert len(world.kills) == DAYS
    _assert_in_budget(world)
    for album_id, release in _expected(world, states).items():
        state = states[release.artist_id]
        looked = state["last_listed_at" if release.kind == "back-dated" else "last_complete_at"]
        assert album_id in in_the_month or _moment(looked) <= release.at, release

    soak.sweep()
    states = {row["artist_id"]: row for row in home.rows(tables.refresh_state)}
    news = _news(home)
    assert set(news) == set(_expected(world, states))
    kinds = {one: world.appeared[one].kind for one in news}
    assert {one for one, row in news.items() if row["hidden_reason"]} == {
        one for one, kind in kinds.items() if kind == "re-issued"
    }
    removed = [row for row in home.rows(tables.spotify_albums) if row["removed_at"]]
    assert {row["album_id"] for row in removed} <= set(world.gone)
    _assert_in_budget(world)


def _news(home: Home) -> dict[str, dict[str, Any]]:
    rows = home.rows(tables.new_releases)
    assert len({row["album_id"] for row in rows}) == len(rows)
    return {row["album_id"]: row for row in rows}


def _expected(world: World, states: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What must be news: whatever appeared, and what was recent when an artist was first listed."""
    return {
        album_id: release
        for album_id, release in world.appeared.items()
        if release.kind
        or date.fromisoformat(release.released)
        >= datetime.fromisoformat(states[release.artist_id]["baseline_at"]).date() - RECENT
    }


def _assert_in_budget(world: World) -> None:
    """By the server's own log: the budget of each family, the pace, and no call in a rest."""
    asked: defaultdict[str, list[float]] = defaultdict(list)
    for request in world.server.requests:
        asked[request.family].append(request.at)
    moments = sorted(request.at for request in world.server.requests)
    assert min(late - early for early, late in pairwise(moments)) > 0.99
    for begin, end in world.rests:
        assert bisect_right(moments, begin) == bisect_right(moments, end)
    del asked["token"]
    for times in asked.values():
        for index, at in enumerate(times[BUDGET:]):
            assert at - times[index] >= DAY


def _tell_the_month(soak: Soak) -> None:
    families = Counter(request.family for request in soak.world.server.requests)
    for what, count in [
        *soak.outcomes.most_common(),
        *families.most_common(),
        *soak.world.faults.most_common(),
        *Counter(soak.world.kills).most_common(),
    ]:
        print(f"| {what} | {count} |")


def _tell_the_delays(world: World, news: dict[str, dict[str, Any]]) -> None:
    """How long a release was there before it was news, by what it is and by whose it is."""
    print("| release | appeared | seen in the month | median h | 9 of 10 within h | longest h |")
    delays: defaultdict[str, list[float]] = defaultdict(list)
    appeared: Counter[str] = Counter()
    for album_id, release in world.appeared.items():
        if not release.kind:
            continue
        rows = (release.kind, f"by who was silent for {_silence(world, release)}")
        appeared.update(rows)
        if album_id in news:
            hours = (_moment(news[album_id]["first_seen_at"]) - release.at) / HOUR
            for row in rows:
                delays[row].append(hours)
    for row in sorted(delays):
        hours = sorted(delays[row])
        most = hours[int(0.9 * (len(hours) - 1))]
        print(
            f"| {row} | {appeared[row]} | {len(hours)} | {median(hours):.1f} | {most:.1f} "
            f"| {hours[-1]:.1f} |"
        )


def _silence(world: World, release: Appeared) -> str:
    today = datetime.fromtimestamp(release.at, UTC).date()
    before = [
        date.fromisoformat(each.released)
        for each in world.appeared.values()
        if each.artist_id == release.artist_id and each.at < release.at
    ]
    days = (today - max(before)).days
    return next((f"up to {most} days" for most in (30, 180, 365) if days <= most), "over a year")


def _moment(text: str | None) -> float:
    return datetime.fromisoformat(text).timestamp() if text else 0.0
