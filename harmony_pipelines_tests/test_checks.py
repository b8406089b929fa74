import dagster as dg

from harmony_pipelines.clients import tables
from harmony_pipelines.definitions import defs
from harmony_pipelines_tests.conftest import Home


def evaluated(instance: dg.DagsterInstance, asset: str, name: str) -> dg.AssetCheckEvaluation:
    selection = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey(asset), name))
    job = dg.define_asset_job("checked", selection).resolve(asset_graph=defs.resolve_asset_graph())
    result = job.execute_in_process(instance=instance, resources=defs.resources)
    [evaluation] = result.get_asset_check_evaluations()
    return evaluation


def test_an_artist_whose_refresh_failed_fails_the_check_with_code_and_message(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.watch(home.artist("Good"), home.artist("Bad"))
    assert home.refresh(instance).success
    name = "every_due_artist_was_refreshed"
    assert evaluated(instance, "spotify_albums", name).passed
    bad = home.rows(tables.watchlist)[0]
    home.change(
        tables.refresh_state,
        tables.refresh_state.c.artist_id == bad["artist_id"],
        status="failed",
        code="DEPENDENCY_ERROR",
        message="Spotify is down.",
    )
    check = evaluated(instance, "spotify_albums", name)
    assert not check.passed
    shown = str(check.metadata["artists"].value)
    assert f"| {bad['name']} | DEPENDENCY\\_ERROR |  | Spotify is down. |" in shown


def test_a_line_that_names_nobody_for_certain_is_a_warning(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.artist("Lumen Tide")
    home.watch("Lumen Tide", "Lumen Tyde")
    assert home.refresh(instance).success
    check = evaluated(instance, "watchlist", "every_line_names_an_artist")
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "| 3 | Lumen Tyde | NOT\\_FOUND |" in str(check.metadata["review"].value)


def test_one_check_of_whole_tables_runs_alone(home: Home, instance: dg.DagsterInstance) -> None:
    home.watch(home.artist("Lumen Tide"))
    assert home.refresh(instance).success
    assert evaluated(instance, "spotify_tracks", "every_track_belongs_to_an_album").passed
    track = {"artist_id": "nobody", "track_id": "t", "album_id": "s"}
    with home.store() as store:
        store.save(tables.spotify_tracks, [track])
    assert not evaluated(instance, "spotify_tracks", "every_track_belongs_to_an_album").passed
