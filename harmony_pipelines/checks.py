"""What must hold of whole tables before anyone relies on them."""

from collections.abc import Iterator

import dagster as dg

from harmony_pipelines.failures import reported
from harmony_pipelines.metadata import table
from harmony_pipelines.ops.soundness import CHECKS
from harmony_pipelines.resources import CatalogueResource
from harmony_pipelines.settings import load_settings


@dg.asset_check(
    asset="spotify_albums",
    description="No watched artist's last refresh failed or stayed partial.",
    config_schema={},
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
    config_schema={},
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


@dg.multi_asset_check(
    specs=[
        dg.AssetCheckSpec(check.name, asset=check.asset, description=check.description)
        for check in CHECKS
    ],
    can_subset=True,
)
def whole_tables(
    context: dg.AssetCheckExecutionContext, catalogue: CatalogueResource
) -> Iterator[dg.AssetCheckResult]:
    """Those that were asked for; one definition, as each costs the loading some milliseconds."""
    with reported():
        settings = load_settings()
        store = catalogue.open(settings)
        for check in CHECKS:
            if check.key in context.selected_asset_check_keys:
                told = check.evaluate(store, settings)
                yield dg.AssetCheckResult(asset_key=check.asset, check_name=check.name, **told)
