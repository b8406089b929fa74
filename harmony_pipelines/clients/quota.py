"""The request budget, the pace and the cooldown that all processes share and no restart forgets.

They belong to the developer account: whoever calls Spotify books here first.

Our own, because pyrate-limiter (4.3) keeps fixed rates: a pause or a cooldown that an answer asks
of all processes, a budget that is learned and grows again, and a reserve that only some callers may
spend would each be code around its buckets, and not in the one transaction that books a call.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NoReturn

import sqlalchemy as sa

from harmony_pipelines.clients.database import change, reading, selected, upsert, writing
from harmony_pipelines.clients.tables import spotify_calls, spotify_state
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

FAMILIES = ("artists", "artist_albums", "albums", "album_tracks", "tracks", "search")
"""Spotify counts its endpoints in buckets; so do we."""

ISRCS = "tracks"
"""The family whose budget the user sets for itself, all of it to be spent by runs of their own."""

PROBE = "probe"
"""Finding out what the app may do is booked in its family and counted apart."""

COUNTED = (*FAMILIES, PROBE)
"""What a run's requests are counted by: all that costs quota."""

TOKEN = "token"
"""Asking for a token is paced as any call, but not part of any budget."""

DAY = 86_400.0
LONGEST_COOLDOWN = 7 * DAY
LONGEST_PAUSE = 60.0
"""The longest `Retry-After` that is waited for; a longer one is a cooldown."""

RESERVE = 10
"""One in so many calls of a budget is kept for what the user named."""

_FORGET_EVERY = 60.0
"""Seconds after which calls that no budget counts any more are deleted again."""

_PLENTY, _PLENTY_FOR = 100, 0.5
"""Where so many calls were left, nobody spends them within so many seconds."""

_LOWERED_TO = 0.8
_GROWTH_A_DAY = 1.05

_NEXT_SLOT = "next_slot"
_COOLDOWN_UNTIL = "cooldown_until"
_COOLDOWN_REASON = "cooldown_reason"

_State = Mapping[str, str]
"""What all processes know: the rows of `spotify_state`."""

# Statements that each call needs are made once: that takes longer than to run them.
_STATE = sa.select(spotify_state.c.key, spotify_state.c.value)
_STATE_LOCKED = _STATE.with_for_update()
_called_at = spotify_calls.c.called_at
_OF_THE_DAY = (
    spotify_calls.c.family == sa.bindparam("family"),
    _called_at > sa.bindparam("after"),
    _called_at <= sa.bindparam("until"),
)
_SPENT = sa.select(sa.func.count().label("spent")).where(*_OF_THE_DAY)
_BOOK = sa.insert(spotify_calls)
_FORGET = sa.delete(spotify_calls).where(_called_at <= sa.bindparam("before"))


@dataclass(frozen=True)
class QuotaLimits:
    """How fast and how often Spotify may be called, all processes together."""

    per_second: float = 1.0
    daily_requests: int = 400
    by_family: Mapping[str, int] = field(default_factory=dict)
    """Families whose daily budget is another than `daily_requests`."""
    a_run: int | None = None
    """The calls that may be booked through one `Quota`, all families together."""
    is_named: bool = False
    """Whether the user named what is asked for: only that may spend the reserve."""

    def budget(self, family: str) -> int:
        """The calls of the family that a rolling day may hold."""
        return self.by_family.get(family, self.daily_requests)

    def kept(self, family: str, budget: int) -> int:
        """How many calls of a budget are not for whoever has these limits."""
        return 0 if self.is_named or family == ISRCS else budget // RESERVE


