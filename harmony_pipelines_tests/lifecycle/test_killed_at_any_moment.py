"""Killed with -9 at any moment of a refresh or an embed: the next run does the rest, once.

`-s -n 0` prints the table. The moments are drawn with SEED, which an environment variable
HARMONY_TEST_SEED replaces, as HARMONY_TEST_KILLS does their number.
"""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil
import pytest

from harmony_pipelines.runs import WORKER_TAG
from harmony_pipelines_tests.lifecycle.dev_process import wait_until
from harmony_pipelines_tests.lifecycle.place import left_of
from harmony_pipelines_tests.lifecycle.user import DEFINITIONS, User

SEED = int(os.environ.get("HARMONY_TEST_SEED", "20261126"))
KILLS = int(os.environ.get("HARMONY_TEST_KILLS", "12"))
_WITH_ITS_WATCHDOG = 0.5
_LATEST = 1.5
"""How many times as long as an undisturbed run it may go on: what the dead left takes time too."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300 + 60 * KILLS)]


class Commands:
    """`dagster` commands of a user that begin at once, as all they import is imported."""

    def __init__(self, user: User) -> None:
        self._user = user
        self._ready = subprocess.Popen(
            [sys.executable, "-m", "harmony_pipelines_tests.lifecycle.ready"],
            cwd=user.home.folder,
            env=user.environment | {"PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _answer(self) -> int:
        assert self._ready.stdout is not None
        return json.loads(self._ready.stdout.readline())

    def begin(self, job: str) -> int:
        """Begin a job; its pid."""
        assert self._ready.stdin is not None
        config = self._user.home.folder / f"{job}.yaml"
        more = ["-c", str(config)] if config.exists() else []
        words = ["job", "execute", *DEFINITIONS, "-j", job, *more]
        log = str(self._user.home.folder / "log")
        self._ready.stdin.write(json.dumps([words, log]) + "\n")
        self._ready.stdin.flush()
        return self._answer()

    def ended(self) -> int:
        """The exit code of the job, once it is over."""
        return self._answer()

    def close(self) -> None:
        assert self._ready.stdin is not None and self._ready.stdout is not None
        self._ready.stdin.close()
        self._ready.wait(30)
        self._ready.stdout.close()


@pytest.fixture
def commands(user) -> Iterator[Commands]:
    user.records()  # Dagster's own tables
    begun = Commands(user)
    yield begun
    begun.close()


class Killing:
    """Runs of one job, each killed at a moment of its own, until one is left alone."""

    def __init__(self, user: User, commands: Commands, job: str) -> None:
        self._user, self._commands, self._job = user, commands, job
        self._random = random.Random(f"{SEED} {job}")
        self.kills: Counter[tuple[str, str]] = Counter()
        self.seen_after = 0.0
        self.finished = 0

    def whole(self) -> float:
        """Let one run end by itself; the seconds that it took."""
        began = time.monotonic()
        self._commands.begin(self._job)
        code = self._commands.ended()
        assert code == 0, self._said()
        self.finished += 1
        return time.monotonic() - began

    def one(self, seconds: float) -> bool:
        """Kill a run that takes about so many seconds; False if it was over before."""
        known = {record.dagster_run.run_id for record in self._user.records()}
        pid = self._commands.begin(self._job)
        time.sleep(self._random.uniform(0, _LATEST * seconds))
        with_its_watchdog = self._random.random() < _WITH_ITS_WATCHDOG
        with contextlib.suppress(psutil.NoSuchProcess):
            worker = psutil.Process(pid)
            below = worker.children(recursive=True)
            for process in [*(below if with_its_watchdog else []), worker]:
                process.kill()
        code = self._commands.ended()
        if code != -signal.SIGKILL:
            assert code == 0, self._said()
            self.finished += 1
            return False
        who = "and its watchdog" if with_its_watchdog else ""
        self.kills[self._moment(known), who] += 1
        return True

    def _moment(self, known: set[str]) -> str:
        """In which step it was, or what it had not come to."""
        new = [r for r in self._user.records() if r.dagster_run.run_id not in known]
        if not new:
            return "before its run"
        run = new[0].dagster_run
        if WORKER_TAG not in run.tags:
            return "before its first step"
        with self._user.instance() as instance:
            stats = instance.get_run_step_stats(run.run_id)
        at_work = [s.step_key for s in stats if s.start_time and not s.end_time]
        return at_work[0] if at_work else "between two steps"

    def _said(self) -> str:
        return (self._user.home.folder / "log").read_text()[-3000:]

    def the_daemon_sees_the_dead(self) -> None:
        """Every run whose process died is a failed one within two polls; nothing is taken."""
        daemon = self._user.begin_daemon()
        try:
            wait_until(lambda: "MONITORING" in self._user.heartbeats(), 60)
            began = time.monotonic()
            wait_until(lambda: not self._going_on(), 30)
            self.seen_after = time.monotonic() - began
        finally:
            daemon.terminate()
            daemon.communicate(timeout=60)
        assert self._user.locks_held() == []
        for record in self._user.records():
            assert left_of(record.dagster_run) == []

    def _going_on(self) -> list[str]:
        runs = [record.dagster_run for record in self._user.records()]
        return [run.run_id for run in runs if run.status is dg.DagsterRunStatus.STARTED]

    def table(self) -> str:
        rows = sorted(self.kills.items())
        lines = [f"  {where:40} {who:18} {count:4}" for (where, who), count in rows]
        total = f"{self._job}: {self.kills.total()} kills, {self.finished} runs that ended"
        seen = f"a daemon then saw the last dead one after {self.seen_after:.1f} s"
        return "\n".join(["", f"{total}, seed {SEED}; {seen}", *lines])


def refreshed_albums(user) -> list[tuple[str, str]]:
    return sorted(
        user.rows("select artist_id, album_id from new_releases where hidden_reason is null")
    )


def test_a_killed_refresh_misses_no_artist_and_reports_no_release_twice(user, commands):
    killing = Killing(user, commands, "refresh_catalogue")
    (user.home.folder / "refresh_catalogue.yaml").write_text(
        "ops: {refresh_artists: {config: {full_sweep: true}}}"
    )
    killing.whole()
    artists = [row[0] for row in user.rows("select artist_id from watchlist")]
    user.server.latency_s = 0.02
    took = killing.whole()
    added: list[tuple[str, str]] = []
    while killing.kills.total() < KILLS:
        for artist_id in artists:
            title = f"Come {len(added)} Times"
            album_id = user.server.catalogue.add_album(
                artist_id, title, album_type="single", release_date="2026-11-20", tracks=2
            )
            added.append((artist_id, album_id))
        while killing.one(took):
            pass

        assert refreshed_albums(user) == sorted(added)
        states = user.rows("select artist_id, status, code from refresh_state")
        assert sorted(states) == [(artist_id, "complete", None) for artist_id in sorted(artists)]
    killing.the_daemon_sees_the_dead()
    print(killing.table())


def copy_with_hard_links(folder: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", str(folder), str(target)], check=True)


def files(folder: Path) -> dict[str, str]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in found
    }


def test_a_killed_embed_damages_no_file_and_the_next_one_does_the_rest(user, commands):
    commands.begin("refresh_catalogue")
    assert commands.ended() == 0
    before = files(user.home.music)
    kept = user.home.folder.with_name("kept")
    folders = [user.home.library.parent, user.home.database.parent]
    kept.mkdir()
    for folder in folders:
        copy_with_hard_links(folder, kept / folder.name)
    killing = Killing(user, commands, "embed_artwork")
    took = killing.whole()
    after = files(user.home.music)
    assert after != before
    while killing.kills.total() < KILLS:
        for folder in folders:
            shutil.rmtree(folder)
            copy_with_hard_links(kept / folder.name, folder)
        while killing.one(took):
            now = files(user.home.music)
            damaged = [path for path in before if now.get(path) not in (before[path], after[path])]
            assert damaged == []

        assert files(user.home.music) == after
        written = user.rows(
            "select path from artwork_results where status = 'embedded' "
            "group by path having count(*) > 1"
        )
        assert written == []
    killing.the_daemon_sees_the_dead()
    print(killing.table())
