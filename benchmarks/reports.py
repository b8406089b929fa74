"""All reports over a large catalogue and library: how time and memory grow with them."""

import time
from collections.abc import Iterator
from typing import Any

from benchmarks.bench import Bench
from benchmarks.data import fill
from benchmarks.home import Home
from benchmarks.measure import in_fork
from benchmarks.table import Row, at_most

ALBUMS, TRACKS = 30, 10
TENTH = 10
MOST_BYTES = 2**30


def rows(bench: Bench) -> Iterator[Row]:
    """`new_releases`, `album_matches` and `missing_from_library`, whole against a tenth."""
    import statistics

    artists, in_library = bench.size(5000, 80), bench.size(20_000, 320)
    whole, tenth = Home(bench.place("reports")), Home(bench.place("reports-tenth"))
    fill(whole, artists, ALBUMS, TRACKS, in_library)
    fill(tenth, artists // TENTH, ALBUMS, TRACKS, in_library // TENTH)
    told: list[list[dict[str, Any]]] = [[], []]
    for _ in range(bench.times):
        for results, home in zip(told, (whole, tenth), strict=True):
            results.append(in_fork(all_reports, home.environment()))

    def median(name: str) -> list[float]:
        return [statistics.median(each[name] for each in results) for results in told]

    tracks = artists * ALBUMS * TRACKS
    what = f"all reports over {artists:,} artists, {tracks:,} tracks, {in_library:,} library albums"
    against = "one tenth of that data"
    peaks = median("peak_bytes")
    yield at_most(f"{what}: time", against, median("seconds"), 11, times=bench.times)
    yield at_most(f"{what}: memory", against, peaks, 3, times=bench.times, unit="MiB")
    yield at_most("that memory", "1 GiB", [peaks[0], MOST_BYTES], 1, times=bench.times, unit="MiB")


def all_reports() -> dict[str, Any]:
    """Materialise the three of them in this process."""
    import dagster as dg

    from harmony_pipelines.definitions import defs

    names = ("new_releases", "album_matches", "missing_from_library")
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.ephemeral() as instance:
        began = time.perf_counter()
        for name in names:  # one after the other, as a refresh does them
            job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey(name)])
        return {"seconds": time.perf_counter() - began}
