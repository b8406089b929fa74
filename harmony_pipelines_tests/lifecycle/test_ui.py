"""What a person sees who opens the UI: real `make dev`, real daemon, a real browser."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
LOCATION = "harmony_pipelines.definitions"

_LAUNCH = """
mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
_RUN = """
query($id: ID!) { runOrError(runId: $id) { ... on Run { status
  eventConnection { events { __typename ... on ExecutionStepFailureEvent {
    failureMetadata { metadataEntries { label ... on TextMetadataEntry { text } } } } } } } } }
"""


@pytest.fixture(scope="module")
def ui(tmp_path_factory):
    """The address of a UI whose user has set nothing yet."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    ours = ("HARMONY_", "SPOTIPY_", "DAGSTER_", "BEETS")
    environment = {name: v for name, v in os.environ.items() if not name.startswith(ours)}
    environment["HARMONY_HOME"] = str(tmp_path_factory.mktemp("home"))
    environment["HARMONY_UI_PORT"] = str(port)
    dev = subprocess.Popen(
        [sys.executable, "-m", "harmony_pipelines.dev"], env=environment, stdout=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: loaded(address), 120)
        yield address
    finally:
        dev.send_signal(signal.SIGTERM)
        dev.wait(60)


def ask(address, query, **variables):
    body = json.dumps({"query": query, "variables": variables}).encode()
    request = urllib.request.Request(
        f"{address}/graphql", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["data"]


def loaded(address):
    query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
    try:
        return ask(address, query)["repositoriesOrError"].get("nodes")
    except OSError:
        return None


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError("it did not come in time")


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
    found = page(ui, path, tmp_path)

    assert [text for text in shown if text not in found] == []


def test_a_run_launched_before_anything_is_set_says_what_is_missing(ui):
    selector = {
        "repositoryLocationName": LOCATION,
        "repositoryName": "__repository__",
        "jobName": "refresh_catalogue",
    }
    launched = ask(ui, _LAUNCH, p={"selector": selector, "runConfigData": {}})["launchRun"]
    run_id = launched["run"]["runId"]

    def ended():
        run = ask(ui, _RUN, id=run_id)["runOrError"]
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
