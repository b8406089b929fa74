from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from harmony_pipelines.clients import tables
from harmony_pipelines.definitions import defs
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.history import forget_runs
from harmony_pipelines.steps.report_files import write_news
from harmony_pipelines_tests.conftest import Home

LATER = datetime.now(UTC) + timedelta(days=400)


def run(instance: dg.DagsterInstance, job: str) -> dg.ExecuteInProcessResult:
    return defs.resolve_job_def(job).execute_in_process(instance=instance, raise_on_error=False)


def forget(instance: dg.DagsterInstance, ours: bool = True) -> int:
    return forget_runs(instance, LATER, lambda _: ours, Deadline.after(60))


def ids(instance: dg.DagsterInstance) -> set[str]:
    return {run.run_id for run in instance.get_runs()}


def test_the_job_keeps_what_is_fresh_and_says_what_it_did(home: Home, instance):
    home.artist("Lumen Tide")
    home.watch("Lumen Tide")
    assert run(instance, "refresh_catalogue").success
    before = home.rows(tables.spotify_albums)

    result = run(instance, "apply_retention")

    assert result.success
    assert home.rows(tables.spotify_albums) == before
    assert len(ids(instance)) == 2


def test_reports_name_nothing_that_was_forgotten(home: Home, instance):
    home.watch(home.artist("Lumen Tide"))
    assert run(instance, "refresh_catalogue").success
    long_ago = {"artist_id": "a", "album_id": "b", "first_seen_at": "2020-01-01T00:00:00Z"}
    told = {"artist_name": "Sable Choir", "name": "Old Water", "recent": 0}
    with home.store() as store:
        store.save(tables.new_releases, [long_ago | told])
        feed, *_ = write_news(store, home.folder / "reports")
    assert "Old Water" in feed.read_text()

    assert run(instance, "apply_retention").success

    assert "Old Water" not in feed.read_text()
    assert not feed.with_name("missing_from_library.csv").exists(), "none was there"


def test_old_runs_go_but_for_those_with_the_latest_materialisation(home: Home, instance):
    home.artist("Lumen Tide")
    home.watch("Lumen Tide")
    first = run(instance, "refresh_catalogue").run_id
    quiet = run(instance, "apply_retention").run_id
    with_watchlist_and_reports = run(instance, "refresh_catalogue").run_id

    assert forget(instance) == 1

    assert ids(instance) == {first, with_watchlist_and_reports}  # the first has the artist
    assert quiet not in ids(instance)
    for key in ("spotify_albums", "watchlist", "new_releases"):
        assert instance.get_latest_materialization_event(dg.AssetKey(key))


def test_runs_of_other_projects_and_runs_at_work_stay(home: Home, instance):
    run(instance, "apply_retention")
    at_work = instance.create_run_for_job(defs.resolve_job_def("apply_retention")).run_id

    assert forget(instance, ours=False) == 0
    assert forget(instance) == 1

    assert ids(instance) == {at_work}


def test_what_its_ops_handed_on_goes_with_a_run(home: Home, tmp_path):
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        gone = run(instance, "apply_retention").run_id
        handed_on = Path(instance.storage_directory()) / gone / "op" / "result"
        handed_on.parent.mkdir(parents=True)
        handed_on.touch()

        assert forget(instance) == 1

        assert not handed_on.parent.parent.exists()
