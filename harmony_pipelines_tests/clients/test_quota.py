import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.database import open_engine, reading
from harmony_pipelines.clients.quota import DAY, LONGEST_COOLDOWN, TOKEN, Quota, QuotaLimits
from harmony_pipelines.clients.schema import bring_up_to_date
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

NOON = 1_800_000_000.0


class Clock:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = NOON
        self.waits: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def database(tmp_path: Path) -> Iterator[sa.Engine]:
    engine = open_engine(f"sqlite:///{tmp_path}/harmony.db")
    bring_up_to_date(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def clock() -> Clock:
    return Clock()


def a_quota(database: sa.Engine, clock: Clock, **limits: object) -> Quota:
    return Quota(database, QuotaLimits(**limits), clock=clock, sleep=clock.sleep)  # pyright: ignore[reportArgumentType]


def a_deadline(clock: Clock, seconds: float = 3600) -> Deadline:
    return Deadline.after(seconds, clock=clock)


def test_calls_keep_the_pace_whatever_their_family(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock, per_second=4)
    for family in ("albums", "artists", TOKEN, "albums"):
        quota.acquire(family, a_deadline(clock))
    assert clock.waits == pytest.approx([0.25, 0.25, 0.25])


def test_two_clients_of_one_database_share_the_pace(database: sa.Engine, clock: Clock) -> None:
    first, second = a_quota(database, clock), a_quota(database, clock)
    first.acquire("albums", a_deadline(clock))
    second.acquire("albums", a_deadline(clock))
    assert clock.waits == pytest.approx([1.0])
    assert first.spent("albums") == second.spent("albums") == 2


def test_a_spent_budget_refuses_its_family_and_no_other(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock, daily_requests=2)
    quota.acquire("albums", a_deadline(clock))
    quota.acquire("albums", a_deadline(clock))
    with pytest.raises(HarmonyError) as refused:
        quota.acquire("albums", a_deadline(clock))
    assert (refused.value.code, refused.value.reason) == (
        ErrorCode.RATE_LIMITED,
        Reason.BUDGET_SPENT,
    )
    assert refused.value.details["retry_after_s"] == pytest.approx(DAY - 1, abs=1)
    assert (quota.spent("albums"), quota.left("albums"), quota.left("artists")) == (2, 0, 2)
    quota.acquire("artists", a_deadline(clock))
    quota.acquire(TOKEN, a_deadline(clock))


def test_the_budget_is_of_a_rolling_day(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock, daily_requests=2)
    quota.acquire("albums", a_deadline(clock))
    clock.now += 3600
    quota.acquire("albums", a_deadline(clock))
    clock.now = NOON + DAY - 1
    assert quota.left("albums") == 0
    clock.now = NOON + DAY
    assert quota.left("albums") == 1


def test_a_family_can_have_its_own_budget(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock, by_family={"tracks": 0})
    assert (quota.left("tracks"), quota.left("albums")) == (0, 400)
    with pytest.raises(HarmonyError) as refused:
        quota.check("tracks")
    assert refused.value.details["retry_after_s"] == DAY


def test_one_call_in_ten_is_kept_for_what_the_user_named(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock, daily_requests=25)
    for _ in range(23):
        quota.acquire("albums", a_deadline(clock))
    refusal = quota.why_not("albums")
    assert refusal is not None
    assert "but for 2 kept for artists you name" in refusal.message
    assert refusal.details["retry_after_s"] == pytest.approx(DAY - 22, abs=1)
    assert quota.left("albums") == 2
    named = a_quota(database, clock, daily_requests=25, is_named=True)
    for _ in range(2):
        named.acquire("albums", a_deadline(clock))
    assert named.why_not("albums") is not None
    assert quota.why_not("artists") is None


def test_where_there_was_plenty_a_moment_ago_the_booking_sees_what_others_did_since(
    database: sa.Engine, clock: Clock
) -> None:
    quota, other = a_quota(database, clock), a_quota(database, clock)
    assert quota.why_not("albums") is None
    other.cool_down(clock.now + 600, "rate_limit")
    assert quota.why_not("albums") is None
    with pytest.raises(HarmonyError) as refused:
        quota.acquire("albums", a_deadline(clock))
    assert refused.value.reason is Reason.COOLDOWN
    clock.now += 0.5
    refusal = quota.why_not("albums")
    assert refusal is not None
    assert refusal.reason is Reason.COOLDOWN


def test_a_cooldown_of_its_own_is_known_at_once(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock)
    assert quota.why_not("albums") is None
    quota.cool_down(clock.now + 600, "rate_limit")
    assert quota.why_not("albums") is not None


def test_a_run_that_may_make_some_calls_only_knows_at_once_when_they_are_made(
    database: sa.Engine, clock: Clock
) -> None:
    quota = a_quota(database, clock, per_second=10_000, a_run=1)
    assert quota.why_not("albums") is None
    quota.acquire("albums", a_deadline(clock))
    assert quota.why_not("albums") is not None


@pytest.mark.parametrize(("budget", "kept"), [(1, 0), (9, 0), (10, 1), (400, 40)])
def test_a_small_budget_has_no_reserve(budget: int, kept: int) -> None:
    assert QuotaLimits().kept("albums", budget) == kept
    assert QuotaLimits(is_named=True).kept("albums", budget) == 0


def test_the_budget_for_isrcs_is_spent_whole(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock, by_family={"tracks": 10})
    for _ in range(10):
        quota.acquire("tracks", a_deadline(clock))
    refusal = quota.why_not("tracks")
    assert refusal is not None
    assert "HARMONY_SPOTIFY_ISRC_DAILY_REQUESTS" in refusal.message


def test_looking_costs_nothing(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock)
    quota.check("albums")
    assert (quota.spent("albums"), clock.waits) == (0, [])


def test_a_cooldown_holds_for_every_process_and_survives_a_restart(
    database: sa.Engine, clock: Clock
) -> None:
    a_quota(database, clock).cool_down(NOON + 49_861, "quota_exceeded")
    again = a_quota(database, clock)
    assert again.cooldown_left() == pytest.approx(49_861)
    for family in ("albums", TOKEN):
        with pytest.raises(HarmonyError) as refused:
            again.acquire(family, a_deadline(clock))
        assert refused.value.reason is Reason.COOLDOWN
        assert refused.value.details["retry_after_s"] == pytest.approx(49_861)
    assert clock.waits == []
    clock.now += 49_861
    assert again.cooldown_left() == 0
    again.acquire("albums", a_deadline(clock))


def test_a_cooldown_is_never_shortened_and_never_endless(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock)
    quota.cool_down(NOON + 600, "rate_limit")
    quota.cool_down(NOON + 60, "rate_limit")
    assert quota.cooldown_left() == pytest.approx(600)
    quota.cool_down(NOON + 1e30, "rate_limit")
    assert quota.cooldown_left() == pytest.approx(LONGEST_COOLDOWN)


def test_a_cooldown_that_begins_meanwhile_holds_for_those_who_wait(
    database: sa.Engine, clock: Clock
) -> None:
    quota = a_quota(database, clock)
    quota.acquire("albums", a_deadline(clock))

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        quota.cool_down(clock.now + 900, "rate_limit")

    with pytest.raises(HarmonyError) as refused:
        quota.acquire("albums", a_deadline(clock), sleep)
    assert refused.value.reason is Reason.COOLDOWN
    assert quota.spent("albums") == 1


def test_a_short_rest_moves_everybodys_next_call(database: sa.Engine, clock: Clock) -> None:
    a_quota(database, clock).pause(7)
    a_quota(database, clock).acquire("albums", a_deadline(clock))
    assert clock.waits == pytest.approx([7.0])


def test_a_slot_after_the_deadline_is_not_waited_for(database: sa.Engine, clock: Clock) -> None:
    quota = a_quota(database, clock)
    quota.pause(30)
    with pytest.raises(HarmonyError) as refused:
        quota.acquire("albums", a_deadline(clock, 10))
    assert refused.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert (clock.waits, quota.spent("albums")) == ([], 0)


def test_a_clock_that_was_set_back_does_not_stop_the_calls(
    database: sa.Engine, clock: Clock
) -> None:
    quota = a_quota(database, clock)
    quota.acquire("albums", a_deadline(clock))
    clock.now -= 10 * DAY
    quota.acquire("albums", a_deadline(clock))
    assert clock.waits == []


def test_a_quota_that_spotify_ends_early_lowers_the_budget_which_grows_again(
    database: sa.Engine, clock: Clock
) -> None:
    quota = a_quota(database, clock, per_second=1000, daily_requests=100)
    for _ in range(50):
        quota.acquire("albums", a_deadline(clock))
    quota.cool_down(clock.now + 60, "quota_exceeded", "albums")
    assert (quota.budget("albums"), quota.budget("artists")) == (40, 100)
    assert quota.left("albums") == 0
    clock.now += DAY + 1
    assert quota.budget("albums") == 42
    clock.now += 40 * DAY
    assert quota.budget("albums") == 100


def test_calls_that_no_budget_counts_any_more_are_forgotten(
    database: sa.Engine, clock: Clock
) -> None:
    def stored() -> int:
        with reading(database) as connection:
            rows = sa.select(sa.func.count()).select_from(tables.spotify_calls)
            return connection.execute(rows).scalar_one()

    quota = a_quota(database, clock, per_second=1000)
    for wait in (0, 1, DAY - 10, 20):
        clock.now += wait
        quota.acquire("albums", a_deadline(clock))
    clock.now += 61
    quota.acquire("albums", a_deadline(clock))
    assert stored() == 3
    clock.now += 2 * DAY
    a_quota(database, clock).acquire("artists", a_deadline(clock))
    assert stored() == 1


def test_threads_together_keep_the_budget(database: sa.Engine) -> None:
    quota = Quota(database, QuotaLimits(per_second=1e6, daily_requests=10, is_named=True))
    refused: list[Reason] = []

    def ask() -> None:
        for _ in range(5):
            try:
                quota.acquire("albums", Deadline.after(30))
            except HarmonyError as error:
                refused.append(error.reason)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert quota.spent("albums") == 10
    assert refused == [Reason.BUDGET_SPENT] * 10


PROCESS = """
import sys, time
from harmony_pipelines.clients import tables
from harmony_pipelines.clients.database import open_engine, reading
from harmony_pipelines.clients.schema import bring_up_to_date
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError

engine = open_engine(sys.argv[1])
bring_up_to_date(engine)
quota = Quota(engine, QuotaLimits(per_second=20, daily_requests=24, is_named=True))
try:
    while True:
        quota.acquire("albums", Deadline.after(60))
        print(time.time(), flush=True)
except HarmonyError as error:
    print(error.reason)
"""


@pytest.mark.slow
def test_processes_that_start_together_keep_pace_and_budget(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/harmony.db"
    started = [
        subprocess.Popen([sys.executable, "-c", PROCESS, url], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    lines = [line for process in started for line in process.communicate(timeout=90)[0].split()]
    moments = sorted(float(line) for line in lines if line != Reason.BUDGET_SPENT)
    assert lines.count(Reason.BUDGET_SPENT) == 3
    assert len(moments) == 24
    assert moments[-1] - moments[0] >= 23 / 20 - 0.1
    assert moments[-1] < time.time()


@pytest.mark.slow
def test_what_a_killed_process_spent_stays_spent(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/harmony.db"
    with subprocess.Popen(
        [sys.executable, "-c", PROCESS, url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.kill()
    engine = open_engine(url)
    assert Quota(engine, QuotaLimits()).spent("albums") >= 5
    engine.dispose()


def test_what_a_run_may_book_is_its_own_limit_over_all_families(
    database: sa.Engine, clock: Clock
) -> None:
    one, other = a_quota(database, clock, a_run=2), a_quota(database, clock)
    one.acquire("albums", a_deadline(clock))
    one.acquire(TOKEN, a_deadline(clock))
    other.acquire("albums", a_deadline(clock))
    one.acquire("artists", a_deadline(clock))
    for family in ("albums", "search"):
        with pytest.raises(HarmonyError) as refused:
            one.check(family)
        assert refused.value.reason is Reason.BUDGET_SPENT
        assert "max_requests" in refused.value.message
    other.acquire("search", a_deadline(clock))
    assert one.spent("albums") == 2


def test_a_clock_that_was_far_ahead_does_not_keep_everybody_waiting(
    database: sa.Engine, clock: Clock
) -> None:
    clock.now = NOON + 90 * DAY
    quota = a_quota(database, clock, daily_requests=1)
    quota.acquire("albums", a_deadline(clock))
    quota.cool_down(clock.now + 3600, "rate_limit")
    clock.now = NOON
    assert quota.cooldown_left() == 0
    assert quota.left("albums") == 1
    quota.acquire("albums", a_deadline(clock))
