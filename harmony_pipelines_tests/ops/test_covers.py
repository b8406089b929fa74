import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.home import DemoHome
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.demo.library_data import load_library
from harmony_pipelines.demo.spotify_server import SpotifyServer

_FEW = ("night-ferry", "salt-and-static", "little-meridian", "observatory-tapes", "kettle-street")


@dataclass
class User:
    """A user's machine: a home with a catalogue, a library, and Dagster's own."""

    home: DemoHome
    server: SpotifyServer
    instance: dg.DagsterInstance

    def run(self, config: Mapping[str, Any] | None = None, job: str = "embed_artwork"):
        """Run a job to its end, whatever that is."""
        return defs.resolve_job_def(job).execute_in_process(
            run_config=_config(config), instance=self.instance, raise_on_error=False
        )

    def materialise(self, config: Mapping[str, Any] | None = None):
        """Materialise the asset alone, as a click in the UI does."""
        job = defs.resolve_implicit_global_asset_job_def()
        return job.execute_in_process(
            run_config=_config(config),
            instance=self.instance,
            raise_on_error=False,
            asset_selection=[dg.AssetKey("embedded_artwork")],
        )

    def metadata(self) -> dict[str, Any]:
        """What the last materialisation says."""
        event = self.instance.get_latest_materialization_event(dg.AssetKey("embedded_artwork"))
        assert event
        assert event.asset_materialization
        return {name: m.value for name, m in event.asset_materialization.metadata.items()}

    def rows(self) -> list[dict[str, Any]]:
        """All rows of results."""
        store = Store.open(f"sqlite:///{self.home.database}")
        rows = store.table(tables.artwork_results)
        store.close()
        return rows

    def stamps(self) -> dict[Path, tuple[int, int]]:
        """Inode and time of every file of the library."""
        return {f: (f.stat().st_ino, f.stat().st_mtime_ns) for f in self.home.music.rglob("*")}


def _config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    if config is None:
        return {}
    return {"ops": {"embedded_artwork": {"ops": {"plan_covers": {"config": dict(config)}}}}}


def _failure(result: Any) -> tuple[str, str]:
    [event] = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    metadata = event.step_failure_data.user_failure_data.metadata
    return metadata["code"].value, metadata["message"].value


def _home(folder: Path) -> DemoHome:
    home = DemoHome(folder)
    make_library(home.library.parent, [a for a in load_library() if a.key in _FEW])
    home.prepare()
    return home


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[SpotifyServer, Path]]:
    """A server, and the catalogue that one refresh made of it."""
    folder = tmp_path_factory.mktemp("prepared")
    with SpotifyServer(Catalogue.load()) as server, pytest.MonkeyPatch.context() as patch:
        home = _home(folder)
        for name, value in home.environment(server).items():
            patch.setenv(name, value)
        with dg.instance_for_test() as instance:
            job = defs.resolve_job_def("refresh_catalogue")
            assert job.execute_in_process(instance=instance).success
        yield server, home.database


