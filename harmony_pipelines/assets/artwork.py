"""The right cover in every audio file: the graph of `ops/covers.py` as an asset."""

import dagster as dg

from harmony_pipelines.ops.covers import embedded_artwork as graph

embedded_artwork = dg.AssetsDefinition.from_graph(
    graph,
    keys_by_input_name={"missing": dg.AssetKey("missing_from_library")},
    keys_by_output_name={"result": dg.AssetKey("embedded_artwork")},
    group_name="artwork",
    descriptions_by_output_name={
        "result": "The right front cover in every audio file that has none; every other byte of "
        "tags and audio stays as it is. What was done to which file is in `artwork_results`."
    },
)
