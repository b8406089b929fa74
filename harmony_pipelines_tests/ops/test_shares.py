"""A library on a share that vanishes, hangs, or comes back empty or smaller: nothing changes."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.library import DemoLibrary, make_library
from harmony_pipelines.demo.library_data import load_library
from harmony_pipelines_tests.conftest import Home, failure_in
from harmony_pipelines_tests.small_library import SmallLibrary, front, image

_LIBRARY = (
    tables.beets_albums,
    tables.beets_tracks,
    tables.album_matches,
    tables.missing_from_library,
    tables.artwork_results,
    tables.cover_failures,
)


def run(instance: dg.DagsterInstance, **config: Any) -> dg.ExecuteInProcessResult:
    plan = {"embedded_artwork": {"ops": {"plan_covers": {"config": config}}}}
    return defs.resolve_job_def("embed_artwork").execute_in_process(
        run_config={"ops": plan}, instance=instance, raise_on_error=False
    )


def told(instance: dg.DagsterInstance) -> dict[str, Any]:
    event = instance.get_latest_materialization_event(dg.AssetKey("embedded_artwork"))
    assert event
    assert event.asset_materialization
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


def everything(home: Home) -> tuple[Any, ...]:
    """Every row that comes of the library, and every file of the share."""
    rows = [home.rows(table) for table in _LIBRARY]
    found = sorted(home.demo.library.parent.rglob("*"))
    files = [(p, (t := p.stat()).st_ino, t.st_mtime_ns, t.st_size) for p in found if p.is_file()]
    return rows, files


@pytest.fixture
def known(home: Home, instance: dg.DagsterInstance) -> Path:
    """The folder of a library that a run has seen; its albums wait for covers."""
    make_library(home.demo.library.parent, load_library(), with_oddities=False)
    assert run(instance, policy="never").success
    return home.demo.music


def unmount(music: Path) -> None:
    music.rename(music.with_name("unmounted"))


def mount_empty(music: Path) -> None:
    unmount(music)
    music.mkdir()


def mount_over_database(music: Path) -> None:
    database = music.parent / "library.db"
    database.rename(database.with_name("under the mount"))


def forget_most(music: Path) -> None:
    with closing(sqlite3.connect(music.parent / "library.db")) as connection, connection:
        connection.execute("DELETE FROM items WHERE id > 12")


def empty_database(music: Path) -> None:
    with closing(sqlite3.connect(music.parent / "library.db")) as connection, connection:
        connection.execute("DELETE FROM items")
        connection.execute("DELETE FROM albums")


def lose_some(music: Path) -> None:
    files = sorted(file for file in music.rglob("*") if file.suffix in (".mp3", ".flac", ".opus"))
    for file in files[: len(files) // 2]:
        file.unlink()


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (unmount, ("VALIDATION_ERROR", "path_not_mapped")),
        (mount_empty, ("VALIDATION_ERROR", "path_not_mapped")),
        (mount_over_database, ("VALIDATION_ERROR", "no_library")),
        (forget_most, ("DEPENDENCY_ERROR", "library_shrank")),
        (empty_database, ("DEPENDENCY_ERROR", "library_shrank")),
        (lose_some, ("DEPENDENCY_ERROR", "library_shrank")),
    ],
)
def test_what_is_wrong_with_the_share_is_said_and_nothing_changes(
    home: Home,
    instance: dg.DagsterInstance,
    known: Path,
    happens: Callable[[Path], None],
    said: tuple[str, str],
) -> None:
    happens(known)
    before = everything(home)
    assert before[0][1]
    failed = failure_in(run(instance))
    assert (failed["code"], failed["details"]["reason"]) == said
    assert everything(home) == before
    home.server.forget_requests()
    assert not run(instance).success  # and again the next night
    assert everything(home) == before
    assert home.server.count() == 0


def test_a_smaller_library_is_taken_once_the_user_says_that_it_is_right(
    home: Home, instance: dg.DagsterInstance, known: Path
) -> None:
    forget_most(known)
    assert "accept_shrink" in failure_in(run(instance))["message"]
    assert run(instance, accept_shrink=True).success
    assert len(home.rows(tables.beets_tracks)) == 12
    assert run(instance).success


def test_after_a_share_is_back_a_run_goes_on_as_if_nothing_had_been(
    home: Home, instance: dg.DagsterInstance, known: Path
) -> None:
    mount_empty(known)
    assert not run(instance).success
    known.rmdir()
    known.with_name("unmounted").rename(known)
    before = everything(home)
    assert run(instance, policy="never").success
    assert everything(home) == before
    assert run(instance).success
    assert told(instance)["embedded"] > 0


def test_a_share_that_vanishes_while_covers_are_embedded_costs_its_files_a_night_at_most(
    tmp_path: Path, server: Any
) -> None:
    library = SmallLibrary(tmp_path, server)
    for seed in "abc":
        library.album("tone.flac", "tone.mp3", image_url=image(library, seed))
    plan = library.plan()
    found = library.find(plan)
    asked, away = library.guard, tmp_path / "unmounted"

    def vanish() -> None:
        asked()
        written = [file for file in library.music.rglob("*.*") if file.is_file() and front(file)]
        if written and not away.exists():
            library.music.rename(away)

    library.guard = vanish  # pyright: ignore[reportAttributeAccessIssue]
    work = library.embed(plan, found)
    assert work.counts["embedded"] <= 1
    assert work.counts["failed"] == 0
    assert {row["reason"] for row in work.rows.values()} <= {None, "file_missing"}
    away.rename(library.music)
    library.guard = asked  # pyright: ignore[reportAttributeAccessIssue]
    library.night()
    assert all(front(file) for file in library.music.rglob("*.flac"))
    assert all(front(file) for file in library.music.rglob("*.mp3"))
    assert not list(library.music.rglob(".harmony*"))
    library.close()


def test_a_share_that_vanishes_between_snapshot_and_plan_is_not_held_against_its_files(
    tmp_path: Path,
) -> None:
    library = SmallLibrary(tmp_path)
    library.album("tone.flac", image_url="https://i.scdn.co/image/1")
    taken = library.snapshot

    def vanish(deadline: Any) -> Any:
        found = taken(deadline)
        library.music.rename(tmp_path / "unmounted")
        return found

    library.snapshot = vanish  # pyright: ignore[reportAttributeAccessIssue]
    assert library.plan().files == 0
    (tmp_path / "unmounted").rename(library.music)
    library.snapshot = taken  # pyright: ignore[reportAttributeAccessIssue]
    assert library.plan().files == 1
    library.close()


def test_pipes_and_devices_where_files_should_be_keep_nobody_waiting(
    home: Home, instance: dg.DagsterInstance, known: Path
) -> None:
    first, second = sorted(known.rglob("*.opus"))[:2]
    scan = next(known.rglob("cover.jpg"))
    for file in (first, second, scan):
        file.unlink()
    os.mkfifo(first)
    os.mkfifo(scan)
    second.symlink_to("/dev/zero")
    began = time.monotonic()
    run(instance)
    assert time.monotonic() - began < 60
    tracks = {row["path"]: row["size"] for row in home.rows(tables.beets_tracks)}
    assert tracks[str(first)] is tracks[str(second)] is None


def test_a_run_says_files_bytes_and_time_before_its_first_write_and_what_it_left(
    home: Home, instance: dg.DagsterInstance, known: Path
) -> None:
    sizes = {file: file.stat().st_size for file in known.rglob("*.opus")}
    most = str(max(sizes.values()))
    home.set(
        HARMONY_ARTWORK_MAX_REWRITE_BYTES=most, HARMONY_COVERARTARCHIVE_URL="https://x.invalid"
    )
    result = run(instance, albums=["2"])
    assert result.success
    logged = {entry.user_message: entry.timestamp for entry in instance.all_logs(result.run_id)}
    [forecast] = [line for line in logged if line.startswith("To embed: ")]
    assert f"{len(sizes)} files of 1 albums" in forecast
    assert f"{sum(sizes.values()) / 2**20:.1f} MiB to rewrite, about 0 s" in forecast
    done = [file for file, size in sizes.items() if file.stat().st_size != size]
    assert len(done) == 1
    assert logged[forecast] < done[0].stat().st_mtime
    assert any("Covers embedded in 1 files" in line for line in logged)
    assert any(f"{len(sizes) - 1} left for the next run" in line for line in logged)
    assert run(instance, albums=["2"]).success  # the next goes on
    assert len([file for file, size in sizes.items() if file.stat().st_size != size]) == 2


@pytest.mark.slow
def test_a_run_that_runs_out_of_its_time_defers_the_rest_is_green_and_the_next_goes_on(
    home: Home, instance: dg.DagsterInstance, known: Path
) -> None:
    home.set(HARMONY_RUN_MAX_SECONDS="10")
    home.server.faults.add("*/release*", faults.hang(), times=None)
    assert run(instance).success
    done = told(instance)
    assert done["deferred"] == 2  # the album that the Cover Art Archive was asked about
    assert done["embedded"] > 0
    home.server.faults.clear()
    home.unset("HARMONY_RUN_MAX_SECONDS")
    assert run(instance).success
    assert (told(instance)["deferred"], told(instance)["skipped"]) == (0, 2)


_ASK = """
import sys, time
from pathlib import Path
from harmony_pipelines.clients.beets_config import BeetsConfig
from harmony_pipelines.clients.beets_library import BeetsLibrary, LibraryLimits
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError

