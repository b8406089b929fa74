"""What everything that runs all day holds in memory."""

import socket
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import psutil

from benchmarks.bench import Bench
from benchmarks.data import fill
from benchmarks.home import Home
from benchmarks.measure import REPOSITORY
from benchmarks.table import Row, at_most

ARTISTS = 2000
_START_SECONDS = 120


def rows(bench: Bench) -> Iterator[Row]:
    """All processes of `make dev` against all of `dagster dev`, each in its own home.

    Both run side by side: memory does not care. It is counted proportionally (PSS), so that what
    processes share counts once.
    """
    times, settle = bench.size(bench.times, 1), bench.size(10, 5)
    found: list[list[float]] = [[], []]
    ours, empty = Home(bench.place("idle")), Home(bench.place("idle-empty"))
    fill(ours, ARTISTS, albums=10, tracks=5)
    for _ in range(times):
        port, other = _free_port(), _free_port()
        ui = {"HARMONY_UI_PORT": str(port)}
        dev = ["-m", "harmony_pipelines.dev"]
        theirs = ["-m", "dagster", "dev", "-m", "benchmarks.empty", "-p", str(other)]
        with (
            _running(dev, ours.environment(**ui), port) as one,
            _running(theirs, empty.environment(), other) as two,
        ):
            time.sleep(settle)
            for index, process in enumerate((one, two)):
                found[index].append(_bytes_of(process))
    yield at_most(
        f"memory of webserver + daemon + code server, idle, {ARTISTS:,} artists",
        "the same for an empty Dagster project",
        [statistics.median(each) for each in found], 1.15, times=times, unit="MiB",
    )  # fmt: skip


@contextmanager
def _running(
    command: Sequence[str], environment: Mapping[str, str], port: int
) -> Iterator[psutil.Process]:
    """Start it, wait until its UI answers, end all of it."""
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=REPOSITORY,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    tree = psutil.Process(process.pid)
    try:
        _wait_for(f"http://127.0.0.1:{port}/server_info", process)
        yield tree
    finally:
        for each in (tree, *tree.children(recursive=True)):  # nobody misses what they would save
            with suppress(psutil.NoSuchProcess):
                each.kill()
        process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), urllib.request.urlopen(url, timeout=5):
            return
        time.sleep(0.2)
    raise RuntimeError(f"nothing answers at {url}")


def _bytes_of(process: psutil.Process) -> float:
    return sum(_proportional(each.pid) for each in (process, *process.children(recursive=True)))


def _proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it ended meanwhile
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]
