"""The first look at many artists: without waiting, and waiting for a server all the time."""

import math
import pkgutil
import time
from collections.abc import Iterator
from contextlib import closing
from importlib import import_module
from typing import Any

from benchmarks.bench import Bench
from benchmarks.home import Home
from benchmarks.measure import in_process, in_turn
from benchmarks.spotify import AS_FAST_AS_POSSIBLE, Served, serving
from benchmarks.table import Row, at_most

ALBUMS, TRACKS = 20, 10
LATENCY_S, IN_FLIGHT = 0.05, 8


def rows(bench: Bench) -> Iterator[Row]:
    """`refresh_catalogue` until nobody is due, in `extended`, in its own process."""
    artists = bench.size(500, 24)
    what = f"first fill of {artists} artists x {ALBUMS} albums, `extended`"
    with serving(artists=artists, albums=ALBUMS, tracks=TRACKS) as server:
        figures = in_turn(bench.times, lambda: _ours(bench, server), lambda: _bare(server))
        yield at_most(
            f"{what}, zero latency, no pacing", "a bare loop of the same requests with spotipy",
            figures, 1.4, times=bench.times,
        )  # fmt: skip
    with serving(artists=artists, albums=ALBUMS, tracks=TRACKS, latency_s=LATENCY_S) as server:
        [seconds] = in_turn(bench.times, lambda: _ours(bench, server))
        requests = server.counts().total() / bench.times
        floor = math.ceil(requests / IN_FLIGHT) * LATENCY_S
        yield at_most(
            f"{what}, {LATENCY_S * 1000:.0f} ms latency, {IN_FLIGHT} in flight",
            f"⌈requests / {IN_FLIGHT}⌉ x {LATENCY_S * 1000:.0f} ms",
            [seconds, floor], 1.3, times=bench.times,
        )  # fmt: skip


def _ours(bench: Bench, server: Served) -> float:
    home = Home(bench.place("first-fill"))
    home.watch(server.artist_ids)
    environment = home.environment(**server.settings, **AS_FAST_AS_POSSIBLE)
    told = in_process(refresh, environment, artists=len(server.artist_ids))
    return told["seconds"]


def _bare(server: Served) -> float:
    told = in_process(bare_loop, url=server.url, artist_ids=server.artist_ids)
    return told["seconds"]


def refresh(artists: int, runs: int = 100) -> dict[str, Any]:
    """Run the job until every artist was refreshed, or so often; in seconds, imports excluded."""
    import dagster as dg

    from harmony_pipelines.definitions import defs

    _import_what_runs_import()
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


def _import_what_runs_import() -> None:
    """Most modules are imported when a run needs them; here, as the bare loop's, before."""
    for name in ("clients", "ops", "steps"):
        package = import_module(f"harmony_pipelines.{name}")
        for module in pkgutil.iter_modules(package.__path__):
            if not module.ispkg:
                import_module(f"{package.__name__}.{module.name}")


def _complete() -> int:
    """How many artists are refreshed, bodies and all."""
    from harmony_pipelines.clients import tables
    from harmony_pipelines.clients.catalogue import Catalogue
    from harmony_pipelines.settings import load_settings

    settings = load_settings()
    settings.prepare_home()
    with closing(Catalogue.open(settings.database_url)) as store:
        return store.count(tables.refresh_state, tables.refresh_state.c.status == "complete")


def bare_loop(url: str, artist_ids: list[str]) -> dict[str, Any]:
    """The same requests with nothing but spotipy, one after the other, and their parsing."""
    from spotipy import Spotify
    from spotipy.cache_handler import MemoryCacheHandler
    from spotipy.oauth2 import SpotifyClientCredentials

    credentials: Any = SpotifyClientCredentials(
        "demo-client", "demo-secret", cache_handler=MemoryCacheHandler()
    )
    credentials.OAUTH_TOKEN_URL = f"{url}/api/token"
    spotify: Any = Spotify(auth_manager=credentials)
    spotify.prefix = f"{url}/v1/"
    rows: list[Any] = []
    began = time.perf_counter()
    for artist_id in artist_ids:
        artist = spotify.artist(artist_id)
        rows.append((artist["id"], artist["name"], artist["genres"], artist["images"]))
        albums: list[str] = []
        for group in ("album", "single"):
            page = spotify.artist_albums(artist_id, include_groups=group, country="DE", limit=50)
            albums += [album["id"] for album in page["items"]]
        for album in spotify.albums(albums, market="DE")["albums"]:
            rows.append((album["id"], album["name"], album["release_date"], album["images"]))
            rows += [
                (track["id"], track["name"], track["track_number"], track["duration_ms"])
                for track in album["tracks"]["items"]
            ]
    return {"seconds": time.perf_counter() - began, "rows": len(rows)}
