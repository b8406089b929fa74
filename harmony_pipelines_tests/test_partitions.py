from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg

from harmony_pipelines.partitions import register, watched_artists


def test_keys_are_added_once_and_none_is_removed(instance: dg.DagsterInstance) -> None:
    assert register(instance, ["a-1", "b-2"]) == ["a-1", "b-2"]
    assert register(instance, ["b-2", "c-3"]) == ["c-3"]
    assert register(instance, []) == []
    keys = watched_artists.get_partition_keys(dynamic_partitions_store=instance)
    assert list(keys) == ["a-1", "b-2", "c-3"]


def test_runs_that_register_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    keys = [f"artist-{number}" for number in range(50)]
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: register(instance, keys), range(8)))
        found = watched_artists.get_partition_keys(dynamic_partitions_store=instance)
        assert sorted(found) == sorted(keys)
