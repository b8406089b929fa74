"""The processes of `make dev` killed with -9 in the middle of runs, each alone and all at once.

HARMONY_TEST_KILLS and HARMONY_TEST_SEED are as for the runs that are killed at any moment, and
`-s -n 0` prints the table. A kill takes half a minute: few are the default, the worst comes first.
"""

import contextlib
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError

import dagster as dg
import psutil
import pytest

from harmony_pipelines.runs import WORKER_TAG
from harmony_pipelines_tests.lifecycle.dev_process import Dev, dev, wait_until
from harmony_pipelines_tests.lifecycle.place import left_of
from harmony_pipelines_tests.lifecycle.test_deadlines import is_over
from harmony_pipelines_tests.lifecycle.test_killed_at_any_moment import (
    SEED,
    copy_with_hard_links,
    files,
    refreshed_albums,
)
from harmony_pipelines_tests.lifecycle.user import User

KILLS = int(os.environ.get("HARMONY_TEST_KILLS", "3"))
POLL_SECONDS = 5
"""Of the run monitoring in our dagster.yaml."""

_SHARE = 0.7
"""Of a run, in which it is killed: what is killed after its end shows little."""

BEGIN_SECONDS = 90
"""What a daemon or a code server that was killed may take on a busy machine to be at work again."""

SERVICES = {
    "web server": "harmony_pipelines.web.server",
    "daemon": "dagster._daemon run",
    "code server": "code-server start",
    "its definitions": "api grpc",
}
WORKERS = ("worker", "worker and watchdog")
EVERYTHING = "all at once"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600 + 180 * KILLS)]


@dataclass(frozen=True)
class Killed:
    """One kill: of what, when, and what became of the run."""

    what: str
    after_s: float
    step: str
    status: str
    ended_after_s: float
    said: str


class Killing:
    """Runs of a job under a `make dev`, each with a kill at a moment of its own."""

    def __init__(self, user: User, served: Dev, job: str, config: Any = None) -> None:
        self._user, self._served, self._job, self._config = user, served, job, config or {}
        self._seconds = 0.0
        self._random = random.Random(f"{SEED} services {job}")
        self._victims: list[str] = []
        self.kills: list[Killed] = []

    def whole(self) -> None:
        """Let one run end by itself, and see how long it is at work."""
        run_id = self._served.launch(self._job, self._config)
        wait_until(lambda: is_over(self._served, run_id), 180)
        record = self._record(run_id)
        assert record.dagster_run.is_success, self._said(run_id)
        assert record.start_time and record.end_time
        self._seconds = record.end_time - record.start_time

    def one(self) -> bool:
        """Kill something at a moment of the time that a run takes; whether it did its work."""
        what = self._next()
        run_id = wait_until(self._launched, BEGIN_SECONDS)
        wait_until(lambda: WORKER_TAG in self._record(run_id).dagster_run.tags, 120)
        after = self._random.uniform(0, _SHARE * self._seconds)
        time.sleep(after)
        step = self._step(run_id)
        pids, killed = self._pids(what, run_id), time.time()
        for pid in pids:
            with contextlib.suppress(psutil.Error):
                psutil.Process(pid).kill()

        wait_until(self._is_whole, 2 * BEGIN_SECONDS)
        wait_until(lambda: self._record(run_id).dagster_run.is_finished, 120)
        record = self._record(run_id)
        took = max(0.0, (record.end_time or 0) - killed)
        was_over = bool(record.end_time and record.end_time <= killed)
        status = record.dagster_run.status.value
        said = "" if record.dagster_run.is_success else self._said(run_id)
        self.kills.append(Killed(what, after, step, status, took, said))
        if what == EVERYTHING:
            assert took < 2 * POLL_SECONDS + BEGIN_SECONDS, self.kills[-1]
        elif what in WORKERS:
            assert took < 2 * POLL_SECONDS + 5, self.kills[-1]
        if (what == EVERYTHING or what in WORKERS) and not was_over:
            assert record.dagster_run.status is dg.DagsterRunStatus.FAILURE, self.kills[-1]
        wait_until(lambda: not left_of(record.dagster_run), 10)
        assert self._user.locks_held() == []
        return record.dagster_run.is_success

    def _launched(self) -> str:
        """The run that a click began; none while the definitions are still loaded anew."""
        with contextlib.suppress(HTTPError, KeyError):
            return self._served.launch(self._job, self._config)
        return ""

    def _next(self) -> str:
        """Every victim in turn, in an order of its own each time, the worst first of all."""
        if not self._victims:
            self._victims = [*SERVICES, *WORKERS]
            self._random.shuffle(self._victims)
            self._victims.append(EVERYTHING)
        return self._victims.pop()

    def _pids(self, what: str, run_id: str) -> list[int]:
        alive = self._served.processes()
        if what in SERVICES:
            return [pid for pid, command in alive.items() if SERVICES[what] in command]
        if what == EVERYTHING:
            return [pid for pid in alive if pid != self._served.process.pid]
        worker = int(self._record(run_id).dagster_run.tags[WORKER_TAG].split(":")[-2])
        with contextlib.suppress(psutil.Error):
            below = [each.pid for each in psutil.Process(worker).children(recursive=True)]
            return [*below, worker] if what == "worker and watchdog" else [worker]
        return []

    def _is_whole(self) -> bool:
        """Whether all services are there and answer."""
        commands = " ".join(self._served.processes().values())
        return all(each in commands for each in SERVICES.values()) and self._served.is_loaded()

    def _record(self, run_id: str) -> dg.RunRecord:
        with self._user.instance() as instance:
            record = instance.get_run_record_by_id(run_id)
        assert record is not None
        return record

    def _step(self, run_id: str) -> str:
        with self._user.instance() as instance:
            stats = instance.get_run_step_stats(run_id)
        return next((s.step_key for s in stats if s.start_time and not s.end_time), "no step")

    def _said(self, run_id: str) -> str:
        with self._user.instance() as instance:
            events = [entry.dagster_event for entry in instance.all_logs(run_id)]
        return " ".join(e.message or "" for e in events if e and (e.is_failure or e.is_job_failure))

    def table(self) -> str:
        """What was killed when, and what became of it."""
        lines = [
            f"  {k.what:20} {k.after_s:5.1f} s  {k.step:32} {k.status:8} {k.ended_after_s:5.1f} s  "
            f"{k.said[:100]}"
            for k in sorted(self.kills, key=lambda k: k.what)
        ]
        return "\n".join(["", f"{self._job}: {len(self.kills)} kills, seed {SEED}", *lines])


