"""Somebody at a terminal, as the tests of real processes need one."""

import sqlite3
import subprocess
import sys

import dagster as dg

from harmony_pipelines.clients.locks import holder_of
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.home import DemoHome
from harmony_pipelines.demo.spotify_server import SpotifyServer

DEFINITIONS = ("-m", "harmony_pipelines.definitions")


class User:
    """Somebody at a terminal, whose Spotify and library are the demo's."""

    def __init__(self, folder):
        self.home = DemoHome(folder)
        self.server = SpotifyServer(Catalogue.load())
        self.environment = {}

    def __enter__(self):
        self.server.start()
        self.home.prepare()
        self.environment = dict(self.home.environment(self.server))
        return self

    def __exit__(self, *_):
        self.server.stop()

    def begin(self, *arguments):
        return self._begin("-m", "dagster", *arguments)

    def _begin(self, *arguments):
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=self.home.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def dagster(self, *arguments):
        """Exit code, last line printed, everything printed."""
        process = self.begin(*arguments)
        said, logged = process.communicate(timeout=120)
        return process.returncode, (said.strip().splitlines() or [""])[-1], said + logged

    def job(self, name, *more):
        """Begin a job, as `dagster job execute` does."""
        return self.begin("job", "execute", *DEFINITIONS, "-j", name, *more)

    def begin_daemon(self):
        """Begin Dagster's daemon, as `dagster-daemon run` does."""
        workspace = self.home.folder / "workspace.yaml"
        workspace.write_text("load_from: [{python_module: harmony_pipelines.definitions}]\n")
        command = ["-m", "dagster._daemon", "run", "-w", str(workspace)]
        return self._begin(*command)

    def heartbeats(self):
        """The daemons that have begun to work, and when they last said so."""
        with self.instance() as instance:
            return instance.get_daemon_heartbeats()

    def instance(self):
        return dg.DagsterInstance.from_config(str(self.home.dagster_home))

    def records(self):
        """What Dagster knows of the runs, the latest first."""
        with self.instance() as instance:
            return list(instance.get_run_records())

    def locks_held(self):
        """The locks that a living process has."""
        locks = self.home.database.parent / "locks"
        return [path for path in locks.rglob("*") if path.is_file() and holder_of(path)]

    def make_all_due(self):
        self.rows("UPDATE refresh_state SET next_due_at = '2000-01-01T00:00:00Z'")

    def rows(self, query):
        with sqlite3.connect(self.home.database) as connection:
            return connection.execute(query).fetchall()
