"""What a person sees who opens the UI: real `make dev`, real daemon, a real browser."""

import re
import subprocess

import pytest

from harmony_pipelines_tests.lifecycle.browser import CHROMIUM
from harmony_pipelines_tests.lifecycle.dev_process import (
    LOCATION,
    Dev,
    dev,
    nobodys_environment,
    wait_until,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

_BY_UI = """
{ runsOrError(filter: {tags: [{key: "harmony/started_by", value: "ui"}]}) {
  ... on Runs { results { runId } } } }
"""
_RUN = """
query($id: ID!) { runOrError(runId: $id) { ... on Run { status
  eventConnection { events { __typename ... on ExecutionStepFailureEvent {
    failureMetadata { metadataEntries { label ... on TextMetadataEntry { text } } } } } } } } }
"""


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    """The UI of a user who has set nothing yet."""
    home = str(tmp_path_factory.mktemp("home"))
    with dev(nobodys_environment() | {"HARMONY_HOME": home}) as begun:
        yield begun


def page(address, path, profile):
    command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic"]
    command += ["--no-first-run", "--disable-background-networking", "--disable-sync"]
    command += ["--disable-component-update", f"--user-data-dir={profile}"]
    command += ["--virtual-time-budget=20000", "--dump-dom", f"{address}{path}"]
    return subprocess.run(command, capture_output=True, text=True, timeout=90, check=True).stdout


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/asset-groups", ("spotify", "beets", "reports", "artwork")),
        ("/assets/spotify_albums", ("Every release of the watched artists",)),
        (
            f"/locations/{LOCATION}/jobs/refresh_catalogue/playground",
            ("max_runtime", "refresh_artists", "full_sweep"),
        ),
    ],
)
def test_a_browser_shows_the_graph_the_descriptions_and_the_launchpad(ui, tmp_path, path, shown):
    found = page(ui.address, path, tmp_path)

    assert [text for text in shown if text not in found] == []


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_address_that_is_printed_lists_the_artists_behind_a_filter(ui: Dev, tmp_path):
    [address] = re.findall(r"^One artist: (\S+),", ui.process.said(), re.MULTILINE)

    assert "Filter by name" in page(address, "", tmp_path)


def test_a_run_launched_before_anything_is_set_says_what_is_missing(ui: Dev):
    run_id = ui.launch("refresh_catalogue")

    def ended():
        run = ui.ask(_RUN, id=run_id)["runOrError"]
        return run if run["status"] in ("SUCCESS", "FAILURE") else None

    run = wait_until(ended, 60)
    [failure] = [
        event["failureMetadata"]["metadataEntries"]
        for event in run["eventConnection"]["events"]
        if event.get("failureMetadata")
    ]
    said = {entry["label"]: entry.get("text") for entry in failure}

    assert run["status"] == "FAILURE"
    assert said["code"] == "VALIDATION_ERROR"
    assert "watchlist.example.yaml" in said["message"]
    found = ui.ask(_BY_UI)["runsOrError"]["results"]
    assert run_id in [each["runId"] for each in found], "by what started it"
