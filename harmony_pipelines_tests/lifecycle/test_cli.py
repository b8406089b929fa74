"""The `dagster` commands of the README, as real processes."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from harmony_pipelines.demo import faults
from harmony_pipelines_tests.lifecycle.user import DEFINITIONS

PROJECT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


def test_both_jobs_run_without_a_dagster_home_and_say_last_what_they_did(user):
    del user.environment["DAGSTER_HOME"]

    refreshed = user.dagster("job", "execute", *DEFINITIONS, "-j", "refresh_catalogue")
    embedded = user.dagster("job", "execute", *DEFINITIONS, "-j", "embed_artwork")

    assert refreshed[0] == 0, refreshed[2]
    assert refreshed[1].startswith("3 of 3 due artists refreshed")
    assert embedded[0] == 0, embedded[2]
    assert embedded[1].startswith("Covers embedded in 11 files")
    assert [path.name for path in user.home.folder.iterdir() if path.name.startswith(".tmp")] == []


def test_a_config_file_names_the_artists(user):
    config = user.home.folder / "config.yaml"
    config.write_text(
        yaml.safe_dump({"ops": {"refresh_artists": {"config": {"artists": ["lumen tide"]}}}})
    )

    code, last, printed = user.dagster(
        "job", "execute", *DEFINITIONS, "-j", "refresh_catalogue", "-c", str(config)
    )

    assert code == 0, printed
    assert last.startswith("1 of 1")
    assert user.rows("select count(*) from refresh_state") == [(1,)]


def test_one_artist_is_materialised_by_partition(user):
    user.dagster("job", "execute", *DEFINITIONS, "-j", "refresh_catalogue")
    [(key,)] = user.rows("select partition_key from watchlist where name = 'Lumen Tide'")
    user.server.forget_requests()

    select = ("asset", "materialize", *DEFINITIONS, "--select", "spotify_albums")
    code, last, printed = user.dagster(*select, "--partition", key)

    assert code == 0, printed
    assert last.startswith("1 of 1")
    assert user.server.count("artist_albums") > 0


def test_reports_and_the_library_are_materialised_by_name(user):
    user.dagster("job", "execute", *DEFINITIONS, "-j", "refresh_catalogue")

    select = ("asset", "materialize", *DEFINITIONS, "--select")
    code, last, printed = user.dagster(*select, "beets_tracks")
    assert code == 0, printed
    assert last.startswith("beets_tracks: albums 8, tracks 22")

    code, last, printed = user.dagster(*select, "missing_from_library")
    assert code == 0, printed
    assert last.startswith("missing_from_library: albums 6")


def test_a_failing_artist_ends_the_command_with_its_code(user):
    user.server.faults.add("/v1/artists/*/albums*", faults.server_error(503), times=3)

    code, last, printed = user.dagster("job", "execute", *DEFINITIONS, "-j", "refresh_catalogue")

    assert code == 1
    assert last.startswith("Failed: DEPENDENCY_ERROR: ")
    assert "Stack Trace" not in printed
    assert "Traceback" not in printed
    assert "demo-secret" not in printed
    assert len(user.rows("select 1 from refresh_state where status = 'complete'")) == 2


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("SPOTIPY_CLIENT_SECRET", "", "AUTH_REQUIRED"),
        ("SPOTIPY_CLIENT_SECRET", "wrong-s3cret", "AUTH_REQUIRED"),
        ("HARMONY_SPOTIFY_MARKET", "", "VALIDATION_ERROR"),
        ("HARMONY_SPOTIFY_MARKET", "Germany", "VALIDATION_ERROR"),
        ("HARMONY_WATCHLIST", "nothing-there.yaml", "VALIDATION_ERROR"),
        ("HARMONY_RUN_MAX_SECONDS", "soon", "VALIDATION_ERROR"),
    ],
)
def test_what_is_missing_or_wrong_is_named_on_the_last_line(user, name, value, code):
    user.environment[name] = value

    exit_code, last, printed = user.dagster(
        "job", "execute", *DEFINITIONS, "-j", "refresh_catalogue"
    )

    assert exit_code == 1
    assert last.startswith(f"Failed: {code}: ")
    assert name in last or Path(value).name in last or "Spotify" in last
    assert "Stack Trace" not in printed
    assert "Traceback" not in printed
    assert "wrong-s3cret" not in printed


@pytest.mark.parametrize("job", ["refresh_catalogue", "embed_artwork", "apply_retention"])
def test_a_setting_in_env_that_is_none_any_more_is_named_with_the_nearest_by_each_job(user, job):
    (user.home.folder / ".env").write_text("HARMONY_RETENTION_DAY=7\n")

    _, _, printed = user.dagster("job", "execute", *DEFINITIONS, "-j", job)

    said = "HARMONY_RETENTION_DAY is not a setting and does nothing"
    assert f"{said}; the nearest that is one is HARMONY_RETENTION_DAYS." in printed
    assert printed.count(said) == 1


def test_without_a_library_the_catalogue_works_and_artwork_says_how_to_name_one(user):
    user.environment["HARMONY_BEETS_LIBRARY"] = str(user.home.folder / "nowhere.db")

    refreshed = user.dagster("job", "execute", *DEFINITIONS, "-j", "refresh_catalogue")
    embedded = user.dagster("job", "execute", *DEFINITIONS, "-j", "embed_artwork")

    assert refreshed[0] == 0, refreshed[2]
    assert embedded[0] == 1
    assert embedded[1].startswith("Failed: VALIDATION_ERROR: ")
    assert "HARMONY_BEETS_LIBRARY" in embedded[1]


def test_a_ctrl_c_in_the_middle_keeps_what_was_committed_and_the_next_run_finishes(user):
    user.server.latency_s = 0.4
    process = user.begin("job", "execute", *DEFINITIONS, "-j", "refresh_catalogue")
    end = time.monotonic() + 60
    while user.server.count("albums") < 3 and time.monotonic() < end:
        time.sleep(0.1)

    told = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    took = time.monotonic() - told
    user.server.latency_s = 0
    code, _, printed = user.dagster("job", "execute", *DEFINITIONS, "-j", "refresh_catalogue")

    assert process.returncode != 0
    assert took < 15
    assert code == 0, printed
    assert len(user.rows("select 1 from refresh_state where status = 'complete'")) == 3


def test_the_workspace_loads_without_a_warning_of_ours(user):
    code, _, printed = user.dagster(
        "definitions", "validate", "-w", str(PROJECT / "workspace.yaml")
    )

    assert code == 0, printed
    assert "harmony_pipelines/" not in "".join(
        line for line in printed.splitlines() if "Warning" in line
    )


def test_a_look_at_the_set_up_prints_one_table_above_the_last_line(user):
    del user.environment["DAGSTER_HOME"]

    code, last, printed = user.dagster("job", "execute", *DEFINITIONS, "-j", "check_setup")

    assert code == 0, printed
    assert last.startswith("All ")
    assert "Beets library" in printed
    assert user.server.count() <= 3
    assert not user.home.database.exists()

    user.environment["SPOTIPY_CLIENT_SECRET"] = "not-the-one"
    code, last, printed = user.dagster("job", "execute", *DEFINITIONS, "-j", "check_setup")

    assert code == 1
    assert last.startswith("Failed: AUTH_REQUIRED: 1 of ")
    assert "not-the-one" not in printed


def test_without_a_umask_what_is_private_is_still_its_owner_s_alone(user):
    folders = (user.home.database.parent, user.home.dagster_home)
    theirs = {path for folder in folders for path in folder.rglob("*")}
    for folder in folders:
        folder.chmod(0o777)
    tracks = {path: path.stat().st_mode for path in user.home.music.rglob("*")}
    user.environment["HARMONY_ARTWORK_COVER_FILE"] = "on"
    for job in ("refresh_catalogue", "embed_artwork"):
        command = [sys.executable, "-m", "dagster", "job", "execute", *DEFINITIONS, "-j", job]
        umask = ["sh", "-c", 'umask 000; exec "$@"', "sh"]
        subprocess.run(
            [*umask, *command],
            env=user.environment,
            cwd=user.home.folder,
            check=True,
            capture_output=True,
            timeout=150,
        )

    written = {path for folder in folders for path in folder.rglob("*")} - theirs
    assert len(written) > 20
    assert [path for path in written if path.lstat().st_mode & 0o077] == []
    assert {path: path.stat().st_mode for path in tracks} == tracks
