"""Every way to hang, started in every way: what is seen of the run, and what comes after it.

`python -m harmony_pipelines_tests.lifecycle.hang_matrix [ours-alive ours-killed …]` prints all
cells, or those of the places named, as a table. It wants a machine of its own; `test_deadlines`
shows the main ones in CI.

A daemon is `alive`; or `killed` once it has started the run, which it must for a schedule and for
all that waits in a queue; or there is `none`, which leaves the command line and, where a foreign
dagster.yaml queues nothing, the UI and `dagster job launch`.
"""

import itertools
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import dagster as dg

from harmony_pipelines_tests.lifecycle.dev_process import Dev, Program, wait_until
from harmony_pipelines_tests.lifecycle.hanging import (
    EXECUTORS,
    HANGS,
    LIMIT_SECONDS,
    in_executor,
    schedule_name,
)
from harmony_pipelines_tests.lifecycle.place import (
    MODULE,
    OURS,
    Place,
    Services,
    left_of,
    processes_in,
)

SLACK_SECONDS = 10
"""How long past its limit the last process of a run may live."""

STOCK = """
run_monitoring: {enabled: true, poll_interval_seconds: 2}
concurrency: {runs: {max_concurrent_runs: 4}}
telemetry: {enabled: false}
"""
UNQUEUED = """
run_coordinator: {module: dagster._core.run_coordinator, class: DefaultRunCoordinator}
telemetry: {enabled: false}
"""
STARTS = ("schedule", "ui", "launch", "execute", "materialize")
DAEMONS = ("alive", "killed", "none")
YAMLS = ("ours", "foreign")
_CELL_TAG = "cell"
_COMMANDS = ("execute", "materialize")
_AT_ONCE = 4
_UNDER_WAY = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED)
_LONGEST_SECONDS = 3600

_Pair = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Cell:
    """One way to hang, started in one way."""

    hang: str
    start: str
    executor: str
    daemon: str
    yaml: str

    @property
    def exists(self) -> bool:
        """Whether a run can be started so at all."""
        if self.daemon == "killed":
            return self.start not in _COMMANDS
        if self.daemon == "none":
            unqueued = self.yaml == "foreign" and self.start in ("ui", "launch")
            return self.start in _COMMANDS or unqueued
        return True

    @property
    def place(self) -> str:
        return f"{self.yaml}-{self.daemon}"

    @property
    def step(self) -> str:
        return f"{'asset' if self.start == 'materialize' else 'op'}_{self.hang}"

    def is_of(self, run: dg.DagsterRun) -> bool:
        """Whether the run is this cell's."""
        if self.start == "schedule":
            name = schedule_name(self.hang, self.executor)
            return run.tags.get("dagster/schedule_name") == name
        if self.start == "materialize":
            asset = dg.AssetKey(self.step)
            config = run.run_config == in_executor(self.executor)
            return asset in (run.asset_selection or ()) and config
        return run.tags.get(_CELL_TAG) == self.tag

    @property
    def tag(self) -> str:
        return f"{self.start}-{self.hang}-{self.executor}"


CELLS = [
    cell
    for values in itertools.product(
        [hang.__name__ for hang in HANGS], STARTS, EXECUTORS, DAEMONS, YAMLS
    )
    if (cell := Cell(*values)).exists
]
PLACES = tuple(dict.fromkeys(cell.place for cell in CELLS))


def covering_pairs(cells: Sequence[Cell]) -> list[Cell]:
    """Few of the cells, about as many in each place, that hold every pair of values of any cell.

    With those that wedge Dagster's own code server: a worker that is frozen, told so by gRPC.
    """
    chosen = [cell for cell in cells if _freezes(cell) and cell.start == "ui"]
    open_pairs = set[_Pair]().union(*map(pairs, cells)).difference(*map(pairs, chosen))
    while open_pairs:
        in_place = Counter(cell.place for cell in chosen)
        gains = {cell: len(pairs(cell) & open_pairs) for cell in cells}
        best = max(cells, key=lambda cell: (gains[cell], -in_place[cell.place]))
        chosen.append(best)
        open_pairs -= pairs(best)
    return chosen


def _freezes(cell: Cell) -> bool:
    frozen = cell.hang in ("c_loop", "stopped") and cell.executor == "in_process"
    return frozen and cell.daemon == "alive"


def pairs(cell: Cell) -> set[_Pair]:
    values = [(field.name, getattr(cell, field.name)) for field in fields(cell)]
    return set(itertools.combinations(values, 2))


