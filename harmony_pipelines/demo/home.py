"""The demo's own home: its settings, watchlist, library and database; nothing of the user's."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from harmony_pipelines.demo.library import make_library
from harmony_pipelines.demo.spotify_server import SpotifyServer

FOLDER = ".demo"
DAGSTER_YAML = Path(__file__).parents[2] / "dagster.yaml"

_USERS_OWN = ("HARMONY_", "SPOTIPY_", "DAGSTER_", "BEETS")

_WATCHLIST = """\
# The demo's watchlist: names, ids and links all work.
artists:
  - Lumen Tide
  - 渚サーキット
  - artist: The Paper Astronomers
    groups: [album, single]
  - Lumen Tyde   # nobody is called just this: it goes to review
"""


@dataclass
class DemoHome:
    """A folder that holds everything the demo writes."""

    folder: Path

    @property
    def is_new(self) -> bool:
        """Whether the demo never got to its first look at Spotify."""
        return not self.database.exists()

    @property
    def library(self) -> Path:
        """The demo's beets database."""
        return self.folder / "beets" / "library.db"

    @property
    def music(self) -> Path:
        """The demo's audio files."""
        return self.folder / "beets" / "music"

    @property
    def dagster_home(self) -> Path:
        """Where Dagster keeps the demo's runs."""
        return self.folder / "dagster"

    @property
    def database(self) -> Path:
        """The demo's catalogue."""
        return self.folder / "home" / "harmony.db"

    @property
    def port(self) -> int:
        """The port of the demo's Spotify the last time; 0 before the first."""
        file = self.folder / "port"
        return int(file.read_text()) if file.exists() else 0

    @port.setter
    def port(self, port: int) -> None:
        (self.folder / "port").write_text(f"{port}\n")

    def prepare(self) -> None:
        """Make the library and the watchlist where they are not there yet."""
        if not self.library.exists():
            shutil.rmtree(self.library.parent, ignore_errors=True)
            make_library(self.library.parent)
        home = self.database.parent
        for folder in (home, self.dagster_home):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.copyfile(DAGSTER_YAML, self.dagster_home / "dagster.yaml")
        (home / "watchlist.yaml").write_text(_WATCHLIST, encoding="utf-8")

    def environment(self, server: SpotifyServer) -> Mapping[str, str]:
        """The environment of a user whose Spotify is the demo's server.

        Settings of the user's own are not in it, so that the demo can neither use nor spoil them.
        """
        kept = {
            name: value
            for name, value in os.environ.items()
            if name.startswith("HARMONY_UI_") or not name.startswith(_USERS_OWN)
        }
        return kept | {
            "SPOTIPY_CLIENT_ID": server.client_id,
            "SPOTIPY_CLIENT_SECRET": server.client_secret,
            "HARMONY_SPOTIFY_MARKET": "DE",
            "HARMONY_SPOTIFY_API_URL": server.api_url,
            "HARMONY_SPOTIFY_ACCOUNTS_URL": server.accounts_url,
            "HARMONY_SPOTIFY_REQUESTS_PER_SECOND": "50",
            "HARMONY_COVERARTARCHIVE_URL": server.coverartarchive_url,
            "HARMONY_ARTWORK_HOSTS": server.image_host,
            "HARMONY_HOME": str(self.database.parent),
            "HARMONY_BEETS_LIBRARY": str(self.library),
            "HARMONY_MUSIC_DIRECTORY": str(self.music),
            "DAGSTER_HOME": str(self.dagster_home),
        }
