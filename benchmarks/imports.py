"""What it costs to load the definitions, which every worker does."""

import resource
from collections.abc import Iterator
from typing import Any

from benchmarks.bench import Bench
from benchmarks.measure import in_process, in_turn, python
from benchmarks.table import Row, at_most


def rows(bench: Bench) -> Iterator[Row]:
    """`import harmony_pipelines.definitions` against `import dagster`, in processor time.

    Both start the same interpreter; on a machine that also does other things only the processor
    time is the import's own.
    """
    times = bench.size(7, 3)
    figures = in_turn(times, lambda: _seconds("harmony_pipelines.definitions"), _dagster)
    yield at_most(
        "`import harmony_pipelines.definitions`, CPU", "`import dagster`", figures, 1.15,
        times=times,
    )  # fmt: skip


def _dagster() -> float:
    return _seconds("dagster")


def _seconds(module: str) -> float:
    return in_process(import_alone, module=module)["seconds"]


def import_alone(module: str) -> dict[str, Any]:
    """The processor time of an interpreter that imports it, from its start to its end."""
    python("-c", f"import {module}")
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"seconds": used.ru_utime + used.ru_stime}
