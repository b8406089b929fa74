"""Whether the memory of a refresh grows with the number of artists."""

from collections.abc import Iterator

from benchmarks.bench import Bench
from benchmarks.first_fill import refresh_all
from benchmarks.home import Home
from benchmarks.measure import in_process, in_turn
from benchmarks.spotify import AS_FAST_AS_POSSIBLE, serving
from benchmarks.table import Row, at_most


def rows(bench: Bench) -> Iterator[Row]:
    """One process that refreshes all of them, in as many runs as that takes."""
    many, few = bench.size(2000, 200), bench.size(200, 20)
    with serving(artists=many) as server:

        def peak(artists: int) -> float:
            home = Home(bench.place("refresh-memory"))
            home.watch(server.artist_ids[:artists])
            environment = home.environment(**server.settings, **AS_FAST_AS_POSSIBLE)
            return in_process(refresh_all, environment, artists=artists)["peak_bytes"]

        times = bench.size(bench.times, 1)
        figures = in_turn(times, lambda: peak(many), lambda: peak(few))
    yield at_most(
        f"peak memory of a refresh of {many:,} artists", f"of {few}", figures, 1.2,
        times=times, unit="MiB",
    )  # fmt: skip
