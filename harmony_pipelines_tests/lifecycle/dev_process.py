"""A real `make dev` and what a browser or another program asks it."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

LOCATION = "harmony_pipelines.definitions"
LAUNCH = """
mutation($p: ExecutionParams!) { launchRun(executionParams: $p) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
TERMINATE = """
mutation($id: String!) { terminateRun(runId: $id) { __typename } }
"""
SWITCH_ON = """
mutation($s: ScheduleSelector!) { startSchedule(scheduleSelector: $s) { __typename } }
"""
_USERS_OWN = ("HARMONY_", "SPOTIPY_", "DAGSTER_", "BEETS")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def nobodys_environment() -> dict[str, str]:
    """The environment of a user who has set nothing."""
    return {name: v for name, v in os.environ.items() if not name.startswith(_USERS_OWN)}


def wait_until(condition: Callable[[], Any], seconds: float) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.25)
    raise AssertionError("it did not come in time")


class Program(subprocess.Popen[bytes]):
    """A process that prints into a file: it never has to wait for somebody to read."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        self._output, name = tempfile.mkstemp()
        Path(name).unlink()
        said = {"stdin": subprocess.DEVNULL, "stdout": self._output, "stderr": self._output}
        super().__init__(command, **said, **options)

    def said(self) -> str:
        """What it has printed by now; its place in the file is not moved."""
        return os.pread(self._output, os.fstat(self._output).st_size, 0).decode(errors="replace")

    def ended(self, seconds: float) -> str:
        """Wait for its end; what it printed."""
        self.wait(seconds)
        return self.said()

    def __del__(self, *arguments: Any) -> None:
        with contextlib.suppress(OSError):
            os.close(self._output)
        super().__del__(*arguments)


@dataclass(frozen=True)
class Dev:
    """One `make dev` and the address of its UI."""

    process: Program
    port: int
    location: str = LOCATION

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, query: str, **variables: Any) -> Any:
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)["data"]

    def is_loaded(self) -> bool:
        query = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
        with contextlib.suppress(OSError):
            return bool(self.ask(query)["repositoriesOrError"].get("nodes"))
        return False

    def launch(self, job: str, config: Mapping[str, Any] | None = None, **tags: str) -> str:
        selector = {
            "repositoryLocationName": self.location,
            "repositoryName": "__repository__",
            "jobName": job,
        }
        params = {
            "selector": selector,
            "runConfigData": config or {},
            "executionMetadata": {
                "tags": [{"key": name, "value": value} for name, value in tags.items()]
            },
        }
        return self.ask(LAUNCH, p=params)["launchRun"]["run"]["runId"]

    def terminate(self, run_id: str) -> None:
        """What a click on Terminate asks."""
        self.ask(TERMINATE, id=run_id)

    def switch_on(self, schedule: str) -> None:
        """What a click on a schedule's switch asks."""
        selector = {
            "repositoryLocationName": self.location,
            "repositoryName": "__repository__",
            "scheduleName": schedule,
        }
        self.ask(SWITCH_ON, s=selector)

    def runs(self) -> dict[str, str]:
        """The status of every run."""
        answer = self.ask("{ runsOrError { ... on Runs { results { runId status } } } }")
        return {run["runId"]: run["status"] for run in answer["runsOrError"]["results"]}

    def processes(self) -> dict[int, str]:
        """It and all that descends from it, with their command lines."""
        found = {self.process.pid: ""}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.status() != psutil.STATUS_ZOMBIE:
                    found[child.pid] = " ".join(child.cmdline())
        return found

    def stop(self, number: signal.Signals = signal.SIGTERM) -> str:
        """Stop it; what it printed."""
        self.process.send_signal(number)
        return self.process.ended(60)


def begin_dev(environment: Mapping[str, str], *options: str) -> Dev:
    """Start it as a script does in the background: with SIGINT ignored."""
    port = free_port()
    command = ["sh", "-c", "trap '' INT; exec \"$@\"", "sh"]
    command += [sys.executable, "-m", "harmony_pipelines.dev", *options]
    return Dev(Program(command, env={**environment, "HARMONY_UI_PORT": str(port)}), port)


@contextlib.contextmanager
def dev(environment: Mapping[str, str], *options: str) -> Iterator[Dev]:
    """A `make dev` whose definitions are loaded."""
    begun = begin_dev(environment, *options)
    try:
        wait_until(begun.is_loaded, 240)
        yield begun
    finally:
        if begun.process.poll() is None:
            begun.stop()
