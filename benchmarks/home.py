"""A user's home to measure in: settings, watchlist, catalogue, all in one folder."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.demo.home import DAGSTER_YAML

_USERS_OWN = ("HARMONY_", "SPOTIPY_", "DAGSTER_", "BEETS")


class Home:
    """The folder, and the environment in which our programs take it for the user's."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.harmony = folder / "home"
        self.dagster = folder / "dagster"
        for each in (self.harmony, self.dagster):
            each.mkdir(parents=True)
        shutil.copyfile(DAGSTER_YAML, self.dagster / "dagster.yaml")
        self.library = folder / "beets" / "library.db"
        self.music = folder / "beets" / "music"
        self.database = self.harmony / "harmony.db"

    def environment(self, **more: str) -> Mapping[str, str]:
        """For a process of this home; of the user's own settings nothing is left."""
        ours = {
            "HARMONY_HOME": str(self.harmony),
            "DAGSTER_HOME": str(self.dagster),
            "HARMONY_BEETS_LIBRARY": str(self.library),
            "HARMONY_MUSIC_DIRECTORY": str(self.music),
            "HARMONY_SPOTIFY_MARKET": "DE",
            "SPOTIPY_CLIENT_ID": "bench",
            "SPOTIPY_CLIENT_SECRET": "bench",
        }
        kept = {name: value for name, value in os.environ.items() if not _is_users_own(name)}
        return {**kept, **ours, **more}

    def store(self) -> Catalogue:
        """The catalogue, its tables made."""
        return Catalogue.open(f"sqlite:///{self.database}")

    def watch(self, artist_ids: list[str]) -> None:
        """Name artists in `watchlist.yaml`, one a line."""
        lines = "".join(f"  - {artist_id}\n" for artist_id in artist_ids)
        (self.harmony / "watchlist.yaml").write_text(f"artists:\n{lines}")


def _is_users_own(name: str) -> bool:
    return name.startswith(_USERS_OWN)
