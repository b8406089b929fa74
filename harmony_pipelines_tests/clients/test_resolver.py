import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import pytest

from harmony_pipelines.clients.resolver import Resolver, system_look_up
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


class Names:
    """A resolver that never answers for names that begin with `hang`."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        self.asked.append(host)
        if host.startswith("hang"):
            self.released.wait(30)
        if host == "none":
            raise OSError("no such name")
        return ["8.8.8.8"] if host != "empty" else []


@pytest.fixture
def names() -> Iterator[Names]:
    names = Names()
    yield names
    names.released.set()


def soon() -> Deadline:
    return Deadline.after(20)


def failed(resolver: Resolver, host: str, seconds: float = 0.1) -> HarmonyError:
    with pytest.raises(HarmonyError) as refused:
        resolver.addresses(host, 443, seconds, soon())
    return refused.value


def test_this_machine_knows_itself() -> None:
    assert set(system_look_up("localhost", 80)) <= {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["none", "empty", "hang"])
def test_a_name_without_addresses_is_a_failed_look_up(names: Names, host: str) -> None:
    assert failed(Resolver(names), host).reason is Reason.NAME_RESOLUTION


def test_a_name_that_cannot_be_one_is_a_failed_look_up() -> None:
    assert failed(Resolver(), "a" * 70 + ".example").reason is Reason.NAME_RESOLUTION


def test_the_deadline_ends_a_look_up_that_hangs(names: Names) -> None:
    with pytest.raises(HarmonyError) as refused:
        Resolver(names).addresses("hang", 443, 10, Deadline.after(0.1))
    assert refused.value.code is ErrorCode.DEADLINE_EXCEEDED


def test_a_name_that_hangs_takes_one_thread_and_no_other_name_waits(names: Names) -> None:
    resolver = Resolver(names, at_once=2)
    for _ in range(5):
        failed(resolver, "hang", 0.02)
    assert names.asked == ["hang"]
    assert resolver.addresses("fine", 443, 1, soon()) == ["8.8.8.8"]


def test_many_names_that_hang_block_no_other(names: Names) -> None:
    resolver = Resolver(names)
    for number in range(20):
        failed(resolver, f"hang-{number}", 0.01)
    began = time.monotonic()
    assert resolver.addresses("fine", 443, 1, soon()) == ["8.8.8.8"]
    assert time.monotonic() - began < 0.5


def test_at_the_bound_a_further_name_waits_for_its_turn_within_its_limit(names: Names) -> None:
    resolver = Resolver(names, at_once=2)
    failed(resolver, "hang-1", 0.02)
    failed(resolver, "hang-2", 0.02)
    assert failed(resolver, "fine", 0.1).reason is Reason.NAME_RESOLUTION
    threading.Timer(0.1, names.released.set).start()
    assert resolver.addresses("fine", 443, 5, soon()) == ["8.8.8.8"]


def test_a_name_is_looked_up_anew_each_time(names: Names) -> None:
    resolver = Resolver(names)
    for _ in range(2):
        resolver.addresses("fine", 443, 1, soon())
    assert names.asked == ["fine", "fine"]


@pytest.mark.slow
def test_a_process_ends_at_once_although_a_look_up_hangs() -> None:
    script = (
        "import time\n"
        "from harmony_pipelines.clients.resolver import Resolver\n"
        "from harmony_pipelines.domain.deadline import Deadline\n"
        "from harmony_pipelines.domain.errors import HarmonyError\n"
        "try:\n"
        "    hanging = Resolver(lambda host, port: time.sleep(60))\n"
        "    hanging.addresses('a', 1, 0.1, Deadline.after(1))\n"
        "except HarmonyError:\n"
        "    pass\n"
    )
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", script], check=True, timeout=20)
    assert time.monotonic() - began < 5
