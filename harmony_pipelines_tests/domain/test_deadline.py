import pytest

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_wait_takes_the_smaller_of_its_own_limit_and_what_is_left(clock):
    deadline = Deadline.after(10, clock=clock)

    assert deadline.limit(4) == 4
    clock.now += 8
    assert deadline.limit(4) == 2


def test_nothing_is_waited_for_once_it_has_passed(clock):
    deadline = Deadline.after(10, "the run (10 s)", clock=clock)
    clock.now += 11

    with pytest.raises(HarmonyError) as caught:
        deadline.limit(4)

    assert deadline.passed
    assert deadline.left() == 0
    assert caught.value.code is ErrorCode.DEADLINE_EXCEEDED
    assert "the run (10 s)" in caught.value.message


def test_a_part_may_end_sooner_than_the_whole_and_never_later(clock):
    whole = Deadline.after(10, clock=clock)

    assert whole.sooner(3, "a part").left() == 3
    assert whole.sooner(30, "a part").left() == 10
