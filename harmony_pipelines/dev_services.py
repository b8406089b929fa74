"""The processes of `make dev`, kept alive: Dagster's code server, daemon and web server."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import yaml
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient

from harmony_pipelines.told import DEVELOPMENT

_POLL_SECONDS = 0.2
_LOAD_SECONDS = 120
_STEADY_SECONDS = 60
_LONGEST_PAUSE_SECONDS = 60
_CHECK_EVERY_SECONDS = 5
_ANSWER_SECONDS = 5
_MISSED_ANSWERS = 2
_RUNS_SECONDS = 8
_STOP_SECONDS = 4
_LOCATION = "harmony_pipelines.definitions"
_ALIVE = (dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


@dataclass(frozen=True)
class Surroundings:
    """What every process of `make dev` is given."""

    environment: Mapping[str, str]
    folder: Path
    """Where it works: Dagster reads `.env` there."""
    home: Path
    """DAGSTER_HOME."""
    lock: int
    """The descriptor of the lock on `home`: held as long as a daemon lives."""
    leash: int
    """The reading end of a pipe that only this process writes to."""


class Service:
    """A process in a group of its own, begun again whenever it ends by itself."""

    def __init__(
        self, name: str, command: Sequence[str], around: Surroundings, keeps: Sequence[int] = ()
    ) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self._command = command
        self._around = around
        self._keeps = keeps
        self._groups: set[int] = set()
        self._began = 0.0
        self._ended_early = 0
        self._due: float | None = None

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    def begin(self) -> None:
        """Start the process; it ends with this one, however this one ends."""
        leash = self._around.leash
        self.process = subprocess.Popen(
            [sys.executable, "-m", "harmony_pipelines.leash", str(leash), *self._command],
            env={
                **self._around.environment,
                "DAGSTER_HOME": str(self._around.home),
                DEVELOPMENT: "1",
            },
            cwd=self._around.folder,
            start_new_session=True,
            pass_fds=(leash, *self._keeps),
        )
        self._groups.add(self.process.pid)
        self._began = time.monotonic()
        self._due = None

    def keep_alive(self) -> None:
        """Begin it again if it ended, after a pause that doubles while it does not last."""
        if self.process is None or self.is_running:
            return
        now = time.monotonic()
        if self._due is None:
            lasted = now - self._began >= _STEADY_SECONDS
            self._ended_early = 0 if lasted else self._ended_early + 1
            pause = min(2**self._ended_early / 2, _LONGEST_PAUSE_SECONDS)
            self._due = now + pause
            _say(f"The {self.name} ended ({self.process.returncode}); again in {pause:g} s.")
        elif now >= self._due:
            self._groups = {group for group in self._groups if _is_group(group)}
            self.begin()

    def tell(self, number: signal.Signals) -> None:
        """Send the process a signal, if it lives."""
        if self.process is not None and self.is_running:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End whatever it and its predecessors have started and left."""
        for group in self._groups:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        if self.process is not None:
            self.process.wait(_STOP_SECONDS)


class CodeServer(Service):
    """The code server; one that no longer answers is begun again too."""

    def __init__(self, socket: Path, around: Surroundings) -> None:
        command = ["dagster", "code-server", "start", "--socket", str(socket)]
        command += ["-m", _LOCATION, "-d", str(around.folder), "--location-name", _LOCATION]
        command += ["--log-level", "warning", "--inject-env-vars-from-instance"]
        super().__init__("code server", command, around)
        self.socket = socket
        self._client = DagsterGrpcClient(socket=str(socket))
        self._missed = 0
        self._checked = 0.0

    def begin(self) -> None:
        """Start it on the socket, whose folder nobody else may enter."""
        self.socket.parent.mkdir(mode=0o700, exist_ok=True)
        self.socket.unlink(missing_ok=True)
        self._missed = 0
        super().begin()

    def answers(self) -> bool:
        """Whether the process behind the socket that holds the definitions answers."""
        try:
            self._client.get_server_id(timeout=_ANSWER_SECONDS)
        except DagsterUserCodeUnreachableError:
            return False
        self._missed = 0
        return True

    def keep_alive(self) -> None:
        """Begin it again if it ended, or if it is silent though it has opened its socket."""
        super().keep_alive()
        now = time.monotonic()
        if not self.is_running or now - self._checked < _CHECK_EVERY_SECONDS:
            return
        self._checked = now
        if not self.answers() and (self.socket.exists() or now - self._began > _LOAD_SECONDS):
            self._missed += 1
            if self._missed == _MISSED_ANSWERS:
                _say("The code server does not answer any more.")
                self.tell(signal.SIGKILL)


