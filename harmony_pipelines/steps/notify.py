"""What the user is told once a run has ended, or was seen to have failed; sending comes later.

What is wrong, what was told of it and what waits to be sent are committed together, so that a kill
at any moment neither loses a message nor makes it twice.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harmony_pipelines.clients import outbox, tables
from harmony_pipelines.clients.catalogue import Catalogue, Row, utc_text
from harmony_pipelines.clients.database import upsert
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.domain import notices
from harmony_pipelines.domain.errors import ErrorCode, Reason
from harmony_pipelines.domain.notices import Known, Message, Problem
from harmony_pipelines.settings import Settings

ARTISTS, SPOTIFY, REVIEW = "artists", "Spotify", "review"
"""The scopes of problems that no job has for itself."""

_OLD_NEWS = timedelta(days=7)
"""Older releases are not told of: somebody has just switched notifications on."""

_BEAT_AT_MOST_EVERY = timedelta(seconds=50)


@dataclass(frozen=True)
class RunEnd:
    """How a run ended; `failures` have `code`, `reason`, `message` and perhaps `problems`."""

    run_id: str
    job: str
    failures: tuple[Mapping[str, Any], ...] = ()

    @property
    def knows_all(self) -> bool:
        """Whether it would have said of each problem of the job that it is still there."""
        return all("problems" in failure for failure in self.failures)


def is_wanted(settings: Settings) -> bool:
    """Whether there is anybody to tell."""
    return bool(settings.notify_urls or settings.heartbeat_url)


class Left(NamedTuple):
    """How many messages wait, and whether anything may be sent now, be it a heartbeat."""

    messages: int = 0
    is_due: bool = False


def run_ended(settings: Settings, end: RunEnd, now: datetime) -> Left:
    """Note what to tell of a run; what waits to be sent."""
    if not is_wanted(settings):
        return Left()
    with closing(Catalogue.open(settings.database_url)) as store:
        if settings.notify_urls:
            _Telling(settings, store, now, end).tell()
        if settings.heartbeat_url and not end.failures:
            with store.writing() as connection:
                outbox.beat(connection, now)
        return _left(store, now)


def look(settings: Settings, failed: Sequence[RunEnd], now: datetime) -> Left:
    """Note runs that failed and could not tell of it, and what lasts; what waits to be sent."""
    if not is_wanted(settings):
        return Left()
    with closing(Catalogue.open(settings.database_url)) as store:
        if settings.notify_urls:
            for end in failed or [None]:
                _Telling(settings, store, now, end).tell()
        return _left(store, now)


def _left(store: Catalogue, now: datetime) -> Left:
    return Left(outbox.waiting(store), outbox.is_due(store, now))


def watchlist_was_read(
    settings: Settings, sensor: str, fault: Mapping[str, Any] | None, now: datetime
) -> Left:
    """Note what a tick found wrong with the watchlist, or that it is right again."""
    problems = [fault] if fault else []
    end = RunEnd("", sensor, ({"problems": problems},))
    return look(settings, [end], now)


def tick_was_fine(settings: Settings, now: datetime) -> bool:
    """Note that a tick skipped as it should; whether something waits to be sent now."""
    if not settings.heartbeat_url:
        return False
    with closing(Catalogue.open(settings.database_url)) as store, store.writing() as connection:
        return outbox.beat(connection, now, _BEAT_AT_MOST_EVERY)


@dataclass
class _Telling:
    """What is told at one moment, in one transaction."""

    settings: Settings
    store: Catalogue
    now: datetime
    end: RunEnd | None
    messages: list[Message] = field(default_factory=list)

    @property
    def run_id(self) -> str | None:
        """The run that is told of, None for a tick."""
        return (self.end.run_id or None) if self.end else None

    def tell(self) -> None:
        """Tell of it; between the ends of runs only of what lasts, lest news come in pieces."""
        left = Quota(self.store.engine, QuotaLimits()).cooldown_left()
        with self.store.writing() as connection:
            self._tell_of_problems(connection)
            self._tell_of_cooldown(connection, left)
            if self.end is not None:
                self._tell_of_review(connection)
                self._tell_of_news(connection)
                self._tell_of_covers(connection, self.end.run_id)
            wanted = [each for each in self.messages if self._is_wanted(each.event)]
            services = [outbox.service_of(url) for url in self.settings.notify_urls]
            outbox.add(connection, services, wanted, self.now)

    def _is_wanted(self, event: str) -> bool:
        asked = notices.FAILURE if event == notices.REMINDER else event
        return asked in self.settings.notify_on

    def _tell_of_problems(self, connection: Connection) -> None:
        known = _known(connection, tables.problems.c.scope.not_in([SPOTIFY, REVIEW]))
        found: list[Problem] = []
        looked_at: set[str] = set()
        if self.end is not None:
            found = [*_failing_artists(connection), *_problems_of(self.end)]
            looked_at = {ARTISTS, *([self.end.job] if self.end.knows_all else [])}
        changed = notices.changes(known, found, looked_at, self.now)
        watched = set(connection.execute(sa.select(_ARTIST)).scalars()) if changed.ended else set()
        ended = [p for p in changed.ended if p.scope != ARTISTS or p.subject in watched]
        self.messages += notices.about_problems(notices.FAILURE, changed.began, self.run_id)
        self.messages += notices.about_problems(notices.RECOVERY, ended, self.run_id)
        self.messages += notices.about_problems(notices.REMINDER, changed.last, self.run_id)
        _forget(connection, changed.ended)
        self._remember(connection, changed.began)
        for problem in changed.last:
            self._update(connection, problem, told_at=utc_text(self.now))

    def _tell_of_cooldown(self, connection: Connection, left: float) -> None:
        """Once a cooldown; that it grew is the same one, that it was over and is again is not."""
        known = _known_until(connection)
        if left <= 0:
            return
        until = utc_text(self.now + timedelta(seconds=left))
        problem = Problem(
            ErrorCode.RATE_LIMITED,
            SPOTIFY,
            f"Spotify asked for a pause: it is not called before {until}. What is due waits.",
            SPOTIFY,
            Reason.COOLDOWN,
        )
        if known is None or known < utc_text(self.now):
            _forget(connection, [problem])
            self.messages += notices.about_problems(notices.FAILURE, [problem], self.run_id)
            self._remember(connection, [problem])
        self._update(connection, problem, until=until)

    def _tell_of_review(self, connection: Connection) -> None:
        if notices.REVIEW not in self.settings.notify_on:
            return
        known = _known(connection, tables.problems.c.scope == REVIEW)
        changed = notices.changes(known, _to_review(connection), {REVIEW}, self.now)
        self.messages += notices.about_review(changed.began, self.run_id)
        _forget(connection, changed.ended)
        self._remember(connection, changed.began)

    def _tell_of_news(self, connection: Connection) -> None:
        news = tables.new_releases
        untold = news.c.told_at.is_(None)
        young = news.c.first_seen_at > utc_text(self.now - _OLD_NEWS)
        rows = _rows(
            connection,
            sa.select(news)
            .where(untold, young, news.c.hidden_reason.is_(None), news.c.name.is_not(None))
            .order_by(news.c.release_date.desc(), news.c.artist_name, news.c.album_id),
        )
        connection.execute(sa.update(news).where(untold).values(told_at=utc_text(self.now)))
        self.messages += notices.about_news(rows, self.run_id)

    def _tell_of_covers(self, connection: Connection, run_id: str) -> None:
        counts, albums = _covers_of(connection, run_id)
        self.messages += notices.about_covers(counts, albums, self.run_id)

    def _remember(self, connection: Connection, problems: Iterable[Problem]) -> None:
        now = utc_text(self.now)
        rows = [
            {
                "code": each.code,
                "subject": each.subject,
                "scope": each.scope,
                "reason": each.reason,
                "message": each.message,
                "run_id": self.run_id,
                "began_at": now,
                "told_at": now,
                "until": None,
            }
            for each in problems
        ]
        upsert(connection, tables.problems, rows)

    def _update(self, connection: Connection, problem: Problem, **values: str) -> None:
        connection.execute(sa.update(tables.problems).where(*_is(problem)).values(**values))


_ARTIST = (
    tables.watchlist.c.name + sa.literal(" (") + tables.watchlist.c.artist_id + sa.literal(")")
).label("artist")
"""An artist as the subject of a problem: names are not unique."""


def _failing_artists(connection: Connection) -> list[Problem]:
    state = tables.refresh_state
    found = _rows(
        connection,
        sa.select(_ARTIST, state.c.code, state.c.reason, state.c.message)
        .join(tables.watchlist, tables.watchlist.c.artist_id == state.c.artist_id)
        .where(state.c.status.in_(["failed", "partial"]), state.c.code.is_not(None)),
    )
    return [
        Problem(row["code"], row["artist"], row["message"] or "", ARTISTS, row["reason"] or "")
        for row in found
    ]


def _problems_of(end: RunEnd) -> list[Problem]:
    """The problems that are the run's own: an artist's are in the tables."""
    told = [
        each for failure in end.failures for each in failure.get("problems", [failure])
        if "partition" not in each and each["code"] != ErrorCode.RATE_LIMITED
    ]  # fmt: skip
    return [
        Problem(
            str(each["code"]),
            str(each.get("artist") or _FILES.get(each.get("reason"), end.job)),
            str(each.get("message") or ""),
            end.job,
            str(each.get("reason") or ""),
        )
        for each in told
    ]


_FILES: Mapping[str | None, str] = {
    Reason.WATCHLIST: "watchlist.yaml",
    Reason.DECISIONS: "decisions.yaml",
}
"""What is wrong with these is one problem, whoever meets it."""


def _to_review(connection: Connection) -> list[Problem]:
    lines = _rows(connection, sa.select(tables.watchlist_review))
    matches, albums = tables.album_matches, tables.beets_albums
    unsure = _rows(
        connection,
        sa.select(matches, albums.c.albumartist, albums.c.album)
        .join(albums, albums.c.beets_album_id == matches.c.beets_album_id)
        .where(matches.c.verdict.in_(["unsure", "ambiguous"])),
    )
    return [
        *(
            Problem(row["code"], f"watchlist: {row['text']}", row["message"], REVIEW)
            for row in lines
        ),
        *(
            Problem(
                str(row["verdict"]),
                f"{row['albumartist']}: {row['album']} (beets id {row['beets_album_id']})",
                row["message"] or "",
                REVIEW,
            )
            for row in unsure
        ),
    ]


def _covers_of(connection: Connection, run_id: str) -> tuple[dict[str, int], list[Row]]:
    results, albums = tables.artwork_results, tables.beets_albums
    files = _rows(
        connection,
        sa.select(
            results.c.status,
            results.c.beets_album_id,
            sa.func.max(albums.c.albumartist).label("albumartist"),
            sa.func.max(albums.c.album).label("album"),
            sa.func.count().label("files"),
        )
        .outerjoin(albums, albums.c.beets_album_id == results.c.beets_album_id)
        .where(results.c.run_id == run_id)
        .group_by(results.c.status, results.c.beets_album_id)
        .order_by(results.c.beets_album_id),
    )
    counts: Counter[str] = Counter()
    for row in files:
        counts[row["status"]] += row["files"]
    return dict(counts), [row for row in files if row["status"] in ("embedded", "restored")]


def _known(connection: Connection, *where: sa.ColumnElement[bool]) -> list[Known]:
    return [
        Known(
            Problem(
                row["code"],
                row["subject"],
                row["message"] or "",
                row["scope"],
                row["reason"] or "",
            ),
            datetime.fromisoformat(row["told_at"]),
        )
        for row in _rows(connection, sa.select(tables.problems).where(*where))
    ]


def _known_until(connection: Connection) -> str | None:
    return connection.execute(
        sa.select(tables.problems.c.until).where(tables.problems.c.scope == SPOTIFY)
    ).scalar()


def _forget(connection: Connection, problems: Iterable[Problem]) -> None:
    for problem in problems:
        connection.execute(sa.delete(tables.problems).where(*_is(problem)))


def _is(problem: Problem) -> tuple[sa.ColumnElement[bool], ...]:
    code, subject = problem.key
    return tables.problems.c.code == code, tables.problems.c.subject == subject


def _rows(connection: Connection, statement: sa.Select[*tuple[Any, ...]]) -> list[Row]:
    return [dict(row) for row in connection.execute(statement).mappings()]


def failure_told(text: str) -> dict[str, str]:
    """The failure that a message of ours, `CODE: what happened`, tells of."""
    code, _, message = text.partition(": ")
    if code in list(ErrorCode):
        return {"code": code, "message": message}
    return {"code": str(ErrorCode.DEPENDENCY_ERROR), "message": text}
