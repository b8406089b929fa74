"""What a person wants to know: what is new, what matches, what is missing."""

import dagster as dg

from harmony_pipelines.failures import reported
from harmony_pipelines.metadata import done
from harmony_pipelines.resources import CatalogueResource
from harmony_pipelines.told import FRESHNESS, OWNERS, columns, tags

GROUP = "reports"


@dg.asset(
    group_name=GROUP,
    kinds={"sqlite", "atom"},
    owners=OWNERS,
    tags=tags(writes="new_releases.atom"),
    metadata=columns("new_releases"),
    freshness_policy=FRESHNESS,
    deps=["spotify_albums"],
    config_schema={},
)
def new_releases(
    context: dg.AssetExecutionContext, catalogue: CatalogueResource
) -> dg.MaterializeResult:
    """What appeared after each artist's baseline, each release once; no row ever goes.

    One that its body shows to be a re-issue or withdrawn is hidden, with the reason. Rows are
    written in the transaction that stores the release, so that none is missed.
    """
    from harmony_pipelines.ops import reports

    with reported():
        return reports.news(context, catalogue).result(context, "new_releases")


@dg.asset(
    group_name=GROUP,
    kinds={"sqlite"},
    owners=OWNERS,
    metadata=columns("album_matches"),
    freshness_policy=FRESHNESS,
    deps=["spotify_albums", "spotify_tracks", "beets_albums", "beets_tracks"],
    config_schema={},
)
def album_matches(
    context: dg.AssetExecutionContext, catalogue: CatalogueResource
) -> dg.MaterializeResult:
    """Each library album with the Spotify album it is: score, verdict, reason, candidates."""
    from harmony_pipelines.ops import reports

    with reported():
        return done("album_matches", reports.matches(context, catalogue))


@dg.asset(
    group_name=GROUP,
    kinds={"sqlite", "csv", "html"},
    owners=OWNERS,
    tags=tags(writes="missing_from_library.csv-html"),
    metadata=columns("missing_from_library"),
    freshness_policy=FRESHNESS,
    deps=[album_matches],
    config_schema={},
)
def missing_from_library(
    context: dg.AssetExecutionContext, catalogue: CatalogueResource
) -> dg.MaterializeResult:
    """What a collector would miss of the watched artists; hidden rows keep their reason."""
    from harmony_pipelines.ops import reports

    with reported():
        return reports.missing(context, catalogue).result(context, "missing_from_library")
