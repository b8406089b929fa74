"""How it is measured: ours and theirs in turn, each several times, the medians compared."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks.worker import call_quietly

REPOSITORY = Path(__file__).parents[1]
LIMIT_SECONDS = 900
"""The longest that one process may take; it is far more than any needs."""

_SHOWN = 4000
_forks = get_context("forkserver")
_forks.set_forkserver_preload(["benchmarks.ours"])
_NO_BYTECODE = "PYTHONDONTWRITEBYTECODE"
"""Where it is set every start compiles everything anew, which nobody's users do."""


@dataclass(frozen=True)
class Usage:
    """What a process took from its start to its end, and what it said."""

    wall_s: float
    printed: str


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end; what it prints is kept, a failure shows its end.

    The environment, where one is given, is the whole of it.
    """
    given = os.environ if environment is None else environment
    began = time.perf_counter()
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={name: value for name, value in given.items() if name != _NO_BYTECODE},
        capture_output=True,
        text=True,
        timeout=LIMIT_SECONDS,
        check=False,
    )
    wall = time.perf_counter() - began
    if done.returncode:
        said = f"{done.stdout}{done.stderr}"[-_SHOWN:]
        raise RuntimeError(f"{command} ended with {done.returncode}:\n{said}")
    return Usage(wall, done.stdout)


def python(*arguments: str, environment: Mapping[str, str] | None = None) -> Usage:
    """Run this interpreter."""
    return run([sys.executable, *arguments], environment)


def in_process(
    function: Callable[..., Any], environment: Mapping[str, str] | None = None, **arguments: Any
) -> dict[str, Any]:
    """Call a function of this package in a process of its own; see `worker`."""
    name = f"{function.__module__}:{function.__name__}"
    told = python("-m", "benchmarks.worker", name, json.dumps(arguments), environment=environment)
    return json.loads(told.printed.splitlines()[-1])


def in_fork(
    function: Callable[..., Any], environment: Mapping[str, str], **arguments: Any
) -> dict[str, Any]:
    """The same where all of ours is imported already: no second of it would be measured anyway."""
    with _forks.Pool(1) as process:
        return process.apply(call_quietly, (function, dict(environment), arguments))


def in_turn(times: int, *works: Callable[[], float]) -> list[float]:
    """The median of each work, all done one after the other, `times` times over.

    Every second round goes backwards, so that nobody is always the one who finds a warm cache.
    """
    found: list[list[float]] = [[] for _ in works]
    for number in range(times):
        order = range(len(works)) if number % 2 == 0 else reversed(range(len(works)))
        for index in order:
            found[index].append(works[index]())
    return [statistics.median(each) for each in found]
