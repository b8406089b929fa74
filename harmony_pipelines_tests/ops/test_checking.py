import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.processes import MARK
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.settings import load_settings
from harmony_pipelines.steps.check_notices import check_notifications
from harmony_pipelines_tests.conftest import Home, failure_in
from harmony_pipelines_tests.webhook import Webhook, webhook


def look(instance: dg.DagsterInstance) -> tuple[dict[str, tuple[str, str]], Any]:
    """What the table says by subject, its state first; and the run."""
    result = defs.resolve_job_def("check_setup").execute_in_process(
        instance=instance, raise_on_error=False
    )
    if result.success:
        [output] = [e for e in result.all_events if e.is_successful_output]
        shown = str(output.step_output_data.metadata["setup"].value)
    else:
        shown = str(failure_in(result)["setup"])
    lines = shown.replace("\\", "").splitlines()[2:]
    rows = [line.strip("| ").split(" | ") for line in lines]
    found: dict[str, tuple[str, str]] = {}
    for state, subject, *said in rows:
        told = " ".join(said)
        found.setdefault(subject, (state, told))
        if state == "wrong" or subject == "Settings":
            found[subject] = (state, f"{found[subject][1]} {told}")
    return found, result


@pytest.fixture
def user(home: Home) -> Home:
    """A user whose set-up is as it should be, with the demo's library."""
    home.watch(home.artist("Lumen Tide"))
    make_library(home.demo.library.parent)
    return home


@pytest.fixture
def hook() -> Iterator[Webhook]:
    with webhook() as hook:
        yield hook


def files_below(folder: Path) -> dict[Path, float]:
    return {path: path.stat().st_mtime for path in folder.rglob("*") if path.is_file()}


def test_a_good_set_up_is_green_costs_three_requests_and_writes_nothing(
    user: Home, instance: dg.DagsterInstance
) -> None:
    before = files_below(user.demo.folder)
    found, result = look(instance)
    assert result.success
    assert {state for state, _ in found.values()} <= {"ok", "note"}
    assert sum(user.counts().values()) <= 3
    assert files_below(user.demo.folder) == before
    assert "one album at a time" in found["Spotify profile"][1]
    assert "22 tracks" in found["Beets library"][1]
    assert "rename" in found[f"Music in {user.demo.music}"][1]
    assert found["Forecast: Spotify"][1].startswith("About 36 requests until complete")
    assert found["Forecast: covers"][1].startswith("At most 21 files")


def test_with_a_catalogue_its_requests_are_booked_and_what_is_known_counts(
    user: Home, instance: dg.DagsterInstance
) -> None:
    assert user.refresh(instance).success
    booked = len(user.rows(tables.spotify_calls))
    user.server.forget_requests()
    found, result = look(instance)
    assert result.success
    calls = user.counts()
    assert sum(calls.values()) <= 3
    assert len(user.rows(tables.spotify_calls)) == booked + sum(calls.values()) - calls["token"]
    assert found["Forecast: Spotify"][1].startswith("Everything of the watched artists")
    assert found["Catalogue"][1].startswith("1 artist, 1 album")


