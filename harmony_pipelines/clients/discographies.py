"""One artist's listings in the catalogue: read, and written whole in one transaction.

The bodies of the albums are read and written apart: `clients/backlog.py`.
"""

import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from harmony_pipelines.clients.catalogue import Catalogue, has_come, of_artist, utc_text
from harmony_pipelines.clients.database import Row, reading, selected, upsert
from harmony_pipelines.clients.tables import (
    new_releases,
    refresh_state,
    spotify_albums,
    spotify_artists,
    watchlist,
)
from harmony_pipelines.domain import cadence, releases
from harmony_pipelines.domain.discography import BODY_COLUMNS, ArtistCatalogue, listed_as
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError

_TRIED_AGAIN = {"partial": "failed"}

_NEVER = {
    "status": "never",
    "attempts": 0,
    "last_complete_at": None,
    "last_listed_at": None,
    "materialised_at": None,
    "baseline_at": None,
    "next_due_at": None,
    "market": None,
    "groups": "[]",
    "bodies_pending": 0,
}


@dataclass(frozen=True)
class Attempt:
    """The circumstances of one refresh of one artist."""

    now: datetime
    run_id: str
    market: str
    requests: int = 0
    stopped: bool = False
    """Whether it ended for a fault that is everybody's: the artist did not fail."""


@dataclass(frozen=True)
class Saved:
    """What a refresh of one artist left in the catalogue."""

    status: str
    albums: int = 0
    bodies_pending: int = 0
    next_due_at: str | None = None


def due_artists(catalogue: Catalogue, now: datetime, limit: int) -> list[Row]:
    """The watched artists that are due, longest due first; those without a baseline after all.

    The rows of `watchlist` with `baseline_at`.
    """
    due_at = sa.func.coalesce(refresh_state.c.next_due_at, "")
    return catalogue.rows(
        _active()
        .add_columns(refresh_state.c.baseline_at)
        .where(
            has_come(due_at, now, cadence.LONGEST),
            sa.func.coalesce(refresh_state.c.status, "") != "gone",
        )
        .order_by(refresh_state.c.baseline_at.is_(None), due_at, *_FILE_ORDER)
        .limit(limit)
    )


def how_many_due(catalogue: Catalogue, now: datetime) -> tuple[int, str | None, str | None]:
    """How many watched artists are due, when the next one is, and when any was last tried."""
    due_at = sa.func.coalesce(refresh_state.c.next_due_at, "")
    due = has_come(due_at, now, cadence.LONGEST)
    [row] = catalogue.rows(
        sa.select(
            sa.func.count(sa.case((due, 1))).label("due"),
            sa.func.min(sa.case((~due, due_at))).label("next"),
            sa.func.max(refresh_state.c.last_attempt_at).label("last"),
        )
        .select_from(watchlist)
        .outerjoin(refresh_state, refresh_state.c.artist_id == watchlist.c.artist_id)
        .where(watchlist.c.paused == 0, sa.func.coalesce(refresh_state.c.status, "") != "gone")
    )
    return row["due"], row["next"], row["last"]


def without_baseline(catalogue: Catalogue) -> list[int]:
    """The number of followed groups of each watched artist that was never listed whole."""
    rows = catalogue.rows(
        _active()
        .with_only_columns(watchlist.c.groups)
        .where(
            refresh_state.c.baseline_at.is_(None),
            sa.func.coalesce(refresh_state.c.status, "") != "gone",
        )
    )
    return [len(json.loads(row["groups"] or "[]")) for row in rows]


def due_retries(catalogue: Catalogue, now: datetime, limit: int) -> list[Row]:
    """The watched artists whose last refresh failed and is due again, longest due first."""
    return catalogue.rows(
        _active()
        .where(*_FAILED, has_come(refresh_state.c.next_due_at, now, cadence.LAST_RETRY))
        .order_by(refresh_state.c.next_due_at, *_FILE_ORDER)
        .limit(limit)
    )


@dataclass(frozen=True)
class Retries:
    """The artists whose last refresh failed in a way that may pass."""

    waiting: int
    due: int
    next_at: str | None
    """When the next one is due that is not yet."""
    attempts: int
    """Over all that are due: it grows with each try."""


def count_retries(catalogue: Catalogue, now: datetime) -> Retries:
    """How many artists wait for another try, and how many of them may be tried now."""
    due = has_come(refresh_state.c.next_due_at, now, cadence.LAST_RETRY)
    [row] = catalogue.rows(
        sa.select(
            sa.func.count().label("waiting"),
            sa.func.count(sa.case((due, 1))).label("due"),
            sa.func.min(sa.case((~due, refresh_state.c.next_due_at))).label("next_at"),
            sa.func.coalesce(sa.func.sum(sa.case((due, refresh_state.c.attempts))), 0).label(
                "attempts"
            ),
        )
        .select_from(watchlist)
        .join(refresh_state, refresh_state.c.artist_id == watchlist.c.artist_id)
        .where(watchlist.c.paused == 0, *_FAILED)
    )
    return Retries(**row)


