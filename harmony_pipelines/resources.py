"""What Dagster hands to assets and ops: the settings made into the plain clients below.

The resources hold no values of their own, so none can show a secret; what they open is said by
the settings, read when a run starts.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from harmony_pipelines.clients.beets_library import BeetsLibrary
    from harmony_pipelines.clients.bounded_http import BoundedHttp
    from harmony_pipelines.clients.catalogue import Catalogue
    from harmony_pipelines.clients.quota import Quota
    from harmony_pipelines.clients.spotify import SpotifyClient
    from harmony_pipelines.clients.spotify_abilities import App
    from harmony_pipelines.clients.spotify_config import SpotifyConfig
    from harmony_pipelines.domain.deadline import Deadline
    from harmony_pipelines.settings import Settings


class CatalogueResource(dg.ConfigurableResource):
    """The SQL catalogue that HARMONY_DATABASE_URL names."""

    def open(self, settings: "Settings", guard: Callable[[], None] = lambda: None) -> "Catalogue":
        """The catalogue, its tables made where they are not there yet.

        `guard` is asked right before each commit and raises once the run may write no more.
        """
        from harmony_pipelines.clients.catalogue import Catalogue

        settings.prepare_home()
        return Catalogue.open(settings.database_url, guard)


class SpotifyResource(dg.ConfigurableResource):
    """Spotify's Web API for the app of SPOTIPY_CLIENT_ID, inside its budget and pace."""

    @contextmanager
    def client(
        self,
        settings: "Settings",
        catalogue: "Catalogue",
        deadline: "Deadline",
        quota: "Quota | None" = None,
    ) -> "Iterator[SpotifyClient]":
        """A client whose every wait ends at the deadline and whose every call ends with the block.

        Its budget and pace are everybody's; `quota` is this run's part of them.
        """
        from harmony_pipelines.clients.patience import Patience
        from harmony_pipelines.clients.spotify import SpotifyClient

        config, over = self.config(settings), threading.Event()
        app = self.app(settings, catalogue)
        quota = quota or self.quota(settings, catalogue)
        try:
            yield SpotifyClient(config, quota, Patience(deadline, over), app)
        finally:
            over.set()

    @contextmanager
    def trial(
        self, settings: "Settings", catalogue: "Catalogue", deadline: "Deadline", most: int
    ) -> "Iterator[SpotifyClient]":
        """A client that makes few calls, each once, and finds out anew what the app may do."""
        from harmony_pipelines.clients.patience import Patience
        from harmony_pipelines.clients.spotify import SpotifyClient
        from harmony_pipelines.clients.spotify_abilities import App
        from harmony_pipelines.clients.spotify_config import AUTO

        config, over = replace(self.config(settings), tries=1, profile=AUTO), threading.Event()
        quota = self.quota(settings, catalogue, most, is_named=True)
        try:
            yield SpotifyClient(config, quota, Patience(deadline, over), App(AUTO))
        finally:
            over.set()

    def app(self, settings: "Settings", catalogue: "Catalogue") -> "App":
        """What the app may do, as far as it is known."""
        from harmony_pipelines.clients.spotify_abilities import App, AppMemory

        memory = AppMemory(
            catalogue.engine, settings.spotify_client_id or "", settings.spotify_api_url
        )
        return App(settings.spotify_profile, memory)

    def quota(
        self,
        settings: "Settings",
        catalogue: "Catalogue",
        max_requests: int | None = None,
        *,
        is_named: bool = False,
    ) -> "Quota":
        """The budget and pace that all processes share, of which this run makes few calls.

        It books at most `max_requests`, and leaves the reserve alone unless the user named what
        is asked for.
        """
        from harmony_pipelines.clients.quota import ISRCS, Quota, QuotaLimits

        limits = QuotaLimits(
            per_second=settings.spotify_requests_per_second,
            daily_requests=settings.spotify_daily_requests,
            by_family={ISRCS: settings.spotify_isrc_daily_requests},
            a_run=max_requests,
            is_named=is_named,
        )
        return Quota(catalogue.engine, limits)

    def config(self, settings: "Settings") -> "SpotifyConfig":
        """What the settings say of the app."""
        from harmony_pipelines.clients.spotify_config import SpotifyConfig

        credentials = settings.spotify_credentials()
        return SpotifyConfig(
            client_id=credentials.client_id,
            client_secret=credentials.client_secret,
            market=settings.spotify_market(),
            profile=settings.spotify_profile,
            api_url=settings.spotify_api_url,
            accounts_url=settings.spotify_accounts_url,
            appears_on_max=settings.appears_on_max,
        )


class BeetsResource(dg.ConfigurableResource):
    """The user's beets library, read through a private copy and never written."""

    def library(self, settings: "Settings") -> "BeetsLibrary":
        """The library that the settings name, else the one beets itself would open."""
        from harmony_pipelines.clients.beets_config import find_config
        from harmony_pipelines.clients.beets_library import BeetsLibrary

        config = find_config(
            settings.beets_library,
            settings.music_directory,
            settings.path_map,
            settings.beets_dir,
        )
        return BeetsLibrary(config)


class BoundedHttpResource(dg.ConfigurableResource):
    """Fetches from allowed hosts within limits of time, bytes, redirects and addresses."""

    def client(self, settings: "Settings") -> "BoundedHttp":
        """A client with the limits that the settings give."""
        from harmony_pipelines.clients.bounded_http import AllowedHosts, BoundedHttp, HttpLimits

        limits = HttpLimits(
            connect_seconds=settings.artwork_connect_seconds,
            read_seconds=settings.artwork_read_seconds,
            deadline_seconds=settings.artwork_deadline_seconds,
            max_bytes=settings.artwork_max_bytes,
            max_redirects=settings.artwork_max_redirects,
        )
        return BoundedHttp(limits, AllowedHosts.parse(",".join(settings.artwork_hosts)))
