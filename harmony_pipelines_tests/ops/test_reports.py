import dagster as dg
import feedparser
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo.library import make_library
from harmony_pipelines_tests.conftest import Home, failure_in


def materialise(instance: dg.DagsterInstance, asset: str) -> dg.ExecuteInProcessResult:
    job = dg.define_asset_job("one", dg.AssetSelection.assets(asset).without_checks())
    return job.resolve(asset_graph=defs.resolve_asset_graph()).execute_in_process(
        instance=instance, resources=defs.resources, raise_on_error=False
    )


def latest(instance: dg.DagsterInstance, asset: str) -> dict[str, object]:
    event = instance.get_latest_materialization_event(dg.AssetKey(asset))
    assert event and event.asset_materialization
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


@pytest.fixture
def blocked(home: Home) -> Home:
    """A user in whose way of reports a file lies."""
    home.folder.joinpath("reports").write_text("")
    home.watch(home.artist("Lumen Tide"))
    return home


def test_every_refresh_writes_the_feed_and_links_it(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide")
    home.watch(artist_id)
    assert home.refresh(instance).success
    home.server.catalogue.add_album(artist_id, "<New>", release_date="2026-11-20", tracks=1)
    home.change(tables.refresh_state, next_due_at="2000-01-01T00:00:00Z")
    assert home.refresh(instance).success
    told = latest(instance, "new_releases")
    assert told["releases"] == 1
    [entry] = feedparser.parse(str(told["new_releases.atom"])).entries
    assert entry.title == "Lumen Tide - <New>"


def test_a_feed_that_cannot_be_written_ends_the_refresh_red_with_the_rest_done(
    blocked: Home, instance: dg.DagsterInstance
) -> None:
    result = blocked.refresh(instance)
    failure = failure_in(result)
    assert (failure["code"], failure["details"]["reason"]) == ("DEPENDENCY_ERROR", "io_error")
    assert "reports" in failure["message"]
    assert "DEPENDENCY_ERROR: " in str(latest(instance, "new_releases")["not written"])
    assert len(blocked.rows(tables.spotify_albums)) == 1


def test_an_asset_without_its_files_is_materialised_and_red(
    blocked: Home, instance: dg.DagsterInstance
) -> None:
    for asset in ("new_releases", "missing_from_library"):
        assert failure_in(materialise(instance, asset))["code"] == "DEPENDENCY_ERROR"
        assert "not written" in latest(instance, asset)
    blocked.folder.joinpath("reports").unlink()
    assert materialise(instance, "missing_from_library").success
    assert "missing_from_library.csv" in latest(instance, "missing_from_library")


def test_covers_do_not_wait_for_reports(blocked: Home, instance: dg.DagsterInstance) -> None:
    make_library(blocked.demo.library.parent)
    blocked.set(HARMONY_ARTWORK_SOURCES="library")
    result = defs.get_job_def("embed_artwork").execute_in_process(
        instance=instance, raise_on_error=False
    )
    steps = {event.step_key for event in result.all_events if event.is_step_success}
    assert "embedded_artwork.embed_covers" in steps
    assert "not written" in latest(instance, "missing_from_library")
