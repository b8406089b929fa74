"""A run that Dagster gave up writes nothing more, also when it was only asleep."""

import contextlib
import hashlib
import json
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import psutil
import pytest

from harmony_pipelines.demo import faults
from harmony_pipelines.runs import MAX_RUNTIME_TAG
from harmony_pipelines_tests.lifecycle.dev_process import wait_until
from harmony_pipelines_tests.lifecycle.test_cancelled import an_album_in_use, is_being_written
from harmony_pipelines_tests.lifecycle.user import DEFINITIONS

LIMIT_SECONDS = 20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def suspend(user, processes):
    """Stop them, but not while they write for Dagster: it could not give the run up then."""

    def is_done():
        for each in reversed(processes):
            each.suspend()
        if not any(map(is_being_written, user.home.dagster_home.rglob("*.db"))):
            return True
        for each in processes:
            each.resume()
        return False

    wait_until(is_done, 30)


def put_to_sleep(user, process):
    """Stop the worker, and let no watchdog see it."""
    worker = psutil.Process(process.pid)
    suspend(user, [worker])
    watchdogs = [each for each in worker.children() if "watchdog" in " ".join(each.cmdline())]
    assert len(watchdogs) == 1
    watchdogs[0].kill()


def give_up(user):
    """Mark the run failed, as Dagster does with one that is over its limit; its id."""
    run = user.records()[0].dagster_run
    with user.instance() as instance:
        instance.report_run_failed(run, "It took too long.")
    return run.run_id


def music(user):
    found = sorted(path for path in user.home.music.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def wake(process):
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(signal.SIGCONT)
    process.communicate(timeout=60)


def asleep_in_a_refresh(user):
    user.server.faults.add("/v1/artists/*/albums*", faults.slow_drip(), times=None)
    process = user.job("refresh_catalogue")
    wait_until(lambda: user.server.count("artist_albums"), 60)
    put_to_sleep(user, process)
    user.server.faults.clear()
    return process


def test_a_refresh_that_sleeps_is_ended_by_its_successor_and_writes_no_row(user):
    process = asleep_in_a_refresh(user)
    given_up = give_up(user)

    code, last, printed = user.dagster("job", "execute", *DEFINITIONS, "-j", "refresh_catalogue")
    wake(process)

    assert code == 0, printed
    assert last.startswith("3 of 3 due artists refreshed")
    assert process.returncode == -signal.SIGKILL
    assert user.rows(f"select 1 from new_releases where run_id = '{given_up}'") == []


def test_a_refresh_that_wakes_after_it_was_given_up_writes_no_row(user):
    process = asleep_in_a_refresh(user)
    give_up(user)

    wake(process)

    assert process.returncode != 0
    assert user.rows("select count(*) from refresh_state") == [(0,)]
    assert user.rows("select count(*) from spotify_albums") == [(0,)]


@dataclass(frozen=True)
class Embed:
    """An embed that was put to sleep and given up, and the music as it was then."""

    process: subprocess.Popen[str]
    run_id: str
    music: dict[Path, str]


@pytest.fixture
def embed(user) -> Embed:
    user.job("refresh_catalogue").communicate(timeout=120)
    before = music(user)
    with an_album_in_use(user) as is_waiting:
        runs = len(user.records())
        process = user.job("embed_artwork")
        wait_until(lambda: len(user.records()) > runs and is_waiting(), 90)
        put_to_sleep(user, process)
        given_up = give_up(user)
    assert music(user) == before
    return Embed(process, given_up, before)


def embedded_by(user, run_id: str) -> list[tuple[str]]:
    return user.rows(
        f"select path from artwork_results where status = 'embedded' and run_id = '{run_id}'"
    )


def test_an_embed_that_wakes_after_it_was_given_up_changes_no_file(user, embed):
    wake(embed.process)

    assert embed.process.returncode != 0
    assert music(user) == embed.music
    assert embedded_by(user, embed.run_id) == []


def test_an_embed_that_sleeps_is_ended_by_its_successor_and_changes_no_file(user, embed):
    code, last, printed = user.dagster("job", "execute", *DEFINITIONS, "-j", "embed_artwork")
    after = music(user)
    wake(embed.process)

    assert code == 0, printed
    assert last.startswith("Covers embedded in 11 files")
    assert embed.process.returncode == -signal.SIGKILL
    assert music(user) == after != embed.music
    assert embedded_by(user, embed.run_id) == []


def test_a_refresh_that_sleeps_past_its_limit_is_ended_by_the_daemon_and_writes_no_row(user):
    limit = {MAX_RUNTIME_TAG: str(LIMIT_SECONDS)}
    user.server.faults.add("/v1/artists/*/albums*", faults.slow_drip(), times=None)
    process = user.job("refresh_catalogue", "--tags", json.dumps(limit))
    wait_until(lambda: user.server.count("artist_albums"), 60)
    worker = psutil.Process(process.pid)
    asleep = [worker, *worker.children(recursive=True)]
    suspend(user, asleep)
    user.server.faults.clear()

    daemon = user.begin_daemon()
    try:
        wait_until(lambda: user.records()[0].dagster_run.is_finished, 120)
    finally:
        daemon.terminate()
        daemon.communicate(timeout=60)
    code, last, printed = user.dagster("job", "execute", *DEFINITIONS, "-j", "refresh_catalogue")
    for each in asleep:
        with contextlib.suppress(psutil.Error):
            each.resume()
    process.communicate(timeout=60)

    given_up = user.records()[1].dagster_run
    assert given_up.status is dg.DagsterRunStatus.FAILURE
    assert process.returncode == -signal.SIGKILL
    assert (code, last.startswith("3 of 3 due artists refreshed")) == (0, True), printed
    assert user.rows(f"select 1 from new_releases where run_id = '{given_up.run_id}'") == []
    assert psutil.wait_procs(asleep, 5)[1] == []