_FAILED = (
    refresh_state.c.status.in_(["failed", "partial"]),
    refresh_state.c.next_due_at.is_not(None),
    sa.func.coalesce(refresh_state.c.code, "").not_in(
        [ErrorCode.VALIDATION_ERROR, ErrorCode.NOT_FOUND]
    ),
)
"""What another try may mend: not what the user must correct, nor what Spotify does not have."""


def least_recently_listed(catalogue: Catalogue, limit: int) -> list[Row]:
    """The watched artists, due or not, whose listings were read to their end longest ago."""
    listed_at = sa.func.coalesce(refresh_state.c.last_listed_at, "")
    return catalogue.rows(_active().order_by(listed_at, *_FILE_ORDER).limit(limit))


def _active() -> sa.Select[Any]:
    return (
        sa.select(watchlist)
        .outerjoin(refresh_state, refresh_state.c.artist_id == watchlist.c.artist_id)
        .where(watchlist.c.paused == 0)
    )


_FILE_ORDER = (watchlist.c.line.is_(None), watchlist.c.line, watchlist.c.artist_id)
"""As the watchlist has them; artists that only the library names come last."""


@dataclass(frozen=True)
class Stored:
    """What of an artist need not be asked for again, and how the last listings were."""

    artist_at: datetime | None
    """When the artist's own body was read."""
    seen: frozenset[str]
    """The albums known when a refresh last saw all that may be new."""
    listed: int
    """How many albums the followed groups had when they were last listed to their end."""
    listed_at: datetime | None
    market: str | None
    groups: frozenset[str]


def stored(catalogue: Catalogue, artist_id: str) -> Stored:
    """What the catalogue holds of an artist."""
    with reading(catalogue.engine) as connection:
        albums, artists, states = (
            selected(connection, statement, {"artist": artist_id})
            for statement in (_SEEN, of_artist(spotify_artists), of_artist(refresh_state))
        )
    artist, state = next(iter(artists), None), next(iter(states), _NEVER)
    groups = frozenset(json.loads(state["groups"]))
    complete_at, listed_at = state["last_complete_at"] or "", state["last_listed_at"]
    return Stored(
        artist_at=_moment(artist["fetched_at"]) if artist else None,
        seen=frozenset(row["album_id"] for row in albums if row["first_seen_at"] <= complete_at),
        listed=sum(
            row["album_group"] in groups and row["last_seen_at"] >= (listed_at or "")
            for row in albums
        ),
        listed_at=_moment(listed_at),
        market=state["market"],
        groups=groups,
    )


_SEEN = of_artist(spotify_albums).with_only_columns(
    spotify_albums.c.album_id,
    spotify_albums.c.album_group,
    spotify_albums.c.first_seen_at,
    spotify_albums.c.last_seen_at,
)


def save_discography(catalogue: Catalogue, brought: ArtistCatalogue, attempt: Attempt) -> Saved:
    """Commit what a refresh brought: artist, listed albums, news and state, or nothing of it."""
    with catalogue.writing() as connection:
        return _Writer(connection, brought, attempt).save()


def untold(catalogue: Catalogue) -> list[Row]:
    """The watched artists with rows that a killed run committed and did not tell Dagster of."""
    told = sa.func.coalesce(refresh_state.c.materialised_at, "")
    return catalogue.rows(
        sa.select(watchlist, refresh_state.c.status, refresh_state.c.bodies_pending)
        .join(refresh_state, refresh_state.c.artist_id == watchlist.c.artist_id)
        .where(
            refresh_state.c.status.in_(["complete", "deferred"]),
            refresh_state.c.last_complete_at > told,
        )
    )


def mark_told(catalogue: Catalogue, artist_ids: Collection[str]) -> None:
    """Remember that Dagster knows of all that was committed of the artists.

    Should a power cut undo it, the next run tells once more.
    """
    with catalogue.writing(durable=False) as connection:
        connection.execute(
            sa.update(refresh_state)
            .where(refresh_state.c.artist_id.in_(sorted(artist_ids)))
            .values(materialised_at=refresh_state.c.last_attempt_at)
        )


