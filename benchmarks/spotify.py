"""The demo's Spotify in a process of its own, so that it takes no processor time of ours."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks.measure import REPOSITORY
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.spotify_server import SpotifyServer

AS_FAST_AS_POSSIBLE = {
    "HARMONY_SPOTIFY_REQUESTS_PER_SECOND": "100000",
    "HARMONY_SPOTIFY_DAILY_REQUESTS": "1000000",
}


@dataclass(frozen=True)
class Served:
    """The server as its callers see it."""

    process: subprocess.Popen[str]
    url: str
    profile: str
    artist_ids: list[str]

    @property
    def settings(self) -> Mapping[str, str]:
        """The settings that make it our Spotify."""
        return {
            "SPOTIPY_CLIENT_ID": "demo-client",
            "SPOTIPY_CLIENT_SECRET": "demo-secret",
            "HARMONY_SPOTIFY_API_URL": f"{self.url}/v1",
            "HARMONY_SPOTIFY_ACCOUNTS_URL": self.url,
            "HARMONY_SPOTIFY_PROFILE": self.profile,
        }

    def counts(self) -> Counter[str]:
        """The requests by family since this was last asked."""
        assert self.process.stdin
        assert self.process.stdout
        print(file=self.process.stdin, flush=True)
        return Counter(json.loads(self.process.stdout.readline()))


@contextmanager
def serving(
    *,
    artists: int,
    albums: int = 1,
    tracks: int = 1,
    profile: str = "extended",
    latency_s: float = 0,
) -> Iterator[Served]:
    """Serve invented artists, each with albums and singles in equal numbers."""
    wanted = json.dumps([artists, albums, tracks, profile, latency_s])
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.spotify", wanted],
        cwd=REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin
        assert process.stdout
        url, artist_ids = json.loads(process.stdout.readline())
        try:
            yield Served(process, url, profile, artist_ids)
        finally:
            process.stdin.close()


def catalogue_of(artists: int, albums: int, tracks: int) -> Catalogue:
    """A catalogue in memory."""
    catalogue = Catalogue()
    for number in range(artists):
        artist_id = catalogue.add_artist(f"Artist {number}")
        for album in range(albums):
            catalogue.add_album(
                artist_id,
                f"Record {album}",
                album_type=("album", "single")[album % 2],
                release_date=f"{1960 + album % 50}-02-03",
                tracks=tracks,
            )
    return catalogue


def main() -> None:
    """Serve until the input ends; a line of it asks for the counts."""
    artists, albums, tracks, profile, latency_s = json.loads(sys.argv[1])
    catalogue = catalogue_of(artists, albums, tracks)
    with SpotifyServer(catalogue, profile=profile, latency_s=latency_s) as server:
        print(json.dumps([server.url, list(catalogue.artists)]), flush=True)
        for _ in sys.stdin:
            counts = Counter(request.family for request in server.requests)
            server.forget_requests()
            print(json.dumps(counts), flush=True)


if __name__ == "__main__":
    main()