class Quota:
    """Books every call to Spotify before it is made: inside the pace and the budget, or not."""

    def __init__(
        self,
        engine: sa.Engine,
        limits: QuotaLimits,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._engine = engine
        self._limits = limits
        self.clock = clock
        self._sleep = sleep
        self._booked = 0
        self._forgot_at = -_FORGET_EVERY
        self._plenty_at: dict[str, float] = {}
        with writing(engine) as connection:
            upsert(connection, spotify_state, [{"key": _NEXT_SLOT, "value": "0"}], update=())

    def acquire(
        self,
        family: str,
        deadline: Deadline,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        """Book one call, waiting for its slot; `sleep` is how this caller waits.

        Nothing is booked ahead: whoever wakes looks again, so that a cooldown that began
        meanwhile holds for those who were already waiting.
        """
        while True:
            deadline.check()
            wait = self._book(family)
            if wait <= 0:
                return
            if wait > deadline.left():
                raise HarmonyError(
                    ErrorCode.DEADLINE_EXCEEDED,
                    Reason.DEADLINE,
                    f"Spotify may be called again in {wait:.0f} s, which is after the time limit.",
                    family=family,
                    retry_after_s=round(wait, 1),
                )
            (sleep or self._sleep)(wait)

    def check(self, family: str) -> None:
        """Raise what `acquire` would raise about cooldown and budget; book nothing."""
        with reading(self._engine) as connection:
            self._refuse_if_spent(connection, _state(connection), family)

    def cool_down(self, until: float, reason: str, family: str | None = None) -> int | None:
        """Let no process call Spotify before `until` (epoch seconds); never shortens a cooldown.

        A family that ran into Spotify's quota gets a lower budget, below what it had made of it;
        returns that budget.
        """
        now = self.clock()
        until = min(until, now + LONGEST_COOLDOWN)
        self._plenty_at.clear()
        with writing(self._engine) as connection:
            state = _locked(connection)
            if until > self._cooldown_until(state):
                _remember(connection, _COOLDOWN_UNTIL, repr(until))
                _remember(connection, _COOLDOWN_REASON, reason)
            if family is not None and reason == Reason.QUOTA_EXCEEDED:
                lowered = int(_LOWERED_TO * self._spent(connection, family))
                value = json.dumps({"budget": lowered, "since": now})
                _remember(connection, _lowered_key(family), value)
                return self._budget(_state(connection), family)
        return None

    def pause(self, seconds: float) -> None:
        """Move everybody's next call `seconds` away: Spotify asked for a short rest."""
        with writing(self._engine) as connection:
            now = self.clock()
            slot = max(_slot(_locked(connection)), now + min(seconds, LONGEST_PAUSE))
            _remember(connection, _NEXT_SLOT, repr(slot))

    def cooldown_left(self) -> float:
        """Seconds until Spotify may be called again; 0 when it may."""
        with reading(self._engine) as connection:
            return max(0.0, self._cooldown_until(_state(connection)) - self.clock())

    def spent(self, family: str) -> int:
        """The calls of the family within the last 24 hours."""
        with reading(self._engine) as connection:
            return self._spent(connection, family)

    def budget(self, family: str) -> int:
        """The calls of the family that a rolling day may hold at present."""
        with reading(self._engine) as connection:
            return self._budget(_state(connection), family)

    def left(self, family: str) -> int:
        """The calls of the family that are still free, the reserve among them."""
        with reading(self._engine) as connection:
            budget = self._budget(_state(connection), family)
            return max(0, budget - self._spent(connection, family))

    def why_not(self, family: str) -> HarmonyError | None:
        """What keeps a call of the family from being booked now; None if nothing does.

        Where there was plenty a moment ago nothing is looked up: the booking does so in any case.
        """
        if 0 <= self.clock() - self._plenty_at.get(family, -_PLENTY_FOR) < _PLENTY_FOR:
            return None
        try:
            self.check(family)
        except HarmonyError as refusal:
            return refusal
        return None

    def _book(self, family: str) -> float:
        """Book a call now and return 0, or return the seconds until there is a slot.

        A power cut may undo the bookings of the last moments; waiting for the disk at each call
        would cost more than the call.
        """
        with writing(self._engine, durable=False) as connection:
            state = _locked(connection)
            self._refuse_if_spent(connection, state, family)
            now, slot = self.clock(), _slot(state)
            gap = 1.0 / self._limits.per_second
            if now < slot <= now + LONGEST_PAUSE + gap:  # a later one is from a clock set back
                return slot - now
            _remember(connection, _NEXT_SLOT, repr(now + gap))
            if family != TOKEN:
                if not 0 <= now - self._forgot_at < _FORGET_EVERY:
                    change(connection, _FORGET, {"before": now - DAY})
                    self._forgot_at = now
                change(connection, _BOOK, {"family": family, "called_at": now})
                self._remember_budget(connection, state, family)
                self._booked += 1  # under the database's write lock, as all of this
        return 0.0

    def _refuse_if_spent(self, connection: sa.Connection, state: _State, family: str) -> None:
        left = self._cooldown_until(state) - self.clock()
        if left > 0:
            _refuse_cooldown(state, left, self.clock() + left)
        if family == TOKEN:
            return
        self._refuse_if_run_spent(family)
        budget, spent = self._budget(state, family), self._spent(connection, family)
        kept = self._limits.kept(family, budget)
        if spent < budget - kept - _PLENTY and self._limits.a_run is None:
            self._plenty_at[family] = self.clock()
        if spent >= budget - kept:
            wait = self._until_free(connection, family, spent - (budget - kept))
            setting = "ISRC_DAILY_REQUESTS" if family == ISRCS else "DAILY_REQUESTS"
            reserve = f", but for {kept} kept for artists you name" if kept else ""
            raise HarmonyError(
                ErrorCode.RATE_LIMITED,
                Reason.BUDGET_SPENT,
                f"The {budget} requests that a day may spend on Spotify's {family} are "
                f"spent{reserve}; the next is free in {wait / 3600:.1f} h "
                f"(HARMONY_SPOTIFY_{setting} sets the budget).",
                family=family,
                budget=budget,
                retry_after_s=round(wait, 1),
            )

    def _refuse_if_run_spent(self, family: str) -> None:
        most = self._limits.a_run
        if most is not None and self._booked >= most:
            raise HarmonyError(
                ErrorCode.RATE_LIMITED,
                Reason.BUDGET_SPENT,
                f"The {most} requests that this run may make are spent; what is left stays due "
                "(max_requests in the run's configuration).",
                family=family,
                budget=most,
            )

    def _until_free(self, connection: sa.Connection, family: str, over: int) -> float:
        now = self.clock()
        oldest = sa.select(_called_at).where(*_OF_THE_DAY).order_by(_called_at)
        frees = connection.execute(oldest.offset(over).limit(1), _day(family, now)).scalar()
        return DAY if frees is None else max(0.0, frees + DAY - now)

    def _spent(self, connection: sa.Connection, family: str) -> int:
        [row] = selected(connection, _SPENT, _day(family, self.clock()))
        return row["spent"]

    def _budget(self, state: _State, family: str) -> int:
        """The configured budget, or the lowered one that grows with every day without a fault."""
        configured = self._limits.budget(family)
        stored = state.get(_lowered_key(family))
        if stored is None:
            return configured
        lowered = json.loads(stored)
        days = min(365.0, max(0.0, self.clock() - lowered["since"]) // DAY)
        return min(configured, int(max(1, lowered["budget"]) * _GROWTH_A_DAY**days))

    def _remember_budget(self, connection: sa.Connection, state: _State, family: str) -> None:
        """Keep the budget that the call just booked was within, for whoever checks it later."""
        budget, key = str(self._budget(state, family)), _budget_key(family)
        if state.get(key) != budget:
            _remember(connection, key, budget)

    def _cooldown_until(self, state: _State) -> float:
        """The moment as stored; one that no cooldown reaches is from a clock since set back."""
        until = float(state.get(_COOLDOWN_UNTIL) or 0.0)
        return until if until <= self.clock() + LONGEST_COOLDOWN + DAY else 0.0


def _refuse_cooldown(state: _State, left: float, until: float) -> NoReturn:
    at = datetime.fromtimestamp(until, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    why = state.get(_COOLDOWN_REASON)
    raise HarmonyError(
        ErrorCode.RATE_LIMITED,
        Reason.COOLDOWN,
        f"Spotify is not called before {at} ({why}); what is due then is read by the next run.",
        retry_after_s=round(left, 1),
        cause=why,
    )


def _day(family: str, now: float) -> dict[str, str | float]:
    """The family's calls of the last day, without those of a clock since set back."""
    return {"family": family, "after": now - DAY, "until": now + DAY}


def _state(connection: sa.Connection, rows: sa.Select[str, str] = _STATE) -> _State:
    return {row["key"]: row["value"] for row in selected(connection, rows, {})}


def _locked(connection: sa.Connection) -> _State:
    """Keep all others out until this transaction ends; returns what they know.

    SQLite's write lock does it already; elsewhere the rows' locks do.
    """
    return _state(connection, _STATE_LOCKED)


def _slot(state: _State) -> float:
    return float(state[_NEXT_SLOT])


def _remember(connection: sa.Connection, key: str, value: str) -> None:
    upsert(connection, spotify_state, [{"key": key, "value": value}])


def calls_beyond_budget(
    engine: sa.Engine, limits: QuotaLimits, now: float
) -> list[dict[str, str | int]]:
    """The families whose last call was not within the budget that was in force when it was made.

    Settings may since allow less, and Spotify may have; calls from before that were right then.
    """
    found: list[dict[str, str | int]] = []
    with reading(engine) as connection:
        state = _state(connection)
        for family in FAMILIES:
            at = spotify_calls.c.called_at
            its = spotify_calls.c.family == family
            last = connection.execute(
                sa.select(sa.func.max(at)).where(its, at > now - DAY, at <= now)
            ).scalar()
            if last is None:
                continue
            requests = connection.execute(
                sa.select(sa.func.count()).where(its, at > last - DAY, at <= last)
            ).scalar_one()
            budget = int(state.get(_budget_key(family)) or limits.budget(family))
            if requests > budget:
                found.append({"family": family, "requests": requests, "budget": budget})
    return found


def _budget_key(family: str) -> str:
    return f"budget:{family}"


def _lowered_key(family: str) -> str:
    return f"lowered_budget:{family}"
