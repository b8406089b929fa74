"""Processes of this machine: who one is though pids are reused, whose run it is, how it ends."""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path

import psutil

MARK = "_HARMONY_RUN"
"""The environment variable that every process which a run starts inherits: the run's id."""

_GONE_SECONDS = 2.0


def identity(pid: int | None = None) -> str:
    """`host:pid:created`, which names a process for good."""
    return _own_identity(os.getpid()) if pid is None else _identity(pid)


def _identity(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}:{psutil.Process(pid).create_time():.2f}"


_own_identity = cache(_identity)


def module_command(name: str) -> tuple[list[str], dict[str, str]]:
    """How a module of this program is started by this Python: the command and its environment."""
    here = str(Path(__file__).parents[2])
    paths = [here, os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return [sys.executable, "-m", name], environment


def is_of_this_machine(name: str) -> bool:
    """Whether the process of that identity runs, or ran, here."""
    return name.rpartition(":")[0].rpartition(":")[0] == socket.gethostname()


def find(name: str) -> psutil.Process | None:
    """The process of that identity, None if it is over."""
    with contextlib.suppress(psutil.Error, ValueError, IndexError):  # or that is no identity
        process = psutil.Process(int(name.split(":")[-2]))
        if identity(process.pid) == name and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None


def family(worker: psutil.Process | None, run_id: str) -> list[psutil.Process]:
    """What a run started that still runs: below its worker, or orphaned but with its mark.

    The worker itself and the caller are not among them.
    """
    found: dict[int, psutil.Process] = {}
    with contextlib.suppress(psutil.Error):
        found = {child.pid: child for child in worker.children(recursive=True)} if worker else {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(MARK) == run_id:
                found[process.pid] = process
    for pid in (os.getpid(), worker.pid if worker else 0):
        found.pop(pid, None)
    return list(found.values())


def interrupt(process: psutil.Process, grace_s: float) -> bool:
    """Ask a process to end as Ctrl-C does; whether it did within the grace.

    One that is stopped is not asked: it would have to be continued first, and could write again.
    """
    with contextlib.suppress(psutil.Error):
        if process.status() != psutil.STATUS_STOPPED:
            process.send_signal(signal.SIGINT)
            process.wait(grace_s)
    return not _runs(process)


def kill(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """End processes by force; those are returned that even so do not end."""
    doomed = list(processes)
    for process in doomed:
        with contextlib.suppress(psutil.Error):
            process.kill()
    with contextlib.suppress(psutil.Error):
        psutil.wait_procs(doomed, _GONE_SECONDS)
    return [process for process in doomed if _runs(process)]


def stuck_at(process: psutil.Process) -> str:
    """What is known of a process that waits in the kernel: its pid, its wait, its open files."""
    folder, said = Path("/proc") / str(process.pid), f"pid {process.pid}"
    with contextlib.suppress(OSError):
        said += f" in {(folder / 'wchan').read_text() or 'the kernel'}"
    with contextlib.suppress(OSError):
        paths = {str(link.readlink()) for link in (folder / "fd").iterdir()}
        files = sorted(path for path in paths if path.startswith("/") and "/dev/" not in path)
        said += f", open: {', '.join(files[:5])}" if files else ""
    return said


def _runs(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
