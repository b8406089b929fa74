"""What must hold of whole tables before anyone relies on them."""

import dagster as dg

from harmony_pipelines.failures import reported
from harmony_pipelines.metadata import table
from harmony_pipelines.ops.soundness import CHECKS, Check
from harmony_pipelines.resources import CatalogueResource
from harmony_pipelines.settings import load_settings


@dg.asset_check(
    asset="spotify_albums",
    description="No watched artist's last refresh failed or stayed partial.",
)
def every_due_artist_was_refreshed(catalogue: CatalogueResource) -> dg.AssetCheckResult:
    """Reads `refresh_state`; fails with each artist's code and message."""
    from harmony_pipelines.clients import tables

    with reported():
        store = catalogue.open(load_settings())
        failed = store.table(
            tables.refresh_state, tables.refresh_state.c.status.in_(["failed", "partial"])
        )
        names = {row["artist_id"]: row["name"] for row in store.table(tables.watchlist)}
        rows = [
            {**row, "artist": names[row["artist_id"]]}
            for row in failed
            if row["artist_id"] in names
        ]
        columns = ("artist", "code", "reason", "message")
        return dg.AssetCheckResult(
            passed=not rows,
            metadata={"failed": len(rows), "artists": table(rows, columns, len(rows))},
        )


@dg.asset_check(
    asset="watchlist",
    description="Every line of the watchlist names an artist that is certain.",
)
def every_line_names_an_artist(catalogue: CatalogueResource) -> dg.AssetCheckResult:
    """Reads `watchlist_review`; warns with each line's code and message."""
    from harmony_pipelines.clients import tables

    with reported():
        store = catalogue.open(load_settings())
        rows = store.table(tables.watchlist_review)
        return dg.AssetCheckResult(
            passed=not rows,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"review": table(rows, ("line", "text", "code", "message"), len(rows))},
        )


def _asset_check(check: Check) -> dg.AssetChecksDefinition:
    @dg.asset_check(asset=check.asset, name=check.name, description=check.description)
    def evaluate(catalogue: CatalogueResource) -> dg.AssetCheckResult:
        with reported():
            settings = load_settings()
            return dg.AssetCheckResult(**check.evaluate(catalogue.open(settings), settings))

    return evaluate


whole_tables = [_asset_check(check) for check in CHECKS]
