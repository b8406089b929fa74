"""What the UI tells of an asset before any run: its columns, owner and how fresh it should be."""

import os
import warnings
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from harmony_pipelines.domain.cadence import LONGEST
from harmony_pipelines.domain.columns import COLUMNS

DEVELOPMENT = "DAGSTER_IS_DEV_CLI"
"""Dagster's own mark of `dagster dev`, which `make dev` sets too."""

OWNERS = ["team:harmony_pipelines"]

FRESHNESS = dg.FreshnessPolicy.time_window(
    warn_window=timedelta(days=8), fail_window=LONGEST + timedelta(days=2)
)
"""Of the catalogue, the reports and the snapshot that they compare with, each as a whole: an artist
that releases nothing is looked at once in 30 days. How fresh each artist is says
`listings_are_as_fresh_as_their_cadence`. Covers have none: no new file is no fault."""


def columns(asset: str) -> dict[str, Any]:
    """The metadata of an asset's table: its columns, and where they come from."""
    told = COLUMNS[asset]
    schema = dg.TableSchema(
        columns=[dg.TableColumn(name, each.type, each.about) for name, each in told.items()]
    )
    lineage = {
        name: [dg.TableColumnDep(dg.AssetKey(source), column) for source, column in each.source]
        for name, each in told.items()
        if each.source
    }
    return {"dagster/column_schema": schema} | (
        {"dagster/column_lineage": dg.TableColumnLineage(lineage)} if lineage else {}
    )


def in_development(assets: Sequence[Any]) -> Sequence[Any]:
    """With links to the code, where the UI is the developer's: `make dev` and `dagster dev`."""
    if not os.environ.get(DEVELOPMENT):
        return assets
    with warnings.catch_warnings():  # a page of them would hide what `make dev` says
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.with_source_code_references(assets)


def tags(**values: str) -> Mapping[str, str]:
    """Tags of ours, to filter assets by."""
    return {f"harmony/{name}": value for name, value in values.items()}
