import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo import faults
from harmony_pipelines_tests.conftest import Home, failure_in, materialised_in

ASSETS = ("spotify_artists", "spotify_albums", "spotify_tracks")


def materialise(
    instance: dg.DagsterInstance, *assets: str, keys: tuple[str, ...] = ()
) -> dg.ExecuteInProcessResult:
    job = dg.define_asset_job("chosen", dg.AssetSelection.assets(*assets))
    tags = {}
    if keys:
        tags = {
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        }
    resolved = job.resolve(asset_graph=defs.resolve_asset_graph())
    return resolved.execute_in_process(
        instance=instance, resources=defs.resources, tags=tags, raise_on_error=False
    )


def keys_of(home: Home) -> tuple[str, ...]:
    rows = home.rows(tables.watchlist)
    return tuple(row["partition_key"] for row in sorted(rows, key=lambda row: row["line"]))


def test_the_watchlist_registers_a_partition_for_each_artist(
    home: Home, instance: dg.DagsterInstance
) -> None:
    artist_id = home.artist("Lumen Tide")
    home.watch("Lumen Tide")
    assert materialise(instance, "watchlist").success
    assert list(instance.get_dynamic_partitions("artists")) == [f"lumen-tide-{artist_id}"]


@pytest.mark.parametrize("bad", [0, 1])
def test_of_two_partitions_exactly_the_good_one_is_materialised(
    home: Home, instance: dg.DagsterInstance, bad: int
) -> None:
    ids = [home.artist("First"), home.artist("Second")]
    home.watch(*ids)
    assert materialise(instance, "watchlist").success
    keys = keys_of(home)
    home.server.faults.add(f"/v1/artists/{ids[bad]}", faults.string_error(400), times=None)
    result = materialise(instance, *ASSETS, keys=keys)
    failure = failure_in(result)
    [problem] = failure["details"]["problems"]
    assert problem["partition"] == keys[bad]
    for asset in ASSETS:
        assert materialised_in(instance, asset) == {keys[1 - bad]}


def test_one_partition_alone_is_refreshed_due_or_not(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.watch(home.artist("First"), home.artist("Second"))
    assert home.refresh(instance).success
    home.server.forget_requests()
    first = keys_of(home)[0]
    assert materialise(instance, "spotify_albums", keys=(first,)).success
    assert home.counts() == {"token": 1, "artist_albums": 1}


def test_a_partition_that_is_no_longer_watched_does_not_cost_the_others(
    home: Home, instance: dg.DagsterInstance
) -> None:
    first, second = home.artist("First"), home.artist("Second")
    home.watch(first, second)
    assert materialise(instance, "watchlist").success
    keys = keys_of(home)
    home.watch(first)
    assert materialise(instance, "watchlist").success
    failure = failure_in(materialise(instance, *ASSETS, keys=keys))
    assert failure["code"] == "VALIDATION_ERROR"
    assert materialised_in(instance, "spotify_albums") == {keys[0]}


def test_more_partitions_than_a_scheduled_run_takes_are_all_refreshed(
    home: Home, instance: dg.DagsterInstance
) -> None:
    keys = tuple(f"nobody-{number:022}" for number in range(300))
    instance.add_dynamic_partitions("artists", list(keys))
    home.watch(home.artist("First"))
    assert home.refresh(instance).success
    failure = failure_in(materialise(instance, "spotify_albums", keys=keys))
    assert len(failure["details"]["problems"]) == 300
