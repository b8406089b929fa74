"""Whether the memory of a refresh grows with the number of artists."""

import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from benchmarks.bench import Bench
from benchmarks.first_fill import refresh
from benchmarks.home import Home
from benchmarks.measure import in_fork
from benchmarks.spotify import AS_FAST_AS_POSSIBLE, serving
from benchmarks.table import Row, at_most


def rows(bench: Bench) -> Iterator[Row]:
    """The largest of as many runs as it takes, each a process of its own, as a user's are.

    Two refreshes go on side by side: memory does not care.
    """
    many, few = bench.size(2000, 200), bench.size(200, 20)
    times = bench.size(bench.times, 1)
    with serving(artists=many) as server, ThreadPoolExecutor(2) as pool:

        def peak(number: int, artists: int) -> float:
            home = Home(bench.place(f"refresh-memory-{number}"))
            home.watch(server.artist_ids[:artists])
            environment = home.environment(**server.settings, **AS_FAST_AS_POSSIBLE)
            highest, left = 0, artists
            while left:
                told = in_fork(refresh, environment, artists=artists, runs=1)
                highest, left = max(highest, told["peak_bytes"]), told["left"]
            return highest

        figures = [
            statistics.median(pool.map(peak, range(times), [artists] * times))
            for artists in (many, few)
        ]
    yield at_most(
        f"peak memory of a refresh of {many:,} artists", f"of {few}", figures, 1.2,
        times=times, unit="MiB",
    )  # fmt: skip
