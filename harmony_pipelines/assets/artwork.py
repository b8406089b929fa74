"""The right cover in every audio file: the graph of `ops/covers.py` as an asset."""

import dagster as dg

from harmony_pipelines.ops.covers import embedded_artwork as graph
from harmony_pipelines.told import OWNERS, columns, tags

_KINDS = {"dagster/kind/flac": "", "dagster/kind/mp3": "", "dagster/kind/sqlite": ""}
"""As `kinds` says it elsewhere, which a graph's outputs do not take."""

embedded_artwork = dg.AssetsDefinition.from_graph(
    graph,
    keys_by_input_name={"missing": dg.AssetKey("missing_from_library")},
    keys_by_output_name={"result": dg.AssetKey("embedded_artwork")},
    group_name="artwork",
    metadata_by_output_name={"result": columns("embedded_artwork")},
    tags_by_output_name={"result": {**tags(writes="audio-files"), **_KINDS}},
    owners_by_output_name={"result": OWNERS},
    descriptions_by_output_name={
        "result": "The right front cover in every audio file that has none; every other byte of "
        "tags and audio stays as it is. What was done to which file is in `artwork_results`."
    },
)
