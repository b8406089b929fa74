"""What it costs to load the definitions, which every worker does."""

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.measure import in_turn, python
from benchmarks.table import Row, at_most


def rows(bench: Bench) -> Iterator[Row]:
    """`import harmony_pipelines.definitions` against `import dagster`, in processor time.

    Both start the same interpreter; on a machine that also does other things only the processor
    time is the import's own.
    """
    times = bench.size(11, 3)
    figures = in_turn(times, lambda: _seconds("harmony_pipelines.definitions"), _dagster)
    yield at_most(
        "`import harmony_pipelines.definitions`, CPU", "`import dagster`", figures, 1.15,
        times=times,
    )  # fmt: skip


def _dagster() -> float:
    return _seconds("dagster")


def _seconds(module: str) -> float:
    return python("-c", f"import {module}").cpu_s