@dataclass(frozen=True)
class Seen:
    """What was seen of one cell."""

    cell: Cell
    status: str
    said: str
    late_s: float
    """How long past its limit the run was failed."""

    gone_s: float
    """How long past its limit it was looked at for the last time."""

    left: tuple[str, ...]
    """What was still there of it, more than SLACK_SECONDS past its limit."""

    exit_code: int | None
    printed: str

    @property
    def faults(self) -> list[str]:
        """What is not as it must be."""
        is_command = self.cell.start in _COMMANDS
        held = {
            f"status {self.status}": self.status == "FAILURE",
            f"failed {self.late_s:.1f} s late": self.late_s < SLACK_SECONDS,
            f"limit not in: {self.said}": f"limit of {LIMIT_SECONDS} s" in self.said,
            f"step not in: {self.said}": self.cell.step in self.said,
            f"left: {self.left}": not self.left,
            f"exit code {self.exit_code}": not is_command or bool(self.exit_code),
            f"printed: {self.printed[-300:]}": not is_command
            or "DEADLINE_EXCEEDED" in (self.printed.strip().splitlines() or [""])[-1],
        }
        return [fault for fault, holds in held.items() if not holds]


class Matrix:
    """The cells of one place, run in it."""

    def __init__(
        self, place: str, folder: Path, tell: Callable[[Seen], None] = lambda _: None
    ) -> None:
        which, self._daemon = place.split("-")
        self._is_queued = which == "ours" or self._daemon != "none"
        texts = {"ours": OURS, "foreign": STOCK if self._is_queued else UNQUEUED}
        self._place = Place(folder, texts[which])
        self._services = Services(self._place)
        self._tell = tell
        self._begun: dict[Cell, Program | None] = {}
        self._seen: dict[Cell, Seen] = {}

    def run(self, cells: Sequence[Cell]) -> tuple[list[Seen], dict[str, float]]:
        """What was seen of each cell; and how many seconds the next run took, by its start."""
        with self._services.running() as web:
            daemon = self._services.begin_daemon() if self._daemon != "none" else None
            try:
                for cell in cells:
                    if cell.start == "schedule":
                        web.switch_on(schedule_name(cell.hang, cell.executor))
                until = time.monotonic() + _LONGEST_SECONDS
                while len(self._seen) < len(cells):
                    assert time.monotonic() < until, set(cells) - set(self._seen)
                    records = self._look(cells)
                    self._begin_more(cells, web, records)
                    if daemon is not None and self._daemon == "killed":
                        daemon = self._kill_or_revive(daemon, cells, records)
                    time.sleep(0.5)
                if daemon is not None and daemon.poll() is not None:
                    daemon = self._services.begin_daemon()
                next_s = {start: self._next(start, web) for start in {c.start for c in cells}}
            finally:
                if daemon is not None:
                    daemon.kill()
                    daemon.wait(30)
        wait_until(lambda: not processes_in(self._place), SLACK_SECONDS)
        return [self._seen[cell] for cell in cells], next_s

    def _begin_more(
        self, cells: Sequence[Cell], web: Dev, records: dict[Cell, dg.RunRecord]
    ) -> None:
        """Keep some at work; what a daemon starts that is killed then waits in the queue."""
        if self._daemon == "killed" and any(
            cell.start == "schedule" and cell not in records for cell in cells
        ):
            return  # the daemon lives until each has ticked
        for cell in cells:
            at_work = len(self._begun) - sum(each in self._seen for each in self._begun)
            if at_work >= _AT_ONCE and self._daemon != "killed":
                return
            if cell.start != "schedule" and cell not in self._begun:
                self._begun[cell] = self._begin(cell, web)

    def _begin(self, cell: Cell, web: Dev) -> Program | None:
        config = in_executor(cell.executor)
        options = ("-c", str(self._config_file(cell.executor)))
        tags = {_CELL_TAG: cell.tag}
        if cell.start == "ui":
            web.launch(cell.hang, config, **tags)
            return None
        if cell.start == "materialize":
            return self._place.begin(
                *("asset", "materialize", "-m", MODULE, "--select", cell.step, *options),
                HARMONY_RUN_MAX_SECONDS=str(LIMIT_SECONDS),
            )
        return self._job(cell.start, cell.hang, *options, "--tags", json.dumps(tags))

    def _config_file(self, executor: str) -> Path:
        file = self._place.home / f"{executor}.yaml"
        file.write_text(json.dumps(in_executor(executor)))
        return file

    def _job(self, start: str, job: str, *options: str) -> Program:
        module = ("-m", MODULE)
        served = ("-w", str(self._services.workspace))
        where = served if start == "launch" and self._is_queued else module
        return self._place.begin("job", start, *where, "-j", job, *options)

    def _look(self, cells: Sequence[Cell]) -> dict[Cell, dg.RunRecord]:
        """The run of each cell, if it has one; those that are over for good are taken down."""
        found = self._place.records()
        records = {
            cell: record for cell in cells for record in found if cell.is_of(record.dagster_run)
        }
        for cell, command in self._begun.items():
            if cell not in records and command is not None and command.poll():
                raise AssertionError(f"{cell} began no run: {command.said()}")
        for cell, record in records.items():
            if cell not in self._seen and record.dagster_run.is_finished:
                self._look_at(cell, record)
        return records

    def _look_at(self, cell: Cell, record: dg.RunRecord) -> None:
        start, end = record.start_time or 0.0, record.end_time or time.time()
        command = self._begun.get(cell)
        left = left_of(record.dagster_run)
        is_running = command is not None and command.poll() is None
        gone_s = time.time() - start - LIMIT_SECONDS
        if (left or is_running) and gone_s < SLACK_SECONDS:
            return  # it may still go
        seen = Seen(
            cell,
            record.dagster_run.status.value,
            self._place.failure(record.dagster_run.run_id),
            end - start - LIMIT_SECONDS,
            gone_s,
            tuple(left),
            command.poll() if command else None,
            command.said() if command else "",
        )
        self._seen[cell] = seen
        self._tell(seen)

    def _kill_or_revive(
        self, daemon: Program, cells: Sequence[Cell], records: dict[Cell, dg.RunRecord]
    ) -> Program:
        """Kill the daemon when it has started what it may, a new one when all that is over."""
        states = [
            record.dagster_run.status for cell, record in records.items() if cell not in self._seen
        ]
        under_way = [state for state in states if state in _UNDER_WAY]
        queued = [state for state in states if state is dg.DagsterRunStatus.QUEUED]
        awaited = [c for c in cells if c.start == "schedule" and c not in records]
        if daemon.poll() is not None:
            return daemon if under_way else self._services.begin_daemon()
        is_full = len(under_way) == len(states) - len(queued) and (
            len(under_way) >= _AT_ONCE or not queued
        )
        all_started = all(state is dg.DagsterRunStatus.STARTED for state in under_way)
        if under_way and is_full and all_started and not awaited:
            daemon.kill()
            daemon.wait(30)
        return daemon

    def _next(self, start: str, web: Dev) -> float:
        """Start a healthy run in the same way; how many seconds it took to succeed."""
        began = time.monotonic()
        known = {record.dagster_run.run_id for record in self._place.records()}
        if start in ("ui", "schedule"):
            web.launch("healthy")
        elif start == "materialize":
            self._place.begin("asset", "materialize", "-m", MODULE, "--select", "healthy_asset")
        else:
            self._job(start, "healthy")
        wait_until(lambda: self._has_succeeded(known), 60)
        return time.monotonic() - began

    def _has_succeeded(self, known: set[str]) -> bool:
        new = [r.dagster_run for r in self._place.records() if r.dagster_run.run_id not in known]
        return any(run.is_success for run in new)


