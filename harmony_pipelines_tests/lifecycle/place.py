"""A DAGSTER_HOME in which runs of `hanging` are started in every way, and what is seen of them."""

import contextlib
import json
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psutil

from harmony_pipelines.clients.processes import MARK, identity
from harmony_pipelines.runs import WORKER_TAG
from harmony_pipelines_tests.lifecycle.dev_process import (
    Dev,
    Program,
    free_port,
    nobodys_environment,
    wait_until,
)

MODULE = "harmony_pipelines_tests.lifecycle.hanging"
PROJECT = Path(__file__).parents[2]
OURS = (PROJECT / "dagster.yaml").read_text("utf-8")


class Place:
    """A DAGSTER_HOME, and what happens in it."""

    def __init__(self, folder: Path, dagster_yaml: str | None) -> None:
        self.home = folder / "dagster"
        self.home.mkdir()
        if dagster_yaml is not None:
            (self.home / "dagster.yaml").write_text(dagster_yaml, encoding="utf-8")
        self.environment = {
            **nobodys_environment(),
            "DAGSTER_HOME": str(self.home),
            "HARMONY_HOME": str(folder / "harmony"),
        }
        with self.instance() as instance:
            instance.get_run_records(limit=1)
            instance.all_instigator_state()

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.home))

    def begin(self, *arguments: str, module: str = "dagster", **environment: str) -> Program:
        command = [sys.executable, "-m", module, *arguments]
        return Program(command, cwd=PROJECT, env=self.environment | environment)

    def execute(self, job: str, *more: str) -> Program:
        return self.begin("job", "execute", "-m", MODULE, "-j", job, *more)

    def records(self) -> list[dg.RunRecord]:
        with self.instance() as instance:
            return list(instance.get_run_records())

    def failure(self, run_id: str) -> str:
        with self.instance() as instance:
            events = [entry.dagster_event for entry in instance.all_logs(run_id)]
        return " ".join(e.message or "" for e in events if e and e.is_job_failure)

    @contextlib.contextmanager
    def dev(self) -> Iterator[Dev]:
        """A `dagster dev`."""
        port = free_port()
        process = self.begin("dev", "-m", MODULE, "-p", str(port), "--log-level", "error")
        with _ended_after(process):
            begun = Dev(process, port, MODULE)
            wait_until(begun.is_loaded, 90)
            yield begun


class Services:
    """A code server, a web server and perhaps a daemon, each a process of its own."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._socket = place.home / "code.sock"
        self.workspace = place.home / "workspace.yaml"
        server = {"socket": str(self._socket), "location_name": MODULE}
        self.workspace.write_text(json.dumps({"load_from": [{"grpc_server": server}]}))

    @contextlib.contextmanager
    def running(self) -> Iterator[Dev]:
        """The web server's address once the definitions are loaded; no daemon yet."""
        port = free_port()
        code = self._place.begin("api", "grpc", "--socket", str(self._socket), "-m", MODULE)
        with _ended_after(code):
            web = self._place.begin("-w", str(self.workspace), "-p", str(port), module=_WEB)
            with _ended_after(web):
                begun = Dev(web, port, MODULE)
                wait_until(begun.is_loaded, 120)
                yield begun

    def begin_daemon(self) -> Program:
        return self._place.begin("run", "-w", str(self.workspace), module="dagster._daemon")


_WEB = "dagster_webserver"


@contextlib.contextmanager
def _ended_after(process: Program) -> Iterator[None]:
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(Exception):
            process.wait(30)
        process.kill()
        process.wait(30)


def left_of(run: dg.DagsterRun) -> list[str]:
    """The command lines of a run's processes that still run: its worker, and what it started."""
    worker = run.tags.get(WORKER_TAG, "")
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() == psutil.STATUS_ZOMBIE:
                continue
            if identity(process.pid) == worker or process.environ().get(MARK) == run.run_id:
                found.append(" ".join(process.cmdline()))
    return found


def processes_in(place: Place) -> list[str]:
    """The command lines of all processes that belong to a place."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get("DAGSTER_HOME") == str(place.home):
                found.append(" ".join(process.cmdline()))
    return found
