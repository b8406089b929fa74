"""What Spotify says: the watchlist's artists, their albums and their tracks."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from harmony_pipelines.claims import REFRESH, Claims
from harmony_pipelines.failures import reported
from harmony_pipelines.metadata import done
from harmony_pipelines.partitions import watched_artists
from harmony_pipelines.resources import BeetsResource, CatalogueResource, SpotifyResource
from harmony_pipelines.told import FRESHNESS, OWNERS, columns, tags

GROUP = "spotify"
KINDS = {"spotify", "sqlite"}


@dg.asset(
    group_name=GROUP,
    kinds={"yaml", "sqlite"},
    owners=OWNERS,
    tags=tags(source="watchlist.yaml", costs="requests"),
    metadata=columns("watchlist"),
    freshness_policy=FRESHNESS,
    config_schema={},
)
def watchlist(
    context: dg.AssetExecutionContext,
    catalogue: CatalogueResource,
    spotify: SpotifyResource,
    beets: BeetsResource,
    claims: Claims,
) -> dg.MaterializeResult:
    """The artists that `watchlist.yaml` names, resolved to Spotify ids; each gets a partition.

    A name that is not certain is not guessed: it goes to the table `watchlist_review`.
    """
    from harmony_pipelines.ops import refreshing, watching

    with reported():
        claims.claim(context, REFRESH)
        found = watching.read_watchlist(context, watching.Resources(catalogue, spotify, beets))
        refreshing.raise_if_red(watching.alone(found))
        return done("watchlist", watching.metadata(found))


@dg.multi_asset(
    name="refresh_named_artists",
    specs=[
        dg.AssetSpec(
            name,
            deps=[watchlist],
            group_name=GROUP,
            kinds=KINDS,
            owners=OWNERS,
            tags=tags(source="spotify", costs="requests"),
            metadata=columns(name),
            freshness_policy=FRESHNESS,
            skippable=True,
            description=description,
        )
        for name, description in (
            (
                "spotify_artists",
                "The watched artists as Spotify describes them; one partition each.",
            ),
            (
                "spotify_albums",
                "Every release of the watched artists in the album groups they are followed in.\n\n"
                "A release that is listed but whose body is still to be fetched has no "
                "`fetched_at`.",
            ),
            ("spotify_tracks", "The tracks of every release whose body was fetched."),
        )
    ],
    partitions_def=watched_artists,
    backfill_policy=dg.BackfillPolicy.single_run(),
    can_subset=True,
)
def refresh_named_artists(
    context: dg.AssetExecutionContext, catalogue: CatalogueResource, spotify: SpotifyResource
) -> Iterator[Any]:
    """Refresh the artists of this run's partitions, due or not.

    It yields no output: each artist is materialised as its rows are committed, so that one bad
    artist shows as one failed partition.
    """
    from harmony_pipelines.ops import refreshing

    with reported():
        order = refreshing.Order(context.partition_keys)
        outcome = refreshing.refresh(context, order, catalogue, spotify)
        refreshing.say(context, outcome)
        refreshing.raise_if_red(outcome)
    yield from ()
