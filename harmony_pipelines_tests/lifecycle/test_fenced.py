"""A run that Dagster gave up writes nothing more, also when it was only asleep."""

import contextlib
import hashlib
import signal

import psutil
import pytest

from harmony_pipelines.demo import faults
from harmony_pipelines_tests.lifecycle.dev_process import wait_until
from harmony_pipelines_tests.lifecycle.test_cancelled import an_album_in_use

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def put_to_sleep(process):
    """Stop the worker, and let no watchdog see it."""
    worker = psutil.Process(process.pid)
    worker.send_signal(signal.SIGSTOP)
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
    put_to_sleep(process)
    user.server.faults.clear()
    return process


def test_a_refresh_that_sleeps_is_ended_by_its_successor_and_writes_no_row(user):
    process = asleep_in_a_refresh(user)
    given_up = give_up(user)

    code, last, printed = user.dagster(
        "job", "execute", "-m", "harmony_pipelines.definitions", "-j", "refresh_catalogue"
    )
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


def test_an_embed_that_wakes_after_it_was_given_up_changes_no_file(user):
    user.job("refresh_catalogue").communicate(timeout=120)
    before = music(user)
    with an_album_in_use(user) as is_waiting:
        runs = len(user.records())
        process = user.job("embed_artwork")
        wait_until(lambda: len(user.records()) > runs and is_waiting(), 90)
        put_to_sleep(process)
        give_up(user)

    wake(process)

    assert process.returncode != 0
    assert music(user) == before
    assert user.rows("select count(*) from artwork_results where status = 'embedded'") == [(0,)]


def test_an_embed_that_sleeps_is_ended_by_its_successor_and_changes_no_file(user):
    user.job("refresh_catalogue").communicate(timeout=120)
    before = music(user)
    with an_album_in_use(user) as is_waiting:
        runs = len(user.records())
        process = user.job("embed_artwork")
        wait_until(lambda: len(user.records()) > runs and is_waiting(), 90)
        put_to_sleep(process)
        given_up = give_up(user)
    assert music(user) == before

    code, last, printed = user.dagster(
        "job", "execute", "-m", "harmony_pipelines.definitions", "-j", "embed_artwork"
    )
    after = music(user)
    wake(process)

    assert code == 0, printed
    assert last.startswith("Covers embedded in 11 files")
    assert process.returncode == -signal.SIGKILL
    assert music(user) == after
    embedded = user.rows("select distinct run_id from artwork_results where status = 'embedded'")
    assert given_up not in [run_id for (run_id,) in embedded]
