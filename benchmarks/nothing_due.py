"""A run on the command line that finds nothing to do."""

from collections.abc import Iterator, Mapping

from benchmarks.bench import Bench
from benchmarks.data import fill
from benchmarks.home import Home
from benchmarks.measure import in_turn, python
from benchmarks.spotify import serving
from benchmarks.table import Row, at_most

ARTISTS = 2000


def rows(bench: Bench) -> Iterator[Row]:
    """`refresh_catalogue` with nobody due, against an empty one-op job."""
    ours, empty = Home(bench.place("nothing-due")), Home(bench.place("empty"))
    fill(ours, ARTISTS, albums=10, tracks=5)
    with serving(artists=1) as server:
        environment = ours.environment(**server.settings)
        run = ("harmony_pipelines.definitions", "refresh_catalogue")
        figures = in_turn(
            bench.times,
            lambda: _seconds(*run, environment),
            lambda: _seconds("benchmarks.empty", "empty", empty.environment()),
        )
        asked = sum(server.counts().values())
    yield at_most(
        f"`dagster job execute -j refresh_catalogue`, nothing due, {ARTISTS:,} artists watched",
        "the same command on an empty one-op job, in-process executor",
        figures, 1.25, times=bench.times,
    )  # fmt: skip
    yield Row("requests of that", "none", None, "0", asked == 0, str(asked), "0", bench.times)


def _seconds(module: str, job: str, environment: Mapping[str, str]) -> float:
    return python(
        "-m", "dagster", "job", "execute", "-m", module, "-j", job, environment=environment
    ).wall_s
