"""`make dev`: Dagster's UI and daemon on the user's own settings, or on the demo's."""

import argparse
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from dotenv import load_dotenv

from harmony_pipelines.demo.__main__ import demo_server
from harmony_pipelines.demo.home import DAGSTER_YAML, FOLDER, DemoHome
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.first_use import make_tables
from harmony_pipelines.settings import Settings, load_settings
from harmony_pipelines.web.listening import is_for_others, listen

if TYPE_CHECKING:
    import dagster as dg

PROJECT = DAGSTER_YAML.parent

_ARTISTS = "/assets/spotify_albums?view=partitions"
"""Where the UI lists the artists."""

_EXIT_USAGE = 2
_OWNER_ONLY = 0o077
_NO_LOGIN = """\
!!! The UI has NO LOGIN, and HARMONY_UI_HOST {host} lets other machines reach it: whoever can
!!! may start and stop runs and read every log. Put a proxy with a login in front of it, or use
!!! 127.0.0.1. Names it is called by, other than {host}, go into HARMONY_UI_ALLOWED_HOSTS."""


@dataclass(frozen=True)
class _Start:
    """Whose settings, in which folder, and whether the UI may only show."""

    environment: Mapping[str, str]
    folder: Path
    read_only: bool


def main() -> int:
    """Say what is set up and what is missing, then run Dagster until told to stop."""
    parser = argparse.ArgumentParser(prog="make dev", description=__doc__)
    parser.add_argument("--demo", action="store_true", help="the demo's Spotify and library")
    parser.add_argument(
        "--demo-folder", type=Path, default=PROJECT / FOLDER, help="where the demo lives"
    )
    parser.add_argument("--read-only", action="store_true", help="a UI that starts nothing")
    given = parser.parse_args()
    os.umask(_OWNER_ONLY)
    if not given.demo:
        try:
            load_dotenv(PROJECT / ".env")
        except ValueError as error:  # not UTF-8, or a NUL in a value
            return _refused(ErrorCode.VALIDATION_ERROR, f"{PROJECT / '.env'} is no text: {error}.")
        return _serve(_Start(os.environ, PROJECT, given.read_only))
    home = DemoHome(given.demo_folder.resolve())
    with demo_server(home) as server:
        print(f"The demo's Spotify listens on {server.url}.")
        return _serve(_Start(home.environment(server), home.folder, given.read_only))


def _serve(start: _Start) -> int:
    try:
        settings = load_settings(start.environment)
        settings.prepare_home()
        with _held(settings.dagster_home) as lock:
            sockets = listen(settings.ui_host, settings.ui_port)
            noticed = _prepare_dagster_home(settings.dagster_home)
            for line in (*settings.warnings, *_missing(settings), *noticed):
                print(f"Note: {line}")
            _run(start, settings, lock, sockets)
    except HarmonyError as error:
        return _refused(error.code, error.message)
    return 0


def _refused(code: ErrorCode, message: str) -> int:
    print(f"{code}: {message}", file=sys.stderr)
    return _EXIT_USAGE


@contextlib.contextmanager
def _held(home: Path) -> Iterator[IO[str]]:
    """Hold DAGSTER_HOME alone: two daemons on it would start everything twice."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (home / "make-dev.lock").open("a+", encoding="utf-8")
    except OSError as error:
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.SETTING,
            f"DAGSTER_HOME {home} cannot be used: {error.strerror}. Name a folder that this user "
            "may write to, or leave it unset.",
            path=str(home),
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.seek(0)
            raise HarmonyError(
                ErrorCode.CONFLICT,
                Reason.LOCKED,
                f"Another `make dev` (process {lock.read().strip()}) uses DAGSTER_HOME {home}. "
                "Stop that one, or give this one a HARMONY_HOME of its own.",
                path=str(home),
            ) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield lock


def _prepare_dagster_home(home: Path) -> list[str]:
    """Give Dagster a home with our limits in it; say what is weak or stopped there.

    What the user wrote there stays.
    """
    import dagster as dg
    import yaml

    from harmony_pipelines.definitions import defs

    file = home / DAGSTER_YAML.name
    try:
        if not file.exists():
            shutil.copyfile(DAGSTER_YAML, file)
        make_tables(home)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            return [*_weak_limits(instance, file), *_stopped(instance, defs)]
    except (OSError, dg.DagsterError, yaml.YAMLError) as error:
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.SETTING,
            f"Dagster cannot use {file}: {error}. {DAGSTER_YAML} is one that works.",
            path=str(file),
        ) from error


def _weak_limits(instance: "dg.DagsterInstance", file: Path) -> list[str]:
    """What a `dagster.yaml` that is not ours leaves out of the limits of a run."""
    from harmony_pipelines.launcher import missing_fences

    return [
        f"{file} lacks {name}, which keeps runs within their limits: take it over from "
        f"{DAGSTER_YAML}."
        for name in missing_fences(instance)
    ]


def _stopped(instance: "dg.DagsterInstance", defs: "dg.Definitions") -> list[str]:
    """Which schedules and sensors wait to be switched on."""
    from harmony_pipelines.automation import switched_off

    stopped = switched_off(instance, (*(defs.schedules or ()), *(defs.sensors or ())))
    if not stopped:
        return []
    return [f"Stopped: {', '.join(stopped)}. Switch on what you want in the UI, under Automation."]


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


def _run(start: _Start, settings: Settings, lock: IO[str], sockets: list[socket.socket]) -> None:
    """Run until told to stop; Ctrl-C, SIGTERM and SIGHUP end it, also in the background."""
    from harmony_pipelines.dev_services import Surroundings, run_services

    told = threading.Event()
    # Before any child begins: one that inherits an ignored SIGINT would ignore SIGTERM too.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: told.set())
    if is_for_others(sockets):
        print(_NO_LOGIN.format(host=settings.ui_host))
    only = "; it only shows, nothing can be started in it" if start.read_only else ""
    ui = f"http://{settings.ui_host}:{settings.ui_port}"
    print(f"The UI: {ui} (Ctrl-C stops it){only}")
    print(f"One artist: {ui}{_ARTISTS}, type part of the name into the filter, click on it")
    leash, _ = os.pipe()
    around = Surroundings(
        start.environment, start.folder, settings.dagster_home, lock.fileno(), leash
    )
    web = ["harmony_pipelines.web.server", *(["--read-only"] if start.read_only else [])]
    run_services(around, web, [each.fileno() for each in sockets], told)


if __name__ == "__main__":
    sys.exit(main())
