"""What a run says at its end of the messages it has for the user."""

from collections.abc import Iterator

import dagster as dg
import pytest

from harmony_pipelines import endings
from harmony_pipelines.definitions import defs
from harmony_pipelines.settings import load_settings
from harmony_pipelines_tests.conftest import Home
from harmony_pipelines_tests.webhook import Webhook, webhook

REFUSED = {"code": "AUTH_REQUIRED", "reason": "invalid_client", "message": "Sign in again."}


@pytest.fixture
def hook(home: Home) -> Iterator[Webhook]:
    with webhook() as hook:
        home.set(HARMONY_NOTIFY_URLS=hook.url(), HARMONY_HEARTBEAT_URL=hook.heartbeat_url)
        yield hook


def said(instance: dg.DagsterInstance, *failures: dict[str, str], seconds: float = 60) -> str:
    run = instance.create_run_for_job(defs.resolve_job_def("refresh_catalogue"))
    return endings._tell(load_settings(), run, instance, [*failures], seconds)


def test_what_was_sent_is_counted_and_a_heartbeat_is_no_message(hook: Webhook, instance):
    assert said(instance, REFUSED) == "Messages sent: 1."
    assert said(instance) == "Messages sent: 1.", "that it is over"
    assert said(instance) == "There is nothing to be told now."
    assert (len(hook.messages), hook.beats) == (2, 2)


def test_what_a_service_refuses_is_kept_and_said_until_it_is_taken(hook: Webhook, instance):
    hook.status = 503
    kept = "Messages kept until their service takes them: 1; check_setup tries it."
    assert said(instance, REFUSED) == kept
    assert said(instance, REFUSED) == kept, "also while it is left alone"


def test_a_service_that_is_too_slow_is_said_to_be(hook: Webhook, instance):
    hook.seconds = 10
    slow = "A service took longer than 2 s: what it has not taken is sent later."
    assert said(instance, REFUSED, seconds=3) == slow


def test_a_run_without_time_leaves_the_sending_to_the_next(hook: Webhook, instance):
    assert "has no time left" in said(instance, REFUSED, seconds=1)
    assert hook.messages == []
