import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import pytest

from harmony_pipelines.clients.turns import Turns
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError, Reason

REPOSITORY = Path(__file__).parents[2]


def request(turns: Turns, began: list[float], requests: int = 1) -> None:
    deadline = Deadline.after(10)
    with turns.turn(deadline) as pace:
        for _ in range(requests):
            with pace(deadline):
                began.append(time.monotonic())


def test_requests_of_all_threads_are_a_gap_apart(tmp_path: Path) -> None:
    began: list[float] = []
    turns = Turns(tmp_path / "locks" / "archive", 0.05)
    threads = [threading.Thread(target=request, args=(turns, began, 2)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(began) == 8
    assert all(later - earlier >= 0.049 for earlier, later in pairwise(began))


def test_the_gap_holds_after_another_process_ended(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    path.write_text(f"{time.time():020.6f}")
    before, began = time.monotonic(), list[float]()
    request(Turns(path, 0.2), began)
    assert began[0] - before >= 0.19


@pytest.mark.parametrize("content", ["", "odd", "0009999999999.000000"])
def test_odd_times_cost_at_most_one_gap(tmp_path: Path, content: str) -> None:
    path = tmp_path / "archive"
    path.write_text(content)
    before, began = time.monotonic(), list[float]()
    request(Turns(path, 0.1), began)
    assert began[0] - before < 2


def test_a_turn_that_does_not_come_ends_at_the_deadline(tmp_path: Path) -> None:
    turns = Turns(tmp_path / "archive", 0.01)
    with turns.turn(Deadline.after(5)):
        before = time.monotonic()
        with pytest.raises(HarmonyError) as late, turns.turn(Deadline.after(0.1)):
            pass
    assert late.value.reason is Reason.DEADLINE
    assert time.monotonic() - before < 0.6


@pytest.mark.slow
def test_a_process_that_is_killed_gives_its_turn_back(tmp_path: Path) -> None:
    path = tmp_path / "archive"
    script = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from harmony_pipelines.clients.turns import Turns\n"
        "from harmony_pipelines.domain.deadline import Deadline\n"
        "with Turns(Path(sys.argv[1])).turn(Deadline.after(5)):\n"
        "    print('mine', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", script, str(path)]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"mine\n"
        with pytest.raises(HarmonyError), Turns(path).turn(Deadline.after(0.2)):
            pass
        holder.kill()
    request(Turns(path), [])
