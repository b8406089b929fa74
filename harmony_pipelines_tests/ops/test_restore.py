import contextlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.audio_payload import fingerprint
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.demo.library_data import LibraryAlbum, load_library
from harmony_pipelines_tests.audio_files import a_png, replace_front
from harmony_pipelines_tests.conftest import Home, failure_in
from harmony_pipelines_tests.small_library import picture

_WITH_A_COVER_BESIDE_IT = "salt-and-static"


@pytest.fixture
def embedded(home: Home, instance: dg.DagsterInstance) -> str:
    """A library into whose files a run put covers; that run's id."""
    album = _the_album()
    make_library(home.demo.library.parent, [album], with_oddities=False)
    result = run(instance, "embed_artwork", {})
    assert result.success
    assert len(covered(home)) == len(album.tracks) > 1
    return result.run_id


def _the_album() -> LibraryAlbum:
    return next(album for album in load_library() if album.key == _WITH_A_COVER_BESIDE_IT)


def run(
    instance: dg.DagsterInstance, job: str, config: dict[str, Any]
) -> dg.ExecuteInProcessResult:
    ops = {"restore_covers": {"config": config}} if job == "restore_artwork" else {}
    return defs.resolve_job_def(job).execute_in_process(
        run_config={"ops": ops}, instance=instance, raise_on_error=False
    )


