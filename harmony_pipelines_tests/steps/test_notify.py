import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from harmony_pipelines.clients import outbox, tables
from harmony_pipelines.clients.catalogue import utc_text
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.domain.notices import HEARTBEAT
from harmony_pipelines.settings import load_settings
from harmony_pipelines.steps import notify, send
from harmony_pipelines.steps.notify import RunEnd
from harmony_pipelines_tests.conftest import Home
from harmony_pipelines_tests.webhook import Webhook, webhook

pytestmark = pytest.mark.filterwarnings(  # Apprise's, in a process that is ours only here
    "ignore:'imghdr' is deprecated:DeprecationWarning"
)

ALL = "failure,recovery,new_releases,artwork,review"
REFUSED = {"code": "AUTH_REQUIRED", "reason": "invalid_client", "message": "Sign in again."}
JOB = "refresh_catalogue"


@pytest.fixture
def hook(home: Home) -> Iterator[Webhook]:
    with webhook() as hook:
        home.set(HARMONY_NOTIFY_URLS=hook.url(), HARMONY_NOTIFY_ON=ALL)
        yield hook


def ended(*failures: dict[str, Any], job: str = JOB, run: str = "run-1") -> RunEnd:
    return RunEnd(run, job, failures)


def tell(home: Home, end: RunEnd, now: datetime | None = None) -> None:
    notify.run_ended(load_settings(), end, now or datetime.now(UTC))
    with home.store() as store:
        send.send_due(load_settings(), store)


@pytest.fixture(autouse=True)
def logging_goes_on() -> Iterator[None]:
    """What sends is silent for good in its own process; here it is ours."""
    import logging

    yield
    logging.disable(logging.NOTSET)


def artist(home: Home, name: str = "Lumen Tide", **state: Any) -> None:
    row = {
        "artist_id": name,
        "status": "failed",
        "code": "DEPENDENCY_ERROR",
        "reason": "server_error",
        "message": "It did not answer.",
        "attempts": 1,
        "bodies_pending": 0,
        "requests": 0,
    }
    watched = {"artist_id": name, "partition_key": name, "name": name, "paused": 0, "added_at": ""}
    with home.store() as store:
        store.save(tables.watchlist, [watched])
        store.save(tables.refresh_state, [row | state])


def news(home: Home, count: int, at: datetime | None = None, **values: Any) -> None:
    rows = [
        {
            "artist_id": "A",
            "album_id": f"{values}{n}",
            "artist_name": "Lumen Tide",
            "name": f"Album {n}",
            "album_type": "album",
            "release_date": "2026-11-20",
            "spotify_url": "https://open.spotify.com/album/1",
            "first_seen_at": utc_text(at or datetime.now(UTC)),
            "hidden_reason": None,
            "recent": 0,
            **values,
        }
        for n in range(count)
    ]
    with home.store() as store:
        store.save(tables.new_releases, rows)


def test_a_problem_is_said_as_it_begins_and_as_it_ends(home: Home, hook: Webhook):
    for run in ("run-1", "run-2", "run-3"):
        tell(home, ended(REFUSED, run=run))
    assert hook.events() == [("failure", "AUTH_REQUIRED")]
    tell(home, ended())
    tell(home, ended())
    assert hook.events()[1:] == [("recovery", "AUTH_REQUIRED")]
    [first, _] = hook.messages
    assert first["run_id"] == "run-1"
    assert first["counts"] == {"problems": 1}
    assert first["items"] == [{"subject": JOB, **REFUSED}]
    assert "Sign in again." in first["message"]


def test_a_run_of_another_job_ends_no_problem(home: Home, hook: Webhook):
    tell(home, ended(REFUSED))
    tell(home, ended(job="embed_artwork"))
    assert hook.events() == [("failure", "AUTH_REQUIRED")]