@pytest.fixture
def user(
    tmp_path: Path, prepared: tuple[SpotifyServer, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[User]:
    server, database = prepared
    home = _home(tmp_path)
    for file in database.parent.glob("harmony.db*"):
        shutil.copy(file, home.database.parent)
    for name, value in home.environment(server).items():
        monkeypatch.setenv(name, value)
    server.forget_requests()
    with dg.instance_for_test() as instance:
        yield User(home, server, instance)
    server.faults.clear()


def test_the_job_embeds_covers_and_a_second_run_writes_nothing(user: User) -> None:
    result = user.run()
    assert result.success
    told = user.metadata()
    assert told["embedded"] == len([r for r in user.rows() if r["status"] == "embedded"]) > 0
    assert (told["failed"], told["deferred"]) == (0, 0)
    before = user.stamps()
    user.server.forget_requests()
    assert user.run().success
    assert (user.metadata()["embedded"], user.stamps(), user.server.count()) == (0, before, 0)
    assert len(user.rows()) == told["embedded"] + told["skipped"]


def test_a_file_changed_in_a_century_that_no_database_holds_is_one_like_any_other(
    user: User,
) -> None:
    far = datetime(2400, 1, 1, tzinfo=UTC).timestamp()
    files = list(user.home.music.rglob("*.*"))
    for file in files:
        os.utime(file, (far, far), follow_symlinks=False)
    if files[0].lstat().st_mtime != far:
        pytest.skip("this file system has no such time")

    assert user.run().success
    assert user.metadata()["embedded"] > 0
    before = user.stamps()
    assert user.run().success
    assert user.stamps() == before


def test_covers_that_no_run_waits_for_are_forgotten_also_by_a_run_without_work(user: User) -> None:
    assert user.run().success
    covers = sorted((user.home.database.parent / "covers").glob("??/*"))
    eight_days_ago = time.time() - 8 * 86400
    os.utime(covers[0], (eight_days_ago, eight_days_ago))
    assert user.run({"policy": "never"}).success
    assert [cover.exists() for cover in covers] == [False] + [True] * (len(covers) - 1)


def test_the_run_says_what_it_is_about_to_do_and_what_it_did(user: User) -> None:
    result = user.run()
    lines = _log_lines(user, result.run_id)
    [before] = [line for line in lines if line.startswith("To embed: at most")]
    [after] = [line for line in lines if line.startswith("Covers embedded in")]
    assert "MiB to rewrite" in before
    assert "2 have no certain source" in after
    assert lines.index(before) < lines.index(after)


def test_the_run_shows_outcomes_pictures_what_it_spared_and_what_to_decide(user: User) -> None:
    assert user.run().success
    told = user.metadata()
    outcomes = [line.split(" | ") for line in told["outcomes"].splitlines()[2:]]
    files = sum(path.suffix in (".mp3", ".flac", ".ogg", ".opus", ".m4a", ".wav", ".aiff", ".wma")
                for path in user.home.music.rglob("*"))  # fmt: skip
    assert sum(int(line[-1].rstrip(" |")) for line in outcomes) <= files
    assert told["before and after"].count("| none | ![](data:image/jpeg;base64,") == len(
        {row["beets_album_id"] for row in user.rows() if row["status"] == "embedded"}
    )
    assert told["bytes written"] > 0
    assert told["bytes saved"] >= 0
    assert "ambiguous" in told["review"]
    assert "unsure" in told["review"]

    assert user.run().success
    again = user.metadata()
    assert (again["bytes written"], again["before and after"]) == (0, "none")
    assert again["bytes saved"] > told["bytes saved"]


def _log_lines(user: User, run_id: str) -> list[str]:
    return [entry.user_message for entry in user.instance.all_logs(run_id)]


def test_a_dry_run_says_what_would_be_done_and_changes_no_file(user: User) -> None:
    before = user.stamps()
    result = user.run({"dry_run": True})
    assert result.success
    assert (user.stamps(), user.server.count()) == (before, 0)
    [line] = [ln for ln in _log_lines(user, result.run_id) if ln.startswith("A dry run")]
    told = user.metadata()
    assert (told["embedded"], told["dry run"]) == (0, 1)
    assert f"{told['planned files']} files" in line
    assert user.run().success
    done = user.metadata()
    assert done["embedded"] + done["skipped"] == told["planned files"] > 1


@pytest.mark.parametrize("policy", ["missing", "larger", "never"])
def test_a_policy_is_given_by_its_name(user: User, policy: str) -> None:
    assert user.run({"policy": policy}).success
    assert (user.metadata()["embedded"] > 0) == (policy != "never")


@pytest.mark.parametrize(
    ("config", "named"),
    [
        ({"policy": "biggest"}, "biggest"),
        ({"albums": [7]}, "albums"),
        ({"dry_run": "maybe"}, "dry_run"),
        ({"dryrun": True}, "dryrun"),
    ],
)
def test_a_wrong_value_is_refused_by_name_before_anything_runs(
    user: User, config: dict[str, Any], named: str
) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match=named):
        user.run(config)
    with pytest.raises(dg.DagsterInvalidConfigError, match=named):
        user.materialise(config)


def test_an_unknown_album_fails_with_its_code_and_touches_nothing(user: User) -> None:
    before = user.stamps()
    code, message = _failure(user.run({"albums": ["4711"]}))
    assert code == "VALIDATION_ERROR"
    assert "4711" in message
    assert user.stamps() == before


def test_a_named_album_alone_gets_its_cover(user: User) -> None:
    assert user.run({"albums": ["2"]}).success
    assert {row["beets_album_id"] for row in user.rows()} == {2}


def test_a_failed_file_ends_the_run_red_with_the_rest_done(user: User) -> None:
    user.server.faults.add("image", faults.html_page(), times=None)
    result = user.run()
    assert not result.success
    code, message = _failure(result)
    assert code == "UNSUPPORTED_MEDIA"
    assert str(user.home.music) in message
    told = user.metadata()
    assert told["embedded"] > 0 < told["failed"]
    user.server.faults.clear()
    assert user.run().success
    assert user.metadata()["waits"] > 0


def test_the_asset_is_materialised_alone_with_the_same_config(user: User) -> None:
    assert user.run({"policy": "never"}).success
    result = user.materialise({"dry_run": True})
    assert result.success
    assert user.metadata()["dry run"] == 1
    planned = user.metadata()["planned files"]
    assert user.materialise().success
    assert 0 < user.metadata()["embedded"] <= planned
    files = [Path(row["path"]) for row in user.rows() if row["status"] == "embedded"]
    assert all(read_front(file) for file in files)


def test_a_failed_materialisation_still_says_what_was_done(user: User) -> None:
    assert user.run({"policy": "never"}).success
    user.server.faults.add("image", faults.html_page(), times=None)
    assert not user.materialise().success
    assert user.metadata()["failed"] > 0


def test_a_run_that_was_cancelled_writes_nothing_more(user: User) -> None:
    from harmony_pipelines.runs import still_running

    before = user.stamps()

    @dg.op
    def cancelled(context: dg.OpExecutionContext) -> None:
        context.instance.report_run_canceled(context.run)
        with pytest.raises(Exception, match="nothing more is written"):
            still_running(context)()

    @dg.job
    def given_up() -> None:
        cancelled()

    given_up.execute_in_process(instance=user.instance, raise_on_error=False)
    assert user.stamps() == before


def test_a_home_that_cannot_hold_covers_fails_the_run_and_no_file(user: User) -> None:
    (user.home.database.parent / "covers").write_text("in the way")
    before = user.stamps()
    result = user.run()
    assert not result.success
    assert "covers" in _failure(result)[1]
    assert user.stamps() == before


def test_a_run_that_rewrote_its_share_defers_the_rest_and_is_green(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARMONY_ARTWORK_MAX_REWRITE_BYTES", "1")
    assert user.run().success
    told = user.metadata()
    assert (told["embedded"], told["failed"]) == (1, 0)
    assert told["deferred"] > 0


def test_the_limits_of_a_download_are_the_settings(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARMONY_ARTWORK_CONNECT_SECONDS", "1")
    monkeypatch.setenv("HARMONY_ARTWORK_READ_SECONDS", "1")
    monkeypatch.setenv("HARMONY_ARTWORK_DEADLINE_SECONDS", "1")
    user.server.faults.add("image", faults.slow_drip(), times=None)
    result = user.run()
    assert _failure(result)[0] == "DEADLINE_EXCEEDED"
    user.server.faults.clear()
    monkeypatch.setenv("HARMONY_ARTWORK_MAX_BYTES", "2000")
    result = user.run({"albums": ["1"]})
    assert _failure(result)[0] == "PAYLOAD_TOO_LARGE"


@pytest.mark.slow
def test_the_command_line_materialises_the_asset_with_a_config_file(user: User) -> None:
    assert user.run({"policy": "never"}).success
    config = _config({"policy": "missing", "albums": ["2"]})
    command = "-m dagster asset materialize -m harmony_pipelines.definitions"
    asked = ["--select", "embedded_artwork", "--config-json", json.dumps(config)]
    result = subprocess.run(
        [sys.executable, *command.split(), *asked],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert {row["beets_album_id"] for row in user.rows()} == {2}


def _forget_artist(user: User, name: str) -> None:
    """As if nobody had ever watched the artist."""
    store = Store.open(f"sqlite:///{user.home.database}")
    [row] = store.table(tables.watchlist, tables.watchlist.c.name == name)
    with store.writing() as connection:
        for table in (
            tables.watchlist,
            tables.spotify_artists,
            tables.spotify_albums,
            tables.spotify_tracks,
        ):
            connection.execute(table.delete().where(table.c.artist_id == row["artist_id"]))
    store.close()


def _matches(user: User) -> dict[str, Any]:
    event = user.instance.get_latest_materialization_event(dg.AssetKey("album_matches"))
    assert event
    assert event.asset_materialization
    return {name: m.value for name, m in event.asset_materialization.metadata.items()}


def test_albums_of_unwatched_artists_are_searched_only_where_the_user_wants_it(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    _forget_artist(user, "Lumen Tide")
    assert user.run().success
    assert "searched" not in _matches(user)
    monkeypatch.setenv("HARMONY_ARTWORK_SEARCH", "on")
    before = _matches(user)["matched"]
    assert user.run().success
    told = _matches(user)
    assert told["searched"] >= 2
    assert told["matched"] - before == told["matched by search"] >= 1
    assert told["search waiting"] == 0
    user.server.forget_requests()
    assert user.run().success
    assert (user.server.count(), _matches(user)["searched"]) == (0, 0)


def test_a_spent_search_budget_defers_and_the_run_is_green(
    user: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HARMONY_ARTWORK_SEARCH", "on")
    user.server.faults.add("search", faults.rate_limited(3600), times=None)
    assert user.run().success
    told = _matches(user)
    assert (told["searched"], told["search waiting"]) == (0, 1)
    assert user.metadata()["embedded"] > 0
