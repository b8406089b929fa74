import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def demo(folder):
    finished = subprocess.run(
        [sys.executable, "-m", "harmony_pipelines.demo", "--folder", str(folder)],
        cwd=folder.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def contents(folder):
    return {
        path: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def comparable(text, folder):
    """The lines without what differs from machine to machine: seconds, folders, line breaks."""
    text = re.sub(r"\(\d+ s\)", "", text).replace(str(folder), ".demo")
    return " ".join(text.split())


def test_the_demo_prints_what_the_readme_shows_and_a_second_run_writes_nothing(tmp_path):
    folder = tmp_path / "a folder" / ".demo"
    folder.parent.mkdir()
    shown = re.search(r"```text\n(.*?)```", (PROJECT / "README.md").read_text("utf-8"), re.DOTALL)

    first = demo(folder)
    music = contents(folder / "beets")
    second = demo(folder)

    assert shown
    assert comparable(first, folder) == comparable(shown[1], folder)
    assert "New releases" in first
    assert "Covers embedded: none" in second
    assert contents(folder / "beets") == music


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_until(condition, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.3)
    return False


def answers(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_make_dev_serves_the_ui_and_ends_with_all_it_started(tmp_path, number):
    port = free_port()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("HARMONY_", "DAGSTER_"))},
        "HARMONY_HOME": str(tmp_path / "home"),
        "HARMONY_UI_PORT": str(port),
    }
    dev = subprocess.Popen(
        [sys.executable, "-m", "harmony_pipelines.dev"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        # as in the background of a script, where SIGINT is ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    try:
        assert wait_until(lambda: answers(port), 90)
        dev.send_signal(number)
        said, _ = dev.communicate(timeout=60)
    finally:
        dev.kill()

    assert not answers(port)
    assert "SPOTIPY_CLIENT_ID" in said
    assert "HARMONY_SPOTIFY_MARKET" in said
    assert "watchlist.example.yaml" in said
    assert (tmp_path / "home" / "dagster" / "dagster.yaml").exists()
