"""A user on this machine: a home, a watchlist, and a Spotify that the test may change."""

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import sqlalchemy as sa
from hypothesis import settings

from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.home import DemoHome
from harmony_pipelines.demo.spotify_server import SpotifyServer

_DAGSTERS_OWN = (
    "ignore:The `__fields__` attribute is deprecated:pydantic.warnings.PydanticDeprecatedSince20",
)
_OURS = ("HARMONY_", "SPOTIPY_", "DAGSTER_", "BEETS")


def pytest_configure(config: pytest.Config) -> None:
    """Every warning is an error, but for those that Dagster itself gives cause to.

    CI always tries the same examples: a new one is for the developer whose run finds it.
    """
    settings.register_profile("harmony", derandomize="CI" in os.environ, deadline=None)
    settings.load_profile("harmony")
    for line in _DAGSTERS_OWN:
        config.addinivalue_line("filterwarnings", line)


class Home:
    """The home of a user, all of it in the environment; there is no beets library until asked."""

    def __init__(self, folder: Path, server: SpotifyServer, patch: pytest.MonkeyPatch) -> None:
        self.demo = DemoHome(folder)
        self.server = server
        self._patch = patch
        self.folder = self.demo.database.parent
        self.folder.mkdir(parents=True)
        self.url = f"sqlite:///{self.demo.database}"

    def set(self, **values: str) -> None:
        for name, value in values.items():
            self._patch.setenv(name, value)

    def unset(self, *names: str) -> None:
        for name in names:
            self._patch.delenv(name)

    def watch(self, *lines: str, text: str | None = None) -> None:
        whole = "artists:\n" + "".join(f"  - {line}\n" for line in lines)
        self.folder.joinpath("watchlist.yaml").write_text(text or whole, encoding="utf-8")

    def artist(self, name: str, singles: int = 1, **fields: Any) -> str:
        artist_id = self.server.catalogue.add_artist(name, **fields)
        for number in range(singles):
            self.server.catalogue.add_album(
                artist_id,
                f"{name} {number}",
                album_type="single",
                release_date=f"{1950 + number}-01-01",
                tracks=1,
            )
        return artist_id

    @contextlib.contextmanager
    def store(self) -> Iterator[Store]:
        store = Store.open(self.url)
        yield store
        store.close()

    def rows(self, table: sa.Table, *where: Any) -> list[dict[str, Any]]:
        with self.store() as store:
            return store.table(table, *where)

    def change(self, table: sa.Table, *where: Any, **values: Any) -> None:
        with self.store() as store, store.writing() as connection:
            connection.execute(sa.update(table).where(*where).values(**values))

    def counts(self) -> dict[str, int]:
        asked = [request.family for request in self.server.requests]
        return {family: asked.count(family) for family in asked}

    def refresh(self, instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
        from harmony_pipelines.definitions import defs

        return defs.get_job_def("refresh_catalogue").execute_in_process(
            run_config={"ops": {"refresh_artists": {"config": config}}},
            instance=instance,
            raise_on_error=False,
        )


@pytest.fixture
def server() -> Iterator[SpotifyServer]:
    with SpotifyServer(Catalogue()) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, server: SpotifyServer, monkeypatch: pytest.MonkeyPatch) -> Home:
    home = Home(tmp_path, server, monkeypatch)
    for name in [name for name in os.environ if name.startswith(_OURS)]:
        monkeypatch.delenv(name)
    environment = home.demo.environment(server)
    home.set(**{name: value for name, value in environment.items() if name.startswith(_OURS)})
    home.unset("DAGSTER_HOME")
    home.set(HARMONY_SPOTIFY_REQUESTS_PER_SECOND="100", HARMONY_SPOTIFY_PROFILE="development")
    return home


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def failure_in(result: dg.ExecuteInProcessResult) -> Mapping[str, Any]:
    """The one `dagster.Failure` of a run: its code, message and details."""
    [failed] = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    data = failed.step_failure_data.user_failure_data
    assert data is not None, failed.step_failure_data.error
    return {name: value.value for name, value in data.metadata.items()}


def materialised_in(instance: dg.DagsterInstance, asset: str) -> set[str]:
    """The partitions of an asset that were ever materialised."""
    return set(instance.get_materialized_partitions(dg.AssetKey(asset)))