def test_a_run_that_died_early_ends_no_problem_and_one_that_went_through_does(
    home: Home, hook: Webhook
):
    tell(home, ended(REFUSED))
    tell(home, ended(notify.failure_told("DEADLINE_EXCEEDED: the run took too long.")))
    assert hook.events() == [("failure", "AUTH_REQUIRED"), ("failure", "DEADLINE_EXCEEDED")]
    other = {"code": "NOT_FOUND", "reason": "", "message": "Gone.", "artist": "Lumen Tide"}
    tell(home, ended({**other, "problems": [other]}))
    assert sorted(hook.events()[2:]) == [
        ("failure", "NOT_FOUND"),
        ("recovery", "AUTH_REQUIRED"),
        ("recovery", "DEADLINE_EXCEEDED"),
    ]


def test_artists_are_told_of_by_the_tables_whoever_filled_them(home: Home, hook: Webhook):
    artist(home)
    artist(home, "Sable Choir")
    tell(home, ended(notify.failure_told("the run's process died")))
    artists = [each for each in hook.messages if each["counts"]["problems"] == 3]
    assert len(artists) == 1, "one message for each code"
    subjects = {item["subject"] for item in artists[0]["items"]}
    assert subjects == {"Lumen Tide (Lumen Tide)", "Sable Choir (Sable Choir)", JOB}
    artist(home, status="complete", code=None)
    with home.store() as store, store.writing() as connection:
        connection.execute(
            tables.watchlist.delete().where(tables.watchlist.c.name == "Sable Choir")
        )
    tell(home, ended())
    [over] = hook.messages[1:]
    subjects = {item["subject"] for item in over["items"]}
    assert subjects == {"Lumen Tide (Lumen Tide)", JOB}, "who was taken off the list did not mend"


def test_a_week_later_it_is_said_again(home: Home, hook: Webhook):
    now = datetime.now(UTC)
    tell(home, ended(REFUSED), now - timedelta(days=7, minutes=1))
    assert notify.look(load_settings(), [], now).is_due
    with home.store() as store:
        send.send_due(load_settings(), store)
    assert hook.events() == [("failure", "AUTH_REQUIRED"), ("reminder", "AUTH_REQUIRED")]
    assert not notify.look(load_settings(), [], now + timedelta(days=1)).is_due


def test_a_cooldown_is_said_once_and_the_next_one_again(home: Home, hook: Webhook):
    now = datetime.now(UTC)
    with home.store() as store:
        quota = Quota(store.engine, QuotaLimits())
        quota.cool_down(now.timestamp() + 600, "rate_limit")
        tell(home, ended(), now)
        quota.cool_down(now.timestamp() + 900, "rate_limit")
        tell(home, ended(), now)
        assert hook.events() == [("failure", "RATE_LIMITED")]
        with store.writing() as connection:
            connection.execute(
                tables.problems.update().values(until=utc_text(now - timedelta(minutes=1)))
            )
        tell(home, ended(), now)
    assert hook.events() == [("failure", "RATE_LIMITED")] * 2


def test_news_are_told_once_and_old_ones_never(home: Home, hook: Webhook):
    news(home, 3)
    news(home, 2, datetime.now(UTC) - timedelta(days=30), artist_name="Old")
    news(home, 1, hidden_reason="edition")
    tell(home, ended())
    tell(home, ended())
    [message] = hook.messages
    assert (message["event"], message["counts"]) == ("new_releases", {"new_releases": 3})
    assert message["items"][0]["name"].startswith("Album ")
    assert "https://open.spotify.com/album/1" in message["message"]


def test_covers_are_told_by_album(home: Home, hook: Webhook):
    with home.store() as store:
        store.save(
            tables.beets_albums, [{"beets_album_id": 1, "albumartist": "Kestrel", "album": "Low"}]
        )
        store.save(
            tables.artwork_results,
            [
                {"run_id": "run-1", "path": f"/{n}", "beets_album_id": 1, "status": "embedded"}
                for n in range(3)
            ],
        )
    tell(home, ended(job="embed_artwork"))
    [message] = hook.messages
    assert (message["event"], message["counts"]) == ("artwork", {"embedded": 3})
    assert "Kestrel: Low (3 files)" in message["message"]


