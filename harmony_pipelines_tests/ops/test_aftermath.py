"""What a run does once its covers are embedded, and takes back with them."""

import os
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.demo.library_data import load_library
from harmony_pipelines_tests.conftest import Home

_EMBEDDED = tables.artwork_results.c.status == "embedded"


@pytest.fixture
def album(home: Home) -> Path:
    """The folder of the one album, whose cover comes from Spotify or from its own file."""
    [album] = [album for album in load_library() if album.key == "salt-and-static"]
    library = make_library(home.demo.library.parent, [album], with_oddities=False)
    [scan] = library.music_directory.rglob("cover.jpg")
    scan.rename(scan.with_name("scan.jpg"))
    home.folder.joinpath("decisions.yaml").write_text(f"cover: {{1: '{scan.parent}/scan.jpg'}}\n")
    return scan.parent


def run(instance: dg.DagsterInstance, job: str, **config: Any) -> dg.ExecuteInProcessResult:
    ops = {"restore_covers": {"config": config}} if job == "restore_artwork" else {}
    return defs.resolve_job_def(job).execute_in_process(
        run_config={"ops": ops}, instance=instance, raise_on_error=False
    )


def told(instance: dg.DagsterInstance) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey("embedded_artwork"))
    assert event
    assert event.asset_materialization
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def a_beet(home: Home, script: str) -> None:
    """A `beet` on the PATH before all others."""
    folder = home.demo.folder / "bin"
    folder.mkdir()
    folder.joinpath("beet").write_text(f"#!/bin/sh\n{script}\n")
    folder.joinpath("beet").chmod(0o755)
    home.set(PATH=f"{folder}:{os.environ['PATH']}")


def test_a_cover_file_is_written_only_where_the_user_wants_it_and_goes_with_undo(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    assert run(instance, "embed_artwork").success
    assert not (album / "cover.jpg").exists()
    assert "cover files written" not in told(instance)
    home.set(HARMONY_ARTWORK_COVER_FILE="on")
    assert run(instance, "embed_artwork").success
    assert told(instance)["cover files written"] == 1
    front = read_front(next(album.glob("*.opus")))
    assert front
    assert (album / "cover.jpg").read_bytes() == front.data
    assert run(instance, "embed_artwork").success
    assert told(instance)["cover files written"] == 0

    home.unset("HARMONY_ARTWORK_COVER_FILE")
    assert run(instance, "restore_artwork", albums=["1"]).success
    assert told(instance)["cover files removed"] == 1
    assert not (album / "cover.jpg").exists()
    home.set(HARMONY_ARTWORK_COVER_FILE="on")
    assert run(instance, "embed_artwork").success
    assert not (album / "cover.jpg").exists()


def test_a_run_that_wrote_only_a_cover_file_can_be_undone_by_its_id(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    assert run(instance, "embed_artwork").success
    home.set(HARMONY_ARTWORK_COVER_FILE="on")
    second = run(instance, "embed_artwork")
    assert (album / "cover.jpg").exists()
    assert run(instance, "restore_artwork", run_id=second.run_id).success
    assert not (album / "cover.jpg").exists()
    assert all(read_front(file) for file in album.glob("*.opus"))


def test_a_folder_that_is_left_alone_is_listed_and_fails_nothing(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    home.set(HARMONY_ARTWORK_COVER_FILE="on")
    (album / "folder.jpg").write_bytes(b"theirs")
    assert run(instance, "embed_artwork").success
    assert "not\\_ours" in told(instance)["folders left alone"]
    assert told(instance)["embedded"] > 0


def test_beets_is_asked_for_the_changed_albums_only_and_only_if_the_user_wants_it(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    said = home.demo.folder / "said"
    file = next(album.glob("*.opus"))
    a_beet(home, f"echo \"$@\" >> '{said}'; printf '1\\t%s\\n' '{file}'")
    assert run(instance, "embed_artwork").success
    assert not said.exists()
    assert run(instance, "restore_artwork", everything=True).success
    home.set(HARMONY_BEETS_UPDATE="on")
    assert run(instance, "embed_artwork").success
    assert not said.exists()
    assert told(instance)["beet update"] == "nothing changed"
    assert run(instance, "restore_artwork", everything=True).success
    named = {"embedded_artwork": {"ops": {"plan_covers": {"config": {"albums": ["1"]}}}}}
    job = defs.resolve_job_def("embed_artwork")
    assert job.execute_in_process(run_config={"ops": named}, instance=instance).success
    assert told(instance)["beet update"] == "1 albums, 0 left out"
    *_, listed, updated = said.read_text().splitlines()
    assert listed.endswith("album_id:1")
    assert updated.endswith("update --nomove album_id:1")
    assert f"--library {home.demo.library} --directory {home.demo.music}" in updated


def test_a_beet_that_fails_is_a_warning_with_its_code(
    home: Home, instance: dg.DagsterInstance, album: Path
) -> None:
    a_beet(home, "echo 'plugin broken' >&2; exit 3")
    home.set(HARMONY_BEETS_UPDATE="on")
    result = run(instance, "embed_artwork")
    assert result.success
    assert told(instance)["embedded"] == len(home.rows(tables.artwork_results, _EMBEDDED)) > 0
    assert told(instance)["beet update"].startswith("DEPENDENCY_ERROR (beets_update): ")
    [warning] = [
        entry.user_message for entry in instance.all_logs(result.run_id) if entry.level == 30
    ]
    assert "plugin broken" in warning