def main() -> None:
    """Run the places that are named, or all, and print what is seen."""
    failed = 0
    for place in sys.argv[1:] or PLACES:
        cells = [cell for cell in CELLS if cell.place == place]
        with tempfile.TemporaryDirectory() as folder:
            seen, next_s = Matrix(place, Path(folder), _print_row).run(cells)
        failed += sum(bool(each.faults) for each in seen)
        _print_summary(place, seen, next_s)
    sys.exit(1 if failed else 0)


def _print_row(seen: Seen) -> None:
    cell = seen.cell
    row = (
        f"{cell.hang} ({cell.executor})",
        cell.start,
        cell.daemon,
        cell.yaml,
        "; ".join(seen.faults) or f"{seen.status}, limit and step named",
        f"{seen.late_s:+.1f}",
        f"{seen.gone_s:+.1f}",
        str(len(seen.left)),
        "" if seen.exit_code is None else str(seen.exit_code),
    )
    print("| " + " | ".join(row) + " |", flush=True)


def _print_summary(place: str, seen: Iterable[Seen], next_s: dict[str, float]) -> None:
    every = list(seen)
    right = sum(not each.faults for each in every)
    print(
        f"{place}: {right} of {len(every)} as they must be; failed at most "
        f"{max(each.late_s for each in every):.1f} s past the limit, the last process gone at most "
        f"{max(each.gone_s for each in every):.1f} s past it; the next run succeeded within "
        + ", ".join(f"{seconds:.1f} s ({start})" for start, seconds in sorted(next_s.items())),
        flush=True,
    )


if __name__ == "__main__":
    main()
