"""Who starts a run on the command line or by cron, and looks at no UI, is told all the same."""

import pytest

from harmony_pipelines.demo import faults
from harmony_pipelines_tests.lifecycle.dev_process import wait_until
from harmony_pipelines_tests.webhook import webhook

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture
def hook(user):
    with webhook() as hook:
        user.environment |= {
            "HARMONY_NOTIFY_URLS": hook.url(),
            "HARMONY_HEARTBEAT_URL": hook.heartbeat_url,
        }
        yield hook


def refresh(user):
    return user.dagster(
        "job", "execute", "-m", "harmony_pipelines.definitions", "-j", "refresh_catalogue"
    )


def test_a_problem_of_cron_s_runs_is_said_once_and_its_end_once(user, hook):
    secret = user.environment.pop("SPOTIPY_CLIENT_SECRET")
    for _ in range(2):
        code, _, said = refresh(user)
        assert code != 0
        assert "s3cr3t" not in said
    assert hook.events() == [("failure", "AUTH_REQUIRED")]
    assert hook.beats == 0
    user.environment["SPOTIPY_CLIENT_SECRET"] = secret
    assert refresh(user)[0] == 0
    assert hook.events() == [("failure", "AUTH_REQUIRED"), ("recovery", "AUTH_REQUIRED")]
    assert hook.beats == 1


def test_a_dead_service_fails_no_run_and_gets_its_message_later(user, hook):
    hook.status = 500
    secret = user.environment.pop("SPOTIPY_CLIENT_SECRET")
    assert refresh(user)[0] != 0
    user.environment["SPOTIPY_CLIENT_SECRET"] = secret
    code, last, _ = refresh(user)
    assert code == 0
    assert "refreshed" in last
    assert user.rows("SELECT event, attempts FROM outbox WHERE event != 'heartbeat'") == [
        ("failure", 1),
        ("recovery", 0),
    ]


@pytest.mark.parametrize("has_home", [True, False])
def test_a_run_that_is_killed_is_told_of_by_what_watched_it(user, hook, has_home):
    if not has_home:
        del user.environment["DAGSTER_HOME"]
    user.server.faults.add("artist_albums", faults.hang(), times=None)
    run = user.job("refresh_catalogue")
    wait_until(lambda: user.server.count("artist_albums"), 60)
    run.kill()
    run.communicate()
    wait_until(lambda: hook.messages, 60)
    assert hook.events() == [("failure", "DEPENDENCY_ERROR")]
    assert "died" in hook.messages[0]["message"]
