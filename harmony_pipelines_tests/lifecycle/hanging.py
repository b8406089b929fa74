"""A code location whose ops hang in every way that the fences must end."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import dagster as dg
import httpx

from harmony_pipelines.executor import deadline_executor
from harmony_pipelines.runs import MAX_RUNTIME_TAG

LIMIT_SECONDS = 6
_FOR_EVER = 10**9

_DEAF_CHILD = (
    "import signal, subprocess, sys, time\n"
    "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): "
    "signal.signal(number, signal.SIG_IGN)\n"
    "if len(sys.argv) > 1: subprocess.Popen([sys.executable, '-c', sys.argv[1]])\n"
    "time.sleep(10**6)\n"
)


def _silent_server() -> tuple[str, int]:
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: [listener.accept() for _ in range(9)], daemon=True).start()
    return listener.getsockname()


def _receive() -> None:
    with socket.create_connection(_silent_server()) as connection:
        connection.settimeout(None)
        connection.recv(1)


def sleep() -> None:
    time.sleep(_FOR_EVER)


def receive() -> None:
    _receive()


def http() -> None:
    httpx.get("http://{}:{}".format(*_silent_server()), timeout=None, trust_env=False)


def threads() -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: _receive(), range(4)))


def swallow() -> None:
    while True:
        with contextlib.suppress(BaseException):
            time.sleep(_FOR_EVER)


def children() -> None:
    subprocess.run([sys.executable, "-c", _DEAF_CHILD, _DEAF_CHILD], check=False)


def c_loop() -> None:
    sum(range(10**13))


def stopped() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(1)


HANGS = [sleep, receive, http, threads, swallow, children, c_loop, stopped]


def _job(hang) -> dg.JobDefinition:
    @dg.op(name=f"op_{hang.__name__}")
    def op() -> None:
        hang()

    @dg.job(name=hang.__name__, tags={MAX_RUNTIME_TAG: str(LIMIT_SECONDS)})
    def job() -> None:
        op()

    return job


@dg.op
def leave_a_child_behind() -> None:
    subprocess.Popen([sys.executable, "-c", _DEAF_CHILD, _DEAF_CHILD])
    time.sleep(1)


@dg.job
def leaves_children() -> None:
    leave_a_child_behind()


@dg.op
def nothing() -> None:
    """Ends at once."""


@dg.job
def healthy() -> None:
    nothing()


@dg.asset(op_tags={})
def hanging_asset() -> None:
    time.sleep(_FOR_EVER)


JOBS = [_job(hang) for hang in HANGS]

defs = dg.Definitions(
    assets=[hanging_asset],
    jobs=[*JOBS, leaves_children, healthy],
    schedules=[
        dg.ScheduleDefinition(
            name=f"{job.name}_schedule",
            job=job,
            cron_schedule="* * * * *",
            execution_timezone="UTC",
        )
        for job in JOBS
    ],
    executor=deadline_executor,
)
