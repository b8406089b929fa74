"""What the user's beets library holds, read through a private copy."""

from collections.abc import Iterator

import dagster as dg

from harmony_pipelines.failures import reported
from harmony_pipelines.metadata import done, materialised
from harmony_pipelines.resources import BeetsResource, CatalogueResource
from harmony_pipelines.told import FRESHNESS, OWNERS, columns, tags

GROUP = "beets"
KINDS = {"beets", "sqlite"}


@dg.multi_asset(
    name="snapshot_of_library",
    specs=[
        dg.AssetSpec(
            "beets_albums",
            group_name=GROUP,
            kinds=KINDS,
            owners=OWNERS,
            tags=tags(source="beets"),
            metadata=columns("beets_albums"),
            freshness_policy=FRESHNESS,
            skippable=True,
            description="The albums of the user's beets library. The library is never written.",
        ),
        dg.AssetSpec(
            "beets_tracks",
            group_name=GROUP,
            kinds=KINDS,
            owners=OWNERS,
            tags=tags(source="beets"),
            metadata=columns("beets_tracks"),
            freshness_policy=FRESHNESS,
            skippable=True,
            description="The tracks of the user's beets library, each with its file's size and "
            "time and, once it was looked into, its front cover.",
        ),
    ],
    can_subset=True,
)
def snapshot_of_library(
    context: dg.AssetExecutionContext, beets: BeetsResource, catalogue: CatalogueResource
) -> Iterator[dg.MaterializeResult]:
    """One snapshot makes both tables, whichever of them was asked for."""
    from harmony_pipelines.ops import reports

    with reported():
        metadata = reports.snapshot(context, beets, catalogue)
        for asset in ("beets_albums", "beets_tracks"):
            if dg.AssetKey(asset) in context.selected_asset_keys:
                yield done(asset, metadata)
            else:
                context.log_event(materialised(asset, metadata))
