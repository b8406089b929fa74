import dagster as dg
import pytest

from harmony_pipelines.definitions import defs
from harmony_pipelines.demo.library import make_library
from harmony_pipelines_tests.conftest import Home

TABLES = ("beets_albums", "beets_tracks")


@pytest.mark.parametrize(
    "wanted", [("beets_albums",), ("beets_tracks",), (*TABLES, "album_matches")]
)
def test_whichever_table_is_asked_for_both_are_made_and_materialised_once(
    home: Home, instance: dg.DagsterInstance, wanted: tuple[str, ...]
) -> None:
    make_library(home.demo.library.parent)
    job = dg.define_asset_job("chosen", dg.AssetSelection.assets(*wanted))
    resolved = job.resolve(asset_graph=defs.resolve_asset_graph())
    result = resolved.execute_in_process(
        instance=instance, resources=defs.resources, raise_on_error=False
    )
    assert result.success
    events = result.get_asset_materialization_events()
    made = [event.asset_key.to_user_string() for event in events if event.asset_key]
    assert sorted(made) == sorted({*TABLES, *wanted})