def attempted_between(
    catalogue: Catalogue, artist_id: str, moment: datetime, now: datetime
) -> bool:
    """Whether a refresh of the artist was committed since a moment; not one still to come.

    That is from a clock since set back.
    """
    between = {"after": utc_text(moment), "until": utc_text(now)}
    return bool(catalogue.rows(_ATTEMPTED_BETWEEN, {"artist": artist_id, **between}))


_ATTEMPTED_BETWEEN = (
    of_artist(refresh_state)
    .with_only_columns(refresh_state.c.last_attempt_at)
    .where(
        refresh_state.c.last_attempt_at > sa.bindparam("after"),
        refresh_state.c.last_attempt_at <= sa.bindparam("until"),
    )
)


def put_last(catalogue: Catalogue, artist_id: str, now: datetime) -> None:
    """Let all who are due by now come before this artist in the next run.

    What stopped a run may after all be about this one: others must not wait for it for ever.
    """
    due = utc_text(now)
    never = {**_NEVER, "artist_id": artist_id, "requests": 0, "next_due_at": due}
    with catalogue.writing() as connection:
        upsert(
            connection, refresh_state, [never], update=()
        )  # a first look may be refused for ever
        connection.execute(
            sa.update(refresh_state)
            .where(refresh_state.c.artist_id == artist_id, refresh_state.c.next_due_at < due)
            .values(next_due_at=due)
        )


def save_failure(
    catalogue: Catalogue, artist_id: str, error: HarmonyError, status: str, attempt: Attempt
) -> Saved:
    """Commit that a refresh brought nothing, and why; what is stored of the artist stays."""
    nothing = ArtistCatalogue(artist_id=artist_id, groups=(), error=error)
    with catalogue.writing() as connection:
        return _Writer(connection, nothing, attempt).save_state(status)


_ALBUMS_NOW = of_artist(spotify_albums).with_only_columns(
    spotify_albums.c.release_date,
    spotify_albums.c.release_date_precision,
    spotify_albums.c.album_group,
    spotify_albums.c.removed_at,
    spotify_albums.c.fetched_at,
)


