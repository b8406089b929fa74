"""A small library of real files, and a server whose pictures it may be given."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines_tests.small_library import SmallLibrary


@pytest.fixture
def served() -> Iterator[SpotifyServer]:
    with SpotifyServer(Catalogue()) as server:
        yield server


@pytest.fixture
def library(tmp_path: Path, served: SpotifyServer) -> Iterator[SmallLibrary]:
    made = SmallLibrary(tmp_path, served)
    yield made
    made.close()
