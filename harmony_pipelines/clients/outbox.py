"""Messages that wait until their service has taken them; they survive every process.

Whoever sends claims all messages of a service before the first is sent, by putting their next try
off: so no other process sends them too, and a service that is dead is left alone for growing gaps.
"""

import hashlib
import json
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harmony_pipelines.clients.catalogue import Catalogue, Row, has_come, utc_text
from harmony_pipelines.clients.tables import outbox
from harmony_pipelines.domain.notices import HEARTBEAT, Message

MOST_KEPT = 500
"""Messages for one service that are kept; the oldest go first."""

LONGEST_KEPT = timedelta(days=14)

_FIRST_GAP = timedelta(minutes=2)
"""Longer than any process may send: what it claimed is its own for so long."""

_LONGEST_GAP = timedelta(hours=6)
_BEAT_LASTS = timedelta(minutes=10)
"""After that a heartbeat would say what is no longer known."""


def service_of(url: str) -> str:
    """The name of a service in our tables; its address, which holds secrets, is not there."""
    return hashlib.sha256(url.encode()).hexdigest()[:12]


def add(
    connection: Connection, services: Sequence[str], messages: Sequence[Message], now: datetime
) -> None:
    """Let the messages wait for each of the services."""
    for service in services:
        rows = [_row(service, message, now) for message in messages]
        later = connection.execute(
            sa.select(sa.func.max(outbox.c.next_attempt_at)).where(outbox.c.service == service)
        ).scalar()
        for row in rows:
            row["next_attempt_at"] = max(row["next_attempt_at"], later or "")
        if rows:
            connection.execute(sa.insert(outbox), rows)
        _forget_oldest(connection, service)
    connection.execute(sa.delete(outbox).where(outbox.c.created_at < utc_text(now - LONGEST_KEPT)))


def beat(connection: Connection, now: datetime, unless_within: timedelta = timedelta()) -> bool:
    """Let a heartbeat wait, unless there was one lately; whether it does."""
    last = connection.execute(
        sa.select(sa.func.max(outbox.c.created_at)).where(outbox.c.event == HEARTBEAT)
    ).scalar()
    if last and now - unless_within < datetime.fromisoformat(last) <= now:
        return False
    connection.execute(sa.delete(outbox).where(outbox.c.event == HEARTBEAT))
    row = _row(HEARTBEAT, Message(HEARTBEAT, "", ""), now)
    connection.execute(sa.insert(outbox), [row])
    return True


def is_due(catalogue: Catalogue, now: datetime) -> bool:
    """Whether any message may be sent now."""
    return bool(catalogue.count(outbox, _due(now)))


def waiting(catalogue: Catalogue) -> int:
    """How many messages no service has taken yet; a heartbeat is none."""
    return catalogue.count(outbox, outbox.c.event != HEARTBEAT)


def claim(catalogue: Catalogue, services: Collection[str], now: datetime) -> list[Row]:
    """All messages of one service that is due, oldest first; nobody else is given them meanwhile.

    They are tried again after a gap that grows with the tries of the first one.
    """
    with catalogue.writing() as connection:
        first = _rows(
            connection,
            sa.select(outbox)
            .where(_due(now), outbox.c.service.in_(services))
            .order_by(outbox.c.id)
            .limit(1)
            .with_for_update(),
        )
        if not first:
            return []
        service, tried = first[0]["service"], first[0]["attempts"]
        gap = min(_FIRST_GAP * 2 ** min(tried, 10), _LONGEST_GAP)
        its = outbox.c.service == service
        connection.execute(sa.update(outbox).where(its).values(next_attempt_at=utc_text(now + gap)))
        connection.execute(
            sa.update(outbox).where(outbox.c.id == first[0]["id"]).values(attempts=tried + 1)
        )
        rows = _rows(connection, sa.select(outbox).where(its).order_by(outbox.c.id))
        if service == HEARTBEAT and rows[0]["created_at"] < utc_text(now - _BEAT_LASTS):
            connection.execute(sa.delete(outbox).where(its))
            return []
        return rows


def taken(catalogue: Catalogue, row: Row) -> None:
    """The service has taken the message: it goes. Of a heartbeat stays when it was."""
    this = outbox.c.id == row["id"]
    with catalogue.writing() as connection:
        if row["event"] == HEARTBEAT:
            connection.execute(sa.update(outbox).where(this).values(next_attempt_at=None))
        else:
            connection.execute(sa.delete(outbox).where(this))


def as_data(row: Row) -> dict[str, Any]:
    """What a program is told: event, code, run id, counts and items."""
    return {
        "event": row["event"],
        "code": row["code"],
        "run_id": row["run_id"],
        "counts": json.loads(row["counts"]),
        "items": json.loads(row["items"]),
    }


def _row(service: str, message: Message, now: datetime) -> Row:
    return {
        "service": service,
        "event": message.event,
        "code": message.code,
        "run_id": message.run_id,
        "title": message.title,
        "body": message.body,
        "counts": json.dumps(message.counts or {}),
        "items": json.dumps(list(message.items), ensure_ascii=False),
        "created_at": utc_text(now),
        "attempts": 0,
        "next_attempt_at": utc_text(now),
    }


def _due(now: datetime) -> sa.ColumnElement[bool]:
    return has_come(outbox.c.next_attempt_at, now, 2 * _LONGEST_GAP)


def _forget_oldest(connection: Connection, service: str) -> None:
    newest = (
        sa.select(outbox.c.id)
        .where(outbox.c.service == service)
        .order_by(outbox.c.id.desc())
        .limit(MOST_KEPT)
    )
    connection.execute(
        sa.delete(outbox).where(outbox.c.service == service, outbox.c.id.not_in(newest))
    )


def _rows(connection: Connection, statement: sa.Select[*tuple[Any, ...]]) -> list[Row]:
    return [dict(row) for row in connection.execute(statement).mappings()]