def test_with_nothing_set_it_says_what_is_missing_and_where_to_put_it(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.unset("SPOTIPY_CLIENT_ID", "SPOTIPY_CLIENT_SECRET", "HARMONY_SPOTIFY_MARKET")
    home.unset("HARMONY_BEETS_LIBRARY", "HARMONY_MUSIC_DIRECTORY")
    home.set(BEETSDIR=str(home.folder))
    found, result = look(instance)
    assert not result.success
    assert "SPOTIPY_CLIENT_ID and SPOTIPY_CLIENT_SECRET" in found["Spotify app"][1]
    assert "HARMONY_SPOTIFY_MARKET" in found["Spotify market"][1]
    assert "Copy watchlist.example.yaml there" in found["Watchlist"][1]
    assert home.server.count() == 0
    failure = failure_in(result)
    assert failure["code"] in ("VALIDATION_ERROR", "AUTH_REQUIRED")
    assert "Spotify app" in failure["message"]
    assert not home.demo.database.exists()


def test_a_setting_that_cannot_be_used_is_the_one_thing_to_say(
    home: Home, instance: dg.DagsterInstance
) -> None:
    home.set(HARMONY_SPOTIFY_MARKET="Germany", HARMONY_UI_PORT="0")
    found, result = look(instance)
    assert not result.success
    assert "HARMONY_UI_PORT" in found["Settings"][1]
    assert "Watchlist" not in found


def test_an_unknown_setting_is_noted_and_our_own_mark_is_none(
    user: Home, instance: dg.DagsterInstance
) -> None:
    user.set(**{"HARMONY_MARKET": "DE", MARK: "an id"})
    found, result = look(instance)
    assert result.success
    assert "HARMONY_MARKET is not a setting" in found["Settings"][1]
    assert MARK not in found["Settings"][1]


@pytest.mark.parametrize(
    ("path", "fault", "told"),
    [
        ("/api/token", faults.string_error(400), ("Spotify app", "SPOTIPY_CLIENT_SECRET")),
        ("/v1/search*", faults.premium_lapsed(), ("Spotify Premium", "Renew it")),
        ("/v1/search*", faults.server_error(500), ("Spotify app", "failed to answer")),
    ],
)
def test_what_spotify_refuses_is_said_and_asked_once(
    user: Home, instance: dg.DagsterInstance, path: str, fault: Any, told: tuple[str, str]
) -> None:
    user.server.faults.add(path, fault, times=None)
    found, result = look(instance)
    assert not result.success
    subject, said = told
    assert found[subject][0] == "wrong"
    assert said in found[subject][1]
    assert user.server.count() <= 3


def test_an_app_that_may_not_what_was_set_is_wrong(
    user: Home, instance: dg.DagsterInstance
) -> None:
    user.set(HARMONY_SPOTIFY_PROFILE="extended")
    found, _ = look(instance)
    assert found["Spotify profile"][0] == "wrong"
    assert "HARMONY_SPOTIFY_PROFILE=development" in found["Spotify profile"][1]


def test_a_cooldown_is_no_fault_of_the_set_up(user: Home, instance: dg.DagsterInstance) -> None:
    assert user.refresh(instance).success
    with user.store() as store:
        until = {"key": "cooldown_until", "value": repr(time.time() + 3600)}
        store.save(tables.spotify_state, [until])
    user.server.forget_requests()
    found, result = look(instance)
    assert result.success
    assert found["Spotify app"][0] == "note"
    assert user.server.count() == 0


def test_a_library_whose_paths_are_elsewhere_shows_one(
    user: Home, instance: dg.DagsterInstance
) -> None:
    shutil.move(user.demo.music, user.demo.folder / "moved")
    found, result = look(instance)
    assert not result.success
    assert "HARMONY_PATH_MAP" in found["Library's paths"][1]
    assert str(user.demo.music) in found["Library's paths"][1]


def test_a_library_that_was_named_and_is_not_there_is_wrong(
    user: Home, instance: dg.DagsterInstance
) -> None:
    user.set(HARMONY_BEETS_LIBRARY="/nowhere/library.db")
    found, result = look(instance)
    assert not result.success
    assert found["Beets library"][0] == "wrong"


def test_what_is_wrong_in_several_files_is_all_said(
    user: Home, instance: dg.DagsterInstance
) -> None:
    user.watch(text="artists: [\n")
    user.folder.joinpath("decisions.yaml").write_text("match: 7\n")
    found, result = look(instance)
    assert not result.success
    assert {found["Watchlist"][0], found["Decisions"][0]} == {"wrong"}


def test_a_catalogue_of_another_version_is_not_migrated_by_looking(
    user: Home, instance: dg.DagsterInstance
) -> None:
    assert user.refresh(instance).success
    with user.store() as store, store.writing() as connection:
        connection.exec_driver_sql("UPDATE harmony_version SET version_num = '0001'")
    found, result = look(instance)
    assert result.success
    assert "brought up to date by the first run" in found["Catalogue"][1]


def test_a_database_that_is_none_is_wrong(user: Home, instance: dg.DagsterInstance) -> None:
    user.demo.database.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    found, result = look(instance)
    assert not result.success
    assert found["Catalogue"][0] == "wrong"


def test_a_dagster_home_without_our_limits_is_wrong(user: Home, tmp_path: Path) -> None:
    home = tmp_path / "dagster"
    home.mkdir()
    home.joinpath("dagster.yaml").write_text("telemetry: {enabled: false}\n")
    user.set(DAGSTER_HOME=str(home))
    with dg.DagsterInstance.from_config(str(home)) as instance:
        found, result = look(instance)
    assert not result.success
    assert found["DAGSTER_HOME"][0] == "wrong"
    assert "our run_launcher and run_monitoring" in found["DAGSTER_HOME"][1]


def test_each_service_gets_one_test_message(
    user: Home, instance: dg.DagsterInstance, hook: Webhook
) -> None:
    user.set(HARMONY_NOTIFY_URLS=hook.url())
    found, result = look(instance)
    assert result.success
    assert found["Notifications"][0] == "ok"
    assert hook.events() == [("test", None)]
    assert hook.beats == 0
    assert "s3cr3t" not in str(found)


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        ("{hook}", "DEPENDENCY_ERROR", "Compare host, user and token of address 2"),
        ("carrierpigeon://s3cr3t@loft", "VALIDATION_ERROR", "Correct address 2"),
        ("json://user:s3cr3t@127.0.0.1:9/x", "DEPENDENCY_ERROR", "of address 2"),
    ],
)
def test_a_service_that_takes_no_message_is_wrong_and_its_secrets_stay_where_they_are(
    user: Home, instance: dg.DagsterInstance, url: str, code: str, told: str
) -> None:
    with webhook() as well, webhook() as bad:
        bad.status = 401
        user.set(HARMONY_NOTIFY_URLS=f"{well.url()}, {url.format(hook=bad.url())}")
        found, result = look(instance)
    assert not result.success
    assert found["Notifications"][0] == "wrong"
    assert told in found["Notifications"][1]
    assert failure_in(result)["code"] == code
    assert well.events() == [("test", None)]
    assert "s3cr3t" not in f"{found}{failure_in(result)}"


def test_a_service_that_hangs_holds_up_no_other(user: Home, hook: Webhook) -> None:
    with webhook() as slow:
        slow.seconds = 30
        user.set(HARMONY_NOTIFY_URLS=f"{slow.url()}, {hook.url()}")
        silent, well = check_notifications(load_settings())
    assert silent.state == "wrong"
    assert well.state == "ok"


def test_what_the_services_have_not_answered_in_time_is_said(user: Home, hook: Webhook) -> None:
    user.set(HARMONY_NOTIFY_URLS=f"{hook.url()}, ntfy://s3cr3t@127.0.0.1:9/topic")
    found = check_notifications(load_settings(), seconds=0.01)
    assert [each.state for each in found] == ["wrong", "wrong"]
    assert "longer than 0.01 s" in found[1].to_do
    assert "s3cr3t" not in str(found)


def test_with_nobody_to_tell_it_says_how_to_be_told(
    user: Home, instance: dg.DagsterInstance
) -> None:
    found, result = look(instance)
    assert result.success
    assert found["Notifications"][0] == "note"
    assert "HARMONY_NOTIFY_URLS" in found["Notifications"][1]