database, music = Path(sys.argv[1]), Path(sys.argv[2])
library = BeetsLibrary(BeetsConfig(database, music), limits=LibraryLimits(share_seconds=2))
began = time.monotonic()
try:
    library.snapshot(Deadline.after(60))
except HarmonyError as error:
    print(error.reason, f"{time.monotonic() - began:.1f}", error.details["path"], flush=True)
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace makes a system call hang")
@pytest.mark.parametrize("hangs", ["library.db", "track"])
def test_a_share_on_which_a_system_call_does_not_return_is_named_in_time(
    tmp_path: Path, hangs: str
) -> None:
    library = make_library(tmp_path, load_library()[:1], with_oddities=False)
    track = sorted(library.music_directory.rglob("*.*"))[2]
    path = library.database if hangs == "library.db" else track
    reason, seconds, named = _snapshot_with(library, [path], "delay_enter=100000000")
    assert (reason, named) == ("share_hung", str(path))
    assert float(seconds) < 30


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("strace"), reason="strace makes a system call fail")
@pytest.mark.parametrize(("error", "reason"), [("ESTALE", "share_stale"), ("EIO", "io_error")])
def test_files_that_the_system_cannot_tell_of_are_not_taken_for_a_wrong_path(
    tmp_path: Path, error: str, reason: str
) -> None:
    library = make_library(tmp_path, load_library()[:1], with_oddities=False)
    tracks = sorted(library.music_directory.rglob("*.*"))
    said, _, named = _snapshot_with(library, tracks, f"error={error}")
    assert (said, Path(named) in tracks) == (reason, True)


def _snapshot_with(library: DemoLibrary, paths: list[Path], fault: str) -> list[str]:
    """What a snapshot says, and after how many seconds, where calls to look at the paths fail."""
    calls = "stat,lstat,newfstatat,statx,open,openat"
    command = ["strace", "-f", "-qq", "-o", os.devnull, *(f"-P{path}" for path in paths)]
    command += ["-e", f"trace={calls}", "-e", f"inject={calls}:{fault}"]
    command += [sys.executable, "-c", _ASK, str(library.database), str(library.music_directory)]
    asking = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[2],
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with asking:
        assert asking.stdout
        said = asking.stdout.readline()
        os.killpg(asking.pid, signal.SIGKILL)  # strace itself would wait for the call to return
    return said.strip().split(maxsplit=2)
