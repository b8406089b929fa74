import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.event_log import SqliteEventLogStorage

from harmony_pipelines.event_log import event_log_kept_open, told_together

ASSETS = [dg.AssetKey("albums"), dg.AssetKey("tracks")]
ARTISTS = ["one", "two", "three"]
LONGEST_SECONDS = 60
QUIET = {"telemetry": {"enabled": False}}


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path), QUIET) as it:
        yield it


def materialisations(artist: str) -> list[dg.AssetMaterialization]:
    return [dg.AssetMaterialization(key, partition=artist, metadata={"n": 1}) for key in ASSETS]


def run(instance: dg.DagsterInstance, *, together: bool) -> str:
    @dg.op
    def tell(context: dg.OpExecutionContext) -> None:
        def log() -> None:
            for artist in ARTISTS:
                for event in materialisations(artist):
                    context.log_event(event)

        if together:
            with event_log_kept_open(context.instance), told_together(context.instance):
                log()
        else:
            log()

    @dg.job
    def telling() -> None:
        tell()

    return telling.execute_in_process(instance=instance).run_id


def seen(instance: dg.DagsterInstance, run_id: str) -> dict[str, object]:
    """All that Dagster's own storage finds of a run, and of the assets that it told of."""
    log = SqliteEventLogStorage(str(Path(instance.storage_directory()).parent / "history" / "runs"))
    log.register_instance(instance)
    entries = log.get_logs_for_run(run_id)
    events = [entry.get_dagster_event() for entry in entries if entry.is_dagster_event]
    records = [log.fetch_materializations(key, limit=10).records for key in ASSETS]
    last = [log.get_latest_materialization_events(ASSETS)[key] for key in ASSETS]
    return {
        "in the run": [(event.step_key, event.event_type_value) for event in events],
        "told": [
            (event.asset_key, event.partition) for event in events if event.is_step_materialization
        ],
        "of the assets": [(one.asset_key, one.partition_key) for some in records for one in some],
        "last of the assets": [one and one.asset_materialization for one in last],
        "partitions": [log.get_materialized_partitions(key) for key in ASSETS],
        "summaries": [
            (one.asset_entry.asset_key, one.asset_entry.last_run_id == run_id)
            for one in log.get_asset_records(ASSETS)
        ],
    }


def test_dagster_finds_what_was_told_together_as_if_it_was_told_one_by_one(
    tmp_path: Path,
) -> None:
    found = []
    for together in (False, True):
        folder = tmp_path / str(together)
        folder.mkdir()
        with dg.DagsterInstance.local_temp(str(folder), QUIET) as instance:
            found.append(seen(instance, run(instance, together=together)))
    assert found[0] == found[1]
    assert found[1]["told"] == [(key, artist) for artist in ARTISTS for key in ASSETS]


def test_what_a_block_told_before_it_failed_is_stored(instance: dg.DagsterInstance) -> None:
    @dg.op
    def tell(context: dg.OpExecutionContext) -> None:
        with (
            suppress(LookupError),
            event_log_kept_open(context.instance),
            told_together(context.instance),
        ):
            context.log_event(materialisations("one")[0])
            raise LookupError

    @dg.job
    def telling() -> None:
        tell()

    telling.execute_in_process(instance=instance)
    assert instance.get_materialized_partitions(ASSETS[0]) == {"one"}


def test_a_ui_hears_of_an_event_while_the_log_is_kept_open(instance: dg.DagsterInstance) -> None:
    heard = threading.Event()

    @dg.op
    def tell(context: dg.OpExecutionContext) -> None:
        its_own = SqliteEventLogStorage(
            str(Path(instance.storage_directory()).parent / "history" / "runs")
        )
        its_own.register_instance(instance)
        with event_log_kept_open(context.instance):
            its_own.watch(context.run.run_id, None, lambda *_: heard.set())
            with told_together(context.instance):
                context.log_event(materialisations("one")[0])
            assert heard.wait(LONGEST_SECONDS)
        its_own.dispose()

    @dg.job
    def telling() -> None:
        tell()

    assert telling.execute_in_process(instance=instance).success


def test_a_log_that_is_not_in_sqlite_files_is_left_alone() -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        before = instance.event_log_storage
        with event_log_kept_open(instance), told_together(instance):
            assert instance.event_log_storage is before


def test_dagster_has_its_own_log_again_after_the_block(instance: dg.DagsterInstance) -> None:
    before = instance.event_log_storage
    with event_log_kept_open(instance):
        assert instance.event_log_storage is not before
    assert instance.event_log_storage is before


@pytest.mark.timeout(60)
def test_what_is_logged_while_events_are_stored_becomes_events_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    all_of_them = {"python_logs": {"python_log_level": "DEBUG", "managed_python_loggers": ["root"]}}
    with dg.DagsterInstance.local_temp(str(tmp_path), QUIET | all_of_them) as instance:
        told = seen(instance, run(instance, together=True))["told"]
    assert told == [(key, artist) for artist in ARTISTS for key in ASSETS]
