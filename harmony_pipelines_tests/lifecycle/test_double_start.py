"""Whoever starts the same work twice has it done once."""

import threading

import pytest
from dagster._core.scheduler.instigation import TickStatus

from harmony_pipelines_tests.lifecycle.dev_process import dev, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def ended(processes):
    """The exit codes and the last lines printed."""
    said = {}

    def wait(process):
        printed, logged = process.communicate(timeout=120)
        said[process.pid] = (printed.strip().splitlines() or [logged])[-1]

    threads = [threading.Thread(target=wait, args=(process,)) for process in processes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [(process.returncode, said[process.pid]) for process in processes]


def asked_in_vain(user):
    """How many questions Spotify was asked beyond those that each artist took, once."""
    of_artists = ("artists", "artist_albums", "albums", "album_tracks")
    asked = sum(user.server.count(family) for family in of_artists)
    return asked - user.rows("select sum(requests) from refresh_state")[0][0]


@pytest.mark.parametrize("job", ["refresh_catalogue", "embed_artwork"])
def test_of_two_commands_at_once_one_does_it_and_the_other_ends_as_a_conflict(user, job):
    if job == "embed_artwork":
        user.job("refresh_catalogue").communicate(timeout=120)
    user.server.latency_s = 0.3

    outcomes = ended([user.job(job), user.job(job)])

    codes = sorted(code for code, _ in outcomes)
    assert codes == [0, 1], outcomes
    assert "Failed: CONFLICT" in max(outcomes)[1]
    assert asked_in_vain(user) == 0
    assert user.rows("select path from artwork_results group by path having count(*) > 1") == []


def test_several_commands_may_be_the_first_in_a_new_home(user):
    assert not user.home.database.exists()
    assert [path.name for path in user.home.dagster_home.iterdir()] == ["dagster.yaml"]

    outcomes = ended([user.job("refresh_catalogue") for _ in range(4)])

    assert sorted(code for code, _ in outcomes)[0] == 0, outcomes
    assert all(code == 0 or "Failed: CONFLICT" in last for code, last in outcomes), outcomes
    assert asked_in_vain(user) == 0
    assert len(user.records()) == 4


def test_clicks_in_the_ui_and_a_command_beside_them_do_it_once(user):
    user.server.latency_s = 0.2
    with dev(user.environment) as served:
        launched = [served.launch("refresh_catalogue") for _ in range(2)]
        wait_until(lambda: user.server.count("artist_albums"), 60)
        [(code, last)] = ended([user.job("refresh_catalogue")])
        done = ("SUCCESS", "FAILURE", "CANCELED")
        wait_until(lambda: all(served.runs()[run_id] in done for run_id in launched), 90)

        assert (code, "Failed: CONFLICT" in last) == (1, True), last
        assert [served.runs()[run_id] for run_id in launched] == ["SUCCESS", "SUCCESS"]
        assert asked_in_vain(user) == 0


def ticks_skipped(user):
    """Why ticks of schedules and sensors started nothing."""
    with user.instance() as instance:
        found = [
            tick
            for state in instance.all_instigator_state()
            for tick in instance.get_ticks(state.instigator_origin_id, state.selector_id)
        ]
    return [tick.skip_reason or "" for tick in found if tick.status is TickStatus.SKIPPED]


def test_two_daemons_two_ticks_and_a_command_beside_them_do_it_once(user):
    user.environment["HARMONY_REFRESH_CRON"] = "* * * * *"
    user.server.latency_s = 4
    with dev(user.environment) as served:
        second = user.begin_daemon()
        try:
            served.switch_on("refresh_catalogue_schedule")
            wait_until(lambda: user.server.count("artist_albums"), 180)
            scheduled = [run_id for run_id in served.runs()]
            [(code, last)] = ended([user.job("refresh_catalogue")])
            at_work = "already"
            wait_until(lambda: [why for why in ticks_skipped(user) if at_work in why], 150)
            user.server.latency_s = 0
            wait_until(lambda: set(served.runs().values()) <= {"SUCCESS", "FAILURE"}, 120)
        finally:
            second.terminate()
            logged = "".join(second.communicate(timeout=60))
        statuses = served.runs()

    assert second.returncode == 0, logged
    assert (code, "Failed: CONFLICT" in last) == (1, True), last
    assert {statuses[run_id] for run_id in scheduled} == {"SUCCESS"}
    assert sorted(statuses.values())[:1] == ["FAILURE"]
    assert asked_in_vain(user) == 0
    assert user.rows("select count(*) from refresh_state where status = 'complete'") == [(3,)]