def restore(instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    return run(instance, "restore_artwork", config)


def files(home: Home) -> list[Path]:
    return sorted(home.demo.music.rglob("*.opus"))


def covered(home: Home) -> list[Path]:
    return [file for file in files(home) if read_front(file)]


def told(instance: dg.DagsterInstance) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey("embedded_artwork"))
    assert event
    assert event.asset_materialization
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def log(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    return [entry.user_message for entry in instance.all_logs(run_id)]


@pytest.mark.parametrize("form", ["run_id", "albums", "everything"])
def test_each_form_of_the_config_puts_the_files_back(
    home: Home, instance: dg.DagsterInstance, embedded: str, form: str
) -> None:
    value = {"run_id": embedded, "albums": ["1"], "everything": True}[form]
    number = len(covered(home))
    result = restore(instance, **{form: value})
    assert result.success
    assert covered(home) == []
    rows = home.rows(tables.artwork_results, tables.artwork_results.c.run_id == result.run_id)
    assert [row["status"] for row in rows] == ["restored"] * number
    assert (told(instance)["restored"], told(instance)["failed"]) == (number, 0)


_EACH_KIND = pytest.mark.parametrize("known", ["blake3:", "of an earlier release"])


def know_by(home: Home, known: str) -> None:
    """As if the files had been changed by a release that knows files by that kind of hash."""
    undo = tables.artwork_undo
    for file in files(home):
        home.change(undo, undo.c.path == str(file), audio=fingerprint(file, known))


@_EACH_KIND
def test_files_that_were_moved_since_are_found_where_the_library_has_them_now(
    home: Home, instance: dg.DagsterInstance, known: str
) -> None:
    make_library(home.demo.library.parent, [_the_album()], with_oddities=False)
    before = {file.name: file.read_bytes() for file in files(home)}
    assert run(instance, "embed_artwork", {}).success
    know_by(home, known)
    for file in files(home):
        file.rename(file.with_name(f"moved {file.name}"))
    with contextlib.closing(sqlite3.connect(home.demo.library)) as library:
        library.create_function("moved", 1, _moved)
        library.execute("UPDATE items SET path = moved(path)")
        library.commit()
    assert restore(instance, everything=True).success
    assert {f.name.removeprefix("moved "): f.read_bytes() for f in files(home)} == before
    assert told(instance)["restored"] == len(before)


@_EACH_KIND
def test_a_file_that_is_gone_is_not_taken_for_its_twin(
    home: Home, instance: dg.DagsterInstance, known: str
) -> None:
    make_library(home.demo.library.parent, [_the_album()], with_oddities=False)
    gone, twin, *_ = files(home)
    twin.write_bytes(gone.read_bytes())
    assert run(instance, "embed_artwork", {}).success
    done, undo = tables.artwork_results, tables.artwork_undo
    for table in (done, undo):
        home.change(table, table.c.path == str(gone), run_id="earlier")
    audio = fingerprint(gone, known)
    home.change(undo, undo.c.path == str(gone), audio=audio)
    before = twin.read_bytes()
    gone.unlink()

    result = restore(instance, run_id="earlier")

    [row] = home.rows(done, done.c.run_id == result.run_id)
    assert (row["status"], row["path"]) == ("skipped", str(gone))
    assert twin.read_bytes() == before


@_EACH_KIND
def test_covers_of_two_releases_go_back_as_one_history(
    home: Home, instance: dg.DagsterInstance, known: str
) -> None:
    make_library(home.demo.library.parent, [_the_album()], with_oddities=False)
    before = {file: file.read_bytes() for file in files(home)}
    assert run(instance, "embed_artwork", {}).success
    know_by(home, known)
    [beside] = home.demo.music.rglob("cover.jpg")
    beside.with_name("scan.jpg").write_bytes(picture(edge=900))
    scan = str(beside.with_name("scan.jpg"))
    (home.folder / "decisions.yaml").write_text(f"cover: {{1: {json.dumps(scan)}}}\n")
    assert run(instance, "embed_artwork", {}).success
    fronts = [read_front(file) for file in files(home)]
    assert {front.data for front in fronts if front} == {picture(edge=900)}

    assert restore(instance, everything=True).success

    assert {file: file.read_bytes() for file in files(home)} == before
    assert (told(instance)["restored"], told(instance)["as before"]) == (len(before), 0)
    replace_front(next(iter(before)), a_png())
    assert restore(instance, everything=True).success
    assert told(instance)["skipped"] == 0


def test_undo_needs_no_library(home: Home, instance: dg.DagsterInstance, embedded: str) -> None:
    home.demo.library.unlink()
    result = restore(instance, everything=True)
    assert result.success
    assert covered(home) == []
    assert any("where the library had them last" in line for line in log(instance, result.run_id))


def _moved(path: bytes) -> bytes:
    folder, name = os.path.split(path)
    return os.path.join(folder, b"moved " + name)  # noqa: PTH118 (bytes)


def test_restored_albums_get_no_cover_until_a_run_names_them(
    home: Home, instance: dg.DagsterInstance, embedded: str
) -> None:
    assert restore(instance, everything=True).success
    assert run(instance, "embed_artwork", {}).success
    assert covered(home) == []
    config = {"embedded_artwork": {"ops": {"plan_covers": {"config": {"albums": ["1"]}}}}}
    named = defs.resolve_job_def("embed_artwork").execute_in_process(
        run_config={"ops": config}, instance=instance
    )
    assert named.success
    assert covered(home) == files(home)


def test_the_run_says_what_it_is_about_to_do_and_what_it_did(
    home: Home, instance: dg.DagsterInstance, embedded: str
) -> None:
    lines = log(instance, restore(instance, everything=True).run_id)
    number = len(files(home))
    [before] = [line for line in lines if line.startswith("To restore: at most")]
    [after] = [line for line in lines if line.startswith(f"{number} files restored")]
    assert f"{number} files of 1 albums" in before
    assert lines.index(before) < lines.index(after)


def test_restoring_again_is_green_and_changes_no_file(
    home: Home, instance: dg.DagsterInstance, embedded: str
) -> None:
    assert restore(instance, everything=True).success
    before = [(file.stat().st_ino, file.stat().st_mtime_ns) for file in files(home)]
    assert restore(instance, everything=True).success
    assert [(file.stat().st_ino, file.stat().st_mtime_ns) for file in files(home)] == before
    assert told(instance)["as before"] == len(before)


def test_a_cover_of_the_user_s_is_left_and_listed(
    home: Home, instance: dg.DagsterInstance, embedded: str
) -> None:
    theirs = files(home)[0]
    replace_front(theirs, a_png())
    assert restore(instance, albums=["1"]).success
    assert covered(home) == [theirs]
    assert told(instance)["skipped"] == 1
    assert "CONFLICT" in told(instance)["left alone"]


@pytest.mark.parametrize(
    "config",
    [{}, {"run_id": "x", "everything": True}, {"albums": []}, {"everything": False}],
)
def test_a_run_that_is_not_told_what_goes_back_is_refused(
    home: Home, instance: dg.DagsterInstance, embedded: str, config: dict[str, Any]
) -> None:
    failed = failure_in(restore(instance, **config))
    assert failed["code"] == "VALIDATION_ERROR"
    assert failed["details"]["reason"] == "run_config"
    assert all(name in failed["message"] for name in ("run_id", "albums", "everything"))
    assert covered(home) == files(home)


@pytest.mark.parametrize(
    ("config", "named"), [({"run_id": "4711"}, "4711"), ({"albums": ["1", "4711"]}, "4711")]
)
def test_what_was_never_there_fails_by_name(
    home: Home, instance: dg.DagsterInstance, embedded: str, config: dict[str, Any], named: str
) -> None:
    failed = failure_in(restore(instance, **config))
    assert failed["code"] == "VALIDATION_ERROR"
    assert named in failed["message"]
    assert covered(home) == files(home)


def test_a_picture_that_was_not_kept_ends_the_run_red_with_the_rest_done(
    home: Home, instance: dg.DagsterInstance, embedded: str
) -> None:
    done, first = tables.artwork_results, files(home)[0]
    home.change(done, done.c.path == str(first), old_sha256="0" * 64)
    failed = failure_in(restore(instance, everything=True))
    assert (failed["code"], failed["details"]["reason"]) == ("NOT_FOUND", "not_kept")
    assert str(first) in failed["message"]
    assert covered(home) == [first]
    assert (told(instance)["failed"], told(instance)["restored"]) == (1, len(files(home)) - 1)


def test_a_run_that_rewrote_its_share_defers_the_rest_and_is_green(
    home: Home, instance: dg.DagsterInstance, embedded: str
) -> None:
    home.set(HARMONY_ARTWORK_MAX_REWRITE_BYTES="1")
    for left in range(len(files(home)) - 1, -1, -1):
        assert restore(instance, everything=True).success
        assert len(covered(home)) == left
        assert told(instance)["deferred"] == left


@pytest.mark.slow
def test_the_command_line_restores_with_a_config_file(
    home: Home, embedded: str, tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"ops": {"restore_covers": {"config": {"everything": True}}}}))
    command = "-m dagster job execute -m harmony_pipelines.definitions -j restore_artwork -c"
    done = subprocess.run(
        [sys.executable, *command.split(), str(config)],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().splitlines()[-1].startswith(f"{len(files(home))} files restored")
    assert covered(home) == []