def test_what_waits_for_a_decision_is_told_once(home: Home, hook: Webhook):
    line = {"line": 1, "text": "Lumen Tyde", "code": "NOT_FOUND", "message": "Nobody is.",
            "first_seen_at": ""}  # fmt: skip
    with home.store() as store:
        store.save(tables.watchlist_review, [line])
    tell(home, ended())
    tell(home, ended())
    [message] = hook.messages
    assert (message["event"], message["counts"]) == ("review", {"review": 1})


@pytest.mark.parametrize(
    ("wanted", "told"),
    [("failure", ["failure"]), ("recovery", ["recovery"]), ("new_releases", ["new_releases"])],
)
def test_only_what_is_wanted_is_told(home: Home, hook: Webhook, wanted: str, told: list[str]):
    home.set(HARMONY_NOTIFY_ON=wanted)
    news(home, 1)
    tell(home, ended(REFUSED))
    tell(home, ended())
    assert [event for event, _ in hook.events()] == told


def test_a_dead_service_keeps_its_messages_and_costs_the_others_nothing(home: Home, hook: Webhook):
    with webhook() as dead:
        dead.status = 503
        home.set(HARMONY_NOTIFY_URLS=f"{dead.url('other')},{hook.url()}")
        tell(home, ended(REFUSED))
        tell(home, ended())
        assert len(hook.messages) == 2
        assert dead.messages == []
        dead.status = 200
        later = datetime.now(UTC) - timedelta(hours=1)
        home.change(tables.outbox, next_attempt_at=utc_text(later))
        with home.store() as store:
            assert send.send_due(load_settings(), store) == 2
            assert outbox.waiting(store) == 0
        assert dead.events() == [("failure", "AUTH_REQUIRED"), ("recovery", "AUTH_REQUIRED")]


def test_an_address_that_apprise_does_not_know_fails_nothing(home: Home, hook: Webhook):
    home.set(HARMONY_NOTIFY_URLS=f"nosuch://x,{hook.url()}")
    tell(home, ended(REFUSED))
    assert hook.events() == [("failure", "AUTH_REQUIRED")]


def test_markup_and_control_characters_stay_text(home: Home, hook: Webhook):
    news(home, 1, name="<b>\u202ebold\x00</b>\n@everyone `code`")
    tell(home, ended())
    [message] = hook.messages
    assert "@everyone" not in message["message"]
    assert "\u202e" not in message["message"]
    assert message["items"][0]["name"] == "<b>\u202ebold\x00</b>\n@everyone `code`"


def test_the_heart_beats_after_what_was_as_it_should_be(home: Home, hook: Webhook):
    home.unset("HARMONY_NOTIFY_URLS")
    home.set(HARMONY_HEARTBEAT_URL=hook.heartbeat_url)
    tell(home, ended(REFUSED))
    assert hook.beats == 0
    for _ in range(2):
        tell(home, ended())
    assert hook.beats == 2
    assert not notify.tick_was_fine(load_settings(), datetime.now(UTC)), "not twice a minute"
    assert [row["event"] for row in home.rows(tables.outbox)] == [HEARTBEAT]
    assert hook.messages == []


def test_nothing_is_kept_where_nobody_is_to_be_told(home: Home):
    assert notify.run_ended(load_settings(), ended(REFUSED), datetime.now(UTC)) == (0, False)
    assert not home.demo.database.exists()


def test_the_process_that_sends_ends_in_time_and_tells_no_secret(home: Home, hook: Webhook):
    notify.run_ended(load_settings(), ended(REFUSED), datetime.now(UTC))
    assert send.send() == (1, 0)
    hook.seconds = 30
    tell_again = ended({**REFUSED, "code": "INTERNAL_ERROR"})
    notify.run_ended(load_settings(), tell_again, datetime.now(UTC))
    assert send.send(3.0) is None
    with home.store() as store:
        assert outbox.waiting(store) == 1
    for path in home.folder.rglob("*"):
        assert path.is_dir() or b"s3cr3t" not in path.read_bytes(), path
    assert "s3cr3t" not in repr(load_settings())
    assert os.environ["HARMONY_NOTIFY_URLS"] == hook.url()
