"""`make bench`: measures, prints one table, writes it to BENCHMARKS.md."""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.machine import described
from benchmarks.measure import REPOSITORY
from benchmarks.table import Row, markdown

FAMILIES = (
    "requests_made",
    "imports",
    "nothing_due",
    "first_fill",
    "reports",
    "covers",
    "snapshot",
    "ticks",
    "idle_memory",
    "refresh_memory",
)
SIDE_BY_SIDE = ("requests_made", "idle_memory", "refresh_memory")
"""What does not care how busy the machine is: these are measured at the same time, and first."""

QUICK_AT_A_TIME = 2
"""A quick run measures all side by side, so many at a time."""

REPORT = REPOSITORY / "BENCHMARKS.md"

_INTRODUCTION = """\
# Benchmarks

Made by `make bench`{mode}; every ratio is ours to a peer or a floor that was measured in the same
run, in turn with ours, medians on both sides. The seconds and bytes are this machine's and stand
there for colour only. What the rows measure, and how, is said in `benchmarks/`; what follows from
them for small and large collections in [docs/scaling.md](docs/scaling.md).

"""
_QUICK = (
    " with `QUICK=1`, which makes do with less of everything, and measures two things at a time: "
    "run it whole before you judge"
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for; 1 if anything is over its bound."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="less of everything, in two minutes")
    parser.add_argument("--folder", type=Path, help="where to measure (default: a temporary one)")
    parser.add_argument("family", nargs="*", help=f"only these of: {', '.join(FAMILIES)}")
    chosen = parser.parse_args(arguments)
    if unknown := set(chosen.family) - set(FAMILIES):
        parser.error(f"there is no {', '.join(sorted(unknown))}")
    with tempfile.TemporaryDirectory(prefix="harmony-bench-", dir=chosen.folder) as folder:
        bench = Bench(Path(folder), chosen.quick)
        names = chosen.family or FAMILIES
        beside = [name for name in names if chosen.quick or name in SIDE_BY_SIDE]
        with ThreadPoolExecutor(QUICK_AT_A_TIME if chosen.quick else None) as pool:
            found = dict(zip(beside, pool.map(partial(_measured, bench), beside), strict=True))
        found |= {name: _measured(bench, name) for name in names if name not in found}
        rows = [row for name in names for row in found[name]]
    print(f"\n{markdown(rows)}")
    if not chosen.family:
        _write(rows, _QUICK if chosen.quick else "")
    return 0 if all(row.holds for row in rows) else 1


def _measured(bench: Bench, name: str) -> list[Row]:
    began = time.monotonic()
    rows = list(import_module(f"benchmarks.{name}").rows(bench))
    print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    return rows


def _write(rows: Sequence[Row], mode: str) -> None:
    machine = "\n".join(described())
    REPORT.write_text(
        f"{_INTRODUCTION.format(mode=mode)}{machine}\n\n{markdown(rows)}\n", encoding="utf-8"
    )
    print(f"\nWritten to {REPORT.name}.")


if __name__ == "__main__":
    sys.exit(main())