def run_services(
    around: Surroundings, web: Sequence[str], sockets: Sequence[int], told: threading.Event
) -> None:
    """Keep all three alive until told to stop, then stop them and the runs they began."""
    place = Path(tempfile.mkdtemp(prefix="harmony-"))
    workspace = around.home / "make-dev-workspace.yaml"
    code = CodeServer(place / "code.sock", around)
    workspace.write_text(_workspace(code.socket))
    at = ["--workspace", str(workspace)]
    services = (
        code,
        Service(
            "daemon",
            ["dagster._daemon", "run", "--log-level", "warning", *at],
            around,
            [around.lock],
        ),
        Service(
            "web server",
            [*web, *at, "--socket", *(str(number) for number in sockets)],
            around,
            sockets,
        ),
    )
    try:
        code.begin()
        _wait(lambda: code.answers() or not code.is_running, _LOAD_SECONDS, told)
        for service in services[1:]:
            service.begin()
        while not told.wait(_POLL_SECONDS):
            for service in services:
                service.keep_alive()
    finally:
        _stop(services, code, around.home, told)
        shutil.rmtree(place, ignore_errors=True)


def _workspace(socket: Path) -> str:
    server = {"socket": str(socket), "location_name": _LOCATION}
    return yaml.safe_dump({"load_from": [{"grpc_server": server}]})


def _stop(services: Sequence[Service], code: CodeServer, home: Path, told: threading.Event) -> None:
    _say("Stopping …")
    told.clear()  # told once more: no more waiting
    for service in services:
        if service is not code:
            service.tell(signal.SIGTERM)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = _runs_of(instance, code)
        for run in runs:
            threading.Thread(target=_cancel, args=(instance, run.run_id), daemon=True).start()
        _wait(lambda: not _runs_of(instance, code), _RUNS_SECONDS, told)
        code.tell(signal.SIGTERM)
        _wait(lambda: not any(each.is_running for each in services), _STOP_SECONDS, told)
        for service in services:
            service.kill()
        for run in _runs_of(instance, code):
            instance.report_run_canceled(run, message="`make dev` was stopped.")
    for run in runs:
        _say(f"The run {run.run_id} of {run.job_name} was cancelled; the next one goes on.")


def _runs_of(instance: dg.DagsterInstance, code: CodeServer) -> list[dg.DagsterRun]:
    """Runs whose process this code server has started; those of the command line go on."""
    alive = instance.get_runs(dg.RunsFilter(statuses=list(_ALIVE)))
    ours = str(code.socket)
    return [
        run for run in alive if json.loads(run.tags.get(GRPC_INFO_TAG, "{}")).get("socket") == ours
    ]


def _cancel(instance: dg.DagsterInstance, run_id: str) -> None:
    with contextlib.suppress(dg.DagsterError):
        instance.run_launcher.terminate(run_id)


def _wait(condition: Callable[[], bool], seconds: float, told: threading.Event) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end and not condition() and not told.wait(_POLL_SECONDS):
        pass


def _is_group(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):  # gone, or another user's by now
        return False
    return True


def _say(line: str) -> None:
    print(line, flush=True)