class _Writer:
    """The statements of one artist's transaction."""

    def __init__(self, connection: Connection, brought: ArtistCatalogue, attempt: Attempt) -> None:
        self._connection = connection
        self._brought = brought
        self._attempt = attempt
        self._now = utc_text(attempt.now)
        self._artist_id = brought.artist_id
        self._state = self._first(refresh_state) or _NEVER

    def save(self) -> Saved:
        stored = {row["album_id"]: row for row in self._of_artist(spotify_albums)}
        self._save_artist()
        self._save_news(stored)
        self._save_albums(stored)
        if self._brought.complete and not self._brought.newest_only:
            self._mark_removed()
        return self.save_state(self._status())

    def save_state(self, status: str) -> Saved:
        brought, last, error = self._brought, self._state, self._brought.error
        failed = status in ("failed", "partial")
        attempts = 0 if status in ("complete", "gone") else last["attempts"] + failed
        row = {
            **last,
            "artist_id": self._artist_id,
            "status": status,
            "code": str(error.code) if error else None,
            "reason": str(error.reason) if error else None,
            "message": error.message if error else None,
            "attempts": attempts,
            "last_attempt_at": self._now,
            "next_due_at": self._next_due(status, attempts),
            "requests": self._attempt.requests,
            "bodies_pending": self._pending(),
        }
        if brought.complete:
            row |= self._completed()
        upsert(self._connection, refresh_state, [row])
        return Saved(
            status,
            albums=len(self._listed_now),
            bodies_pending=row["bodies_pending"],
            next_due_at=row["next_due_at"],
        )

    def _completed(self) -> Row:
        """What only a listing without a failure may say."""
        brought, last = self._brought, self._state
        return {
            "last_complete_at": self._now,
            "last_listed_at": last["last_listed_at"] if brought.newest_only else self._now,
            "baseline_at": last["baseline_at"] or self._now,
            "market": self._attempt.market,
            "groups": json.dumps(brought.groups),
        }

    def _status(self) -> str:
        error = self._brought.error
        if self._attempt.stopped or (error and error.code is ErrorCode.RATE_LIMITED):
            return "deferred"
        if error or not self._brought.complete:
            return "partial"
        return "deferred" if self._pending() else "complete"

    def _next_due(self, status: str, attempts: int) -> str | None:
        today = self._attempt.now.date()
        dates = [
            day
            for row in self._albums_now
            if (day := releases.ReleaseDate.of_row(row).earliest) and day <= today
        ]
        state = cadence.ArtistState(
            artist_id=self._artist_id,
            status="complete" if self._brought.complete else _TRIED_AGAIN.get(status, status),
            attempts=attempts,
            next_due_at=_moment(self._state["next_due_at"]),
            latest_release=max(dates, default=None),
            releases_last_year=_since(dates, today - timedelta(days=365)),
        )
        due = cadence.next_due(state, self._attempt.now)
        return utc_text(due) if due else None

    def _save_artist(self) -> None:
        artist = self._brought.artist
        if not artist:
            return
        upsert(self._connection, spotify_artists, [{**artist, "fetched_at": self._now}])
        if artist["name"]:
            self._connection.execute(
                sa.update(watchlist)
                .where(watchlist.c.artist_id == self._artist_id)
                .values(name=artist["name"])
            )

    def _save_news(self, stored: dict[str, Row]) -> None:
        baseline = frozenset(json.loads(self._state["groups"]))
        same_market = self._state["market"] == self._attempt.market
        seen = releases.Seen(frozenset(stored), baseline if same_market else frozenset())
        news = releases.new_releases(
            self._artist(), self._brought.albums, seen, self._attempt.now.date()
        )
        upsert(
            self._connection,
            new_releases,
            [{**row, "first_seen_at": self._now, "run_id": self._attempt.run_id} for row in news],
            update=(),
        )

    def _save_albums(self, stored: dict[str, Row]) -> None:
        rows = {
            str(row["album_id"]): self._listed(row, stored.get(str(row["album_id"])))
            for row in self._brought.albums
        }
        upsert(self._connection, spotify_albums, [row for row in rows.values() if row])
        as_before = sorted(album_id for album_id, row in rows.items() if row is None)
        if as_before:
            self._connection.execute(
                sa.update(spotify_albums)
                .where(
                    spotify_albums.c.artist_id == self._artist_id,
                    spotify_albums.c.album_id.in_(as_before),
                )
                .values(last_seen_at=self._now, removed_at=None)
            )

    def _listed(self, row: Row, known: Row | None) -> Row | None:
        """The row to store of a listing's entry; None where it says what is stored already.

        The body knows better than the listing, which may still name what was withdrawn.
        """
        looks = listed_as(row)
        if known and known["listed_as"] == looks and known["album_group"] == row["album_group"]:
            return None
        new = {"first_seen_at": self._now, "last_seen_at": self._now, "fetched_at": None}
        at_once = utc_text(cadence.AT_ONCE)
        if known is None or known["listed_as"] == looks:
            base = known or {**row, **new, "body_due_at": at_once}
        else:  # changed, or stored by an older version, or forgotten and listed again
            is_changed = known["listed_as"] is not None or not known["fetched_at"]
            due = at_once if is_changed else known["body_due_at"]
            base = known | row | {name: known[name] for name in BODY_COLUMNS}
            base |= {"body_due_at": due}
        return {
            **base,
            "album_group": row["album_group"],
            "last_seen_at": self._now,
            "removed_at": None,
            "listed_as": looks,
        }

    def _pending(self) -> int:
        """The albums of the followed groups whose body was never read."""
        groups = self._brought.groups or json.loads(self._state["groups"])
        unread = (row for row in self._listed_now if row["fetched_at"] is None)
        return sum(row["album_group"] in groups for row in unread)

    @cached_property
    def _albums_now(self) -> list[Row]:
        """The artist's albums once they are written, with what their state is told by."""
        return selected(self._connection, _ALBUMS_NOW, {"artist": self._artist_id})

    @property
    def _listed_now(self) -> list[Row]:
        return [row for row in self._albums_now if row["removed_at"] is None]

    def _mark_removed(self) -> None:
        """Albums that two listings to the end in a row did not have, in the same market."""
        last = self._state["last_listed_at"]
        if last is None or self._state["market"] != self._attempt.market:
            return
        whole = set(self._brought.groups) & set(json.loads(self._state["groups"]))
        self._connection.execute(
            sa.update(spotify_albums)
            .where(
                spotify_albums.c.artist_id == self._artist_id,
                spotify_albums.c.album_group.in_(sorted(whole - self._brought.capped)),
                spotify_albums.c.last_seen_at < last,
                spotify_albums.c.removed_at.is_(None),
            )
            .values(removed_at=self._now)
        )

    def _artist(self) -> Row:
        return (
            dict(self._brought.artist or {})
            or self._first(spotify_artists)
            or self._first(watchlist)
            or {"artist_id": self._artist_id, "name": ""}
        )

    def _of_artist(self, table: sa.Table) -> list[Row]:
        return selected(self._connection, of_artist(table), {"artist": self._artist_id})

    def _first(self, table: sa.Table) -> Row | None:
        return next(iter(self._of_artist(table)), None)


def _since(dates: Iterable[date], day: date) -> int:
    return sum(1 for found in dates if found >= day)


def _moment(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
