from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harmony_pipelines.clients import outbox, tables
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.domain.notices import HEARTBEAT, Message

NOW = datetime(2026, 11, 23, 9, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Catalogue]:
    store = Catalogue.open(f"sqlite:///{tmp_path}/harmony.db")
    yield store
    store.close()


def add(store: Catalogue, *titles: str, to: tuple[str, ...] = ("a",), at: datetime = NOW) -> None:
    with store.writing() as connection:
        outbox.add(connection, to, [Message("failure", title, title) for title in titles], at)


def titles(rows: list[Row]) -> list[str]:
    return [row["title"] for row in rows]


def test_a_service_gets_its_messages_in_order_and_each_once(store: Catalogue) -> None:
    add(store, "one", "two")
    rows = outbox.claim(store, ["a"], NOW)
    assert titles(rows) == ["one", "two"]
    assert outbox.claim(store, ["a"], NOW) == []
    for row in rows:
        outbox.taken(store, row)
    assert outbox.waiting(store) == 0


def test_each_service_has_its_own(store: Catalogue) -> None:
    add(store, "one", to=("a", "b"))
    [first] = outbox.claim(store, ["a", "b"], NOW)
    outbox.taken(store, first)
    [second] = outbox.claim(store, ["a", "b"], NOW)
    assert {first["service"], second["service"]} == {"a", "b"}


def test_a_dead_service_is_tried_after_growing_gaps_and_gets_all_in_the_end(store: Catalogue):
    add(store, "one")
    gaps, now, last = [], NOW, NOW
    for _ in range(3000):
        if outbox.claim(store, ["a"], now):
            gaps.append((now - last) // MINUTE)
            last = now
        now += MINUTE
    assert gaps[:5] == [0, 2, 4, 8, 16]
    assert max(gaps) == 6 * 60
    add(store, "two", at=now)
    assert not outbox.is_due(store, now), "news does not wake what is dead"
    assert titles(outbox.claim(store, ["a"], now + timedelta(hours=6))) == ["one", "two"]


def test_of_many_who_would_send_one_does(store: Catalogue) -> None:
    add(store, "one")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: outbox.claim(store, ["a"], NOW), range(16)))
    assert sorted(map(len, found)) == [0] * 15 + [1]


def test_what_is_kept_is_bounded_in_number_and_age(store: Catalogue) -> None:
    add(store, *(f"{n}" for n in range(outbox.MOST_KEPT + 5)))
    rows = outbox.claim(store, ["a"], NOW)
    assert len(rows) == outbox.MOST_KEPT
    assert rows[0]["title"] == "5"
    add(store, "later", to=("b",), at=NOW + outbox.LONGEST_KEPT + MINUTE)
    assert outbox.waiting(store) == 1


def test_a_clock_that_was_set_back_keeps_no_message(store: Catalogue) -> None:
    add(store, "one", at=NOW + timedelta(days=400))
    assert outbox.is_due(store, NOW)
    assert outbox.claim(store, ["a"], NOW)


def test_the_messages_of_a_service_that_is_not_set_now_wait(store: Catalogue) -> None:
    add(store, "one")
    assert outbox.claim(store, ["b"], NOW) == []
    assert outbox.claim(store, ["a"], NOW)


def test_a_heartbeat_is_never_sent_late(store: Catalogue) -> None:
    with store.writing() as connection:
        assert outbox.beat(connection, NOW)
    assert outbox.claim(store, [HEARTBEAT], NOW + timedelta(hours=1)) == []
    assert not outbox.is_due(store, NOW + timedelta(hours=1))


def test_heartbeats_of_ticks_are_thinned_out_and_those_of_runs_are_not(store: Catalogue) -> None:
    with store.writing() as connection:
        assert outbox.beat(connection, NOW, MINUTE)
        assert not outbox.beat(connection, NOW + MINUTE / 2, MINUTE)
        assert outbox.beat(connection, NOW + MINUTE / 2)
        assert outbox.beat(connection, NOW - timedelta(days=400), MINUTE), "the clock was set back"
    assert store.count(tables.outbox) == 1


def test_the_address_of_a_service_is_nowhere_in_its_name() -> None:
    assert "s3cr3t" not in outbox.service_of("json://user:s3cr3t@host/")
    assert outbox.service_of("json://a") != outbox.service_of("json://b")