@pytest.fixture
def served(user) -> Iterator[Dev]:
    with dev(user.environment) as served:
        yield served


def repeated(
    killing: Killing,
    begin: Callable[[], None],
    end: Callable[[], None],
    always: Callable[[], None] = lambda: None,
) -> None:
    """Kill until it is enough; whenever a run did its work, look at it and begin anew."""
    begin()
    while len(killing.kills) < KILLS:
        is_done = killing.one()
        always()
        if is_done:
            end()
            begin()
    killing.whole()
    end()
    print(killing.table())


def test_a_refresh_among_killed_services_misses_no_artist_and_reports_nothing_twice(user, served):
    sweep = {"ops": {"refresh_artists": {"config": {"full_sweep": True}}}}
    killing = Killing(user, served, "refresh_catalogue", sweep)
    killing.whole()
    artists = [row[0] for row in user.rows("select artist_id from watchlist")]
    user.server.latency_s = 0.05
    killing.whole()
    added: list[tuple[str, str]] = []

    def releases_come_out() -> None:
        for artist_id in artists:
            album_id = user.server.catalogue.add_album(
                artist_id,
                f"Come {len(added)} Times",
                album_type="single",
                release_date="2026-11-20",
                tracks=2,
            )
            added.append((artist_id, album_id))

    def each_is_reported_once() -> None:
        assert refreshed_albums(user) == sorted(added)
        states = user.rows("select artist_id, status, code from refresh_state")
        assert sorted(states) == [(artist_id, "complete", None) for artist_id in sorted(artists)]

    repeated(killing, releases_come_out, each_is_reported_once)


def test_an_embed_among_killed_services_damages_no_file(user, served):
    Killing(user, served, "refresh_catalogue").whole()
    before, kept = files(user.home.music), user.home.folder.with_name("kept")
    kept.mkdir()
    copy_with_hard_links(user.home.library.parent, kept / "beets")
    with contextlib.closing(sqlite3.connect(user.home.database)) as live:
        live.execute("vacuum into ?", [str(kept / "harmony.db")])
    killing = Killing(user, served, "embed_artwork")
    killing.whole()
    after = files(user.home.music)
    assert after != before

    def nothing_is_embedded() -> None:
        shutil.rmtree(user.home.library.parent)
        copy_with_hard_links(kept / "beets", user.home.library.parent)
        with (
            contextlib.closing(sqlite3.connect(kept / "harmony.db")) as old,
            contextlib.closing(sqlite3.connect(user.home.database)) as live,
        ):
            old.backup(live)

    def each_file_is_written_once() -> None:
        assert files(user.home.music) == after
        twice = (
            "select path from artwork_results where status = 'embedded' "
            "group by path having count(*) > 1"
        )
        assert user.rows(twice) == []

    def no_file_is_damaged() -> None:
        now = files(user.home.music)
        assert [p for p in before if now.get(p) not in (before[p], after[p])] == []

    repeated(killing, nothing_is_embedded, each_file_is_written_once, no_file_is_damaged)
