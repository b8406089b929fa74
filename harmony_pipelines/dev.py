"""`make dev`: Dagster's UI and daemon on the user's own settings, or on the demo's."""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

from dotenv import load_dotenv

from harmony_pipelines.demo.__main__ import demo_server
from harmony_pipelines.demo.home import DAGSTER_YAML, FOLDER, DemoHome
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.settings import Settings, load_settings

PROJECT = DAGSTER_YAML.parent

_EXIT_USAGE = 2
_POLL_SECONDS = 0.2


def main() -> int:
    """Say what is set up and what is missing, then run `dagster dev` until it is stopped."""
    parser = argparse.ArgumentParser(prog="make dev", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="the demo's Spotify and library")
    if not parser.parse_args().demo:
        try:
            load_dotenv(PROJECT / ".env")
        except ValueError as error:  # not UTF-8, or a NUL in a value
            return _refused(ErrorCode.VALIDATION_ERROR, f"{PROJECT / '.env'} is no text: {error}.")
        return _serve(os.environ, PROJECT)
    home = DemoHome(PROJECT / FOLDER)
    with demo_server(home) as server:
        print(f"The demo's Spotify listens on {server.url}.")
        return _serve(home.environment(server), home.folder)


def _serve(environment: Mapping[str, str], folder: Path) -> int:
    try:
        settings = load_settings(environment)
        settings.prepare_home()
        _prepare_dagster_home(settings.dagster_home)
    except HarmonyError as error:
        return _refused(error.code, error.message)
    for line in (*settings.warnings, *_missing(settings)):
        print(f"Note: {line}")
    print(f"The UI: http://{settings.ui_host}:{settings.ui_port} (Ctrl-C stops it)", flush=True)
    command = [sys.executable, "-m", "dagster", "dev", "-m", "harmony_pipelines.definitions"]
    command += ["--working-directory", str(folder), "--log-level", "warning"]
    command += ["-h", settings.ui_host, "-p", str(settings.ui_port)]
    return _run(command, {**environment, "DAGSTER_HOME": str(settings.dagster_home)}, folder)


def _refused(code: ErrorCode, message: str) -> int:
    print(f"{code}: {message}", file=sys.stderr)
    return _EXIT_USAGE


def _prepare_dagster_home(home: Path) -> None:
    """Give Dagster a home with our limits in it; what the user wrote there stays.

    Its tables are made here, by one process: several that meet an empty home fail each other.
    """
    import dagster as dg

    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not (home / DAGSTER_YAML.name).exists():
            shutil.copy(DAGSTER_YAML, home)
    except OSError as error:
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.SETTING,
            f"DAGSTER_HOME {home} cannot be used: {error.strerror}. Name a folder that this user "
            "may write to, or leave it unset.",
            path=str(home),
        ) from error
    with dg.DagsterInstance.from_config(str(home)) as instance:
        instance.get_run_records(limit=1)
        instance.get_dynamic_partitions("artists")
        instance.all_instigator_state()


def _missing(settings: Settings) -> list[str]:
    """What the user has still to set before a run can do its work."""
    said: list[str] = []
    for needed in (settings.spotify_credentials, settings.spotify_market):
        try:
            needed()
        except HarmonyError as error:
            said.append(error.message)
    if not settings.watchlist_path.exists():
        said.append(
            f"There is no watchlist yet: copy {PROJECT / 'watchlist.example.yaml'} to "
            f"{settings.watchlist_path} and name your artists."
        )
    return said


def _run(command: list[str], environment: Mapping[str, str], folder: Path) -> int:
    """Run until it ends or is told to; Ctrl-C and SIGTERM end it, also in the background."""
    told = threading.Event()
    # Before the child begins: one that inherits an ignored SIGINT would ignore SIGTERM too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: told.set())
    child = subprocess.Popen(command, env=dict(environment), cwd=folder, start_new_session=True)
    while child.poll() is None:
        if told.wait(_POLL_SECONDS):
            told.clear()
            child.send_signal(signal.SIGINT)
    return 0 if child.returncode == -signal.SIGINT else child.returncode


if __name__ == "__main__":
    sys.exit(main())
