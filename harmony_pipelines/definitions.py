"""The table of contents: everything that Dagster loads."""

import gc

import dagster as dg

gc.freeze()  # what Dagster loaded stays; to look through it again takes as long as what follows

from harmony_pipelines import checks, schedules, sensors
from harmony_pipelines.assets import artwork, beets, reports, spotify
from harmony_pipelines.claims import Claims
from harmony_pipelines.executor import deadline_executor
from harmony_pipelines.jobs import (
    apply_retention,
    check_setup,
    embed_artwork,
    refresh_catalogue,
    restore_artwork,
)
from harmony_pipelines.resources import (
    BeetsResource,
    BoundedHttpResource,
    CatalogueResource,
    SpotifyResource,
)
from harmony_pipelines.told import in_development

defs = dg.Definitions(
    assets=in_development(dg.load_assets_from_modules([spotify, beets, reports, artwork])),
    asset_checks=dg.load_asset_checks_from_modules([checks]),
    jobs=[refresh_catalogue, embed_artwork, restore_artwork, apply_retention, check_setup],
    schedules=[
        schedules.refresh_catalogue_schedule,
        schedules.embed_artwork_schedule,
        schedules.apply_retention_schedule,
    ],
    sensors=[
        sensors.watchlist_sensor,
        sensors.beets_library_sensor,
        sensors.failed_artists_sensor,
        sensors.run_failure_sensor,
    ],
    resources={
        "spotify": SpotifyResource(),
        "http": BoundedHttpResource(),
        "beets": BeetsResource(),
        "catalogue": CatalogueResource(),
        "claims": Claims(),
    },
    executor=deadline_executor,
)
