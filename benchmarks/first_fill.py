"""The first look at many artists: without waiting, and waiting for a server all the time."""

import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from benchmarks.bench import Bench
from benchmarks.home import Home
from benchmarks.measure import in_fork, in_process, in_turn
from benchmarks.spotify import AS_FAST_AS_POSSIBLE, Served, serving
from benchmarks.table import Row, at_most, for_colour

ALBUMS, TRACKS = 20, 10
LATENCY_S, IN_FLIGHT = 0.05, 8


def rows(bench: Bench) -> Iterator[Row]:
    """`refresh_catalogue` until nobody is due, in `extended`, in its own process."""
    artists = bench.size(500, 24)
    what = f"first fill of {artists} artists x {ALBUMS} albums, `extended`"
    with serving(artists=artists, albums=ALBUMS, tracks=TRACKS) as server:
        figures = in_turn(
            bench.times, lambda: _ours(bench, server), lambda: _bare(server, server.artist_ids)
        )
        yield at_most(
            f"{what}, zero latency, no pacing", "a bare loop of the same requests with spotipy",
            figures, 1.4, times=bench.times,
        )  # fmt: skip
    waits = f"{LATENCY_S * 1000:.0f} ms latency, {IN_FLIGHT} in flight"
    floor = f"⌈requests / {IN_FLIGHT}⌉ x {LATENCY_S * 1000:.0f} ms"
    with serving(artists=artists, albums=ALBUMS, tracks=TRACKS, latency_s=LATENCY_S) as server:
        [seconds] = in_turn(bench.times, lambda: _ours(bench, server))
        figures = [seconds, _shortest(server, bench.times)]
        yield at_most(f"{what}, {waits}", floor, figures, 1.3, times=bench.times)

        some = server.artist_ids[:60]
        [seconds] = in_turn(bench.times, lambda: _bare(server, some, IN_FLIGHT))
        figures = [seconds, _shortest(server, bench.times)]
        yield for_colour(
            f"a bare loop over {len(some)} artists in {IN_FLIGHT} threads, {waits}",
            floor, figures, times=bench.times,
        )  # fmt: skip


def _shortest(server: Served, times: int) -> float:
    """The seconds that no way of asking gets below: all waiting, and nothing else."""
    requests = server.counts().total() / times
    return math.ceil(requests / IN_FLIGHT) * LATENCY_S


def _ours(bench: Bench, server: Served) -> float:
    home = Home(bench.place("first-fill"))
    home.watch(server.artist_ids)
    environment = home.environment(**server.settings, **AS_FAST_AS_POSSIBLE)
    told = in_fork(refresh, environment, artists=len(server.artist_ids))
    return told["seconds"]


def _bare(server: Served, artist_ids: list[str], threads: int = 1) -> float:
    told = in_process(bare_loop, url=server.url, artist_ids=artist_ids, threads=threads)
    return told["seconds"]


def refresh(artists: int, runs: int = 100) -> dict[str, Any]:
    """Run the job until every artist was refreshed, or so often; in seconds, imports excluded."""
    import dagster as dg

    from harmony_pipelines.definitions import defs

    job = defs.resolve_job_def("refresh_catalogue")
    with dg.DagsterInstance.get() as instance:
        instance.get_runs_count()  # opens Dagster's storage, which imports a lot
        began = time.perf_counter()
        while (left := artists - _complete()) and runs:
            outcome = job.execute_in_process(instance=instance).output_for_node("refresh_artists")
            if not outcome["requests"]:
                raise RuntimeError(f"nobody was refreshed: {outcome}")
            runs -= 1
        return {"seconds": time.perf_counter() - began, "left": left}


def _complete() -> int:
    """How many artists are refreshed, bodies and all."""
    from harmony_pipelines.clients import tables
    from harmony_pipelines.clients.catalogue import Catalogue
    from harmony_pipelines.settings import load_settings

    settings = load_settings()
    settings.prepare_home()
    with closing(Catalogue.open(settings.database_url)) as store:
        return store.count(tables.refresh_state, tables.refresh_state.c.status == "complete")


def bare_loop(url: str, artist_ids: list[str], threads: int) -> dict[str, Any]:
    """The same requests with nothing but spotipy, each thread's one after the other, parsed."""

    def read(some: list[str]) -> int:
        rows: list[Any] = []
        for albums, tracks in _read(url, some):
            rows += albums + tracks
        return len(rows)

    shares = [artist_ids[number::threads] for number in range(threads)]
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        rows = sum(pool.map(read, shares))
    return {"seconds": time.perf_counter() - began, "rows": rows}


def _read(url: str, artist_ids: list[str]) -> Iterator[tuple[list[Any], list[Any]]]:
    from spotipy import Spotify
    from spotipy.cache_handler import MemoryCacheHandler
    from spotipy.oauth2 import SpotifyClientCredentials

    credentials: Any = SpotifyClientCredentials(
        "demo-client", "demo-secret", cache_handler=MemoryCacheHandler()
    )
    credentials.OAUTH_TOKEN_URL = f"{url}/api/token"
    spotify: Any = Spotify(auth_manager=credentials)
    spotify.prefix = f"{url}/v1/"
    for artist_id in artist_ids:
        spotify.artist(artist_id)
        listed: list[str] = []
        for group in ("album", "single"):
            page = spotify.artist_albums(artist_id, include_groups=group, country="DE", limit=50)
            listed += [album["id"] for album in page["items"]]
        albums: list[Any] = []
        tracks: list[Any] = []
        for album in spotify.albums(listed, market="DE")["albums"]:
            albums.append((album["id"], album["name"], album["release_date"], album["images"]))
            tracks += [
                (track["id"], track["name"], track["track_number"], track["duration_ms"])
                for track in album["tracks"]["items"]
            ]
        yield albums, tracks
