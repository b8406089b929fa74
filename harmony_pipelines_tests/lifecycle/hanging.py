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
from typing import Any

import dagster as dg
import httpx

from harmony_pipelines.executor import deadline_executor
from harmony_pipelines.runs import MAX_RUNTIME_TAG

LIMIT_SECONDS = 15
EXECUTORS = ("in_process", "multiprocess")
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


def _asset(hang) -> dg.AssetsDefinition:
    @dg.asset(name=f"asset_{hang.__name__}")
    def asset() -> None:
        hang()

    return asset


@dg.asset
def healthy_asset() -> None:
    """Is there at once."""


def in_executor(executor: str) -> dict[str, Any]:
    """The config of a run whose steps run in its process, or each in one of its own."""
    return {"execution": {"config": {executor: {}}}}


def schedule_name(job: str, executor: str) -> str:
    return f"{job}_{executor}_schedule"


def _schedule(job: dg.JobDefinition, executor: str) -> dg.ScheduleDefinition:
    name = schedule_name(job.name, executor)

    @dg.schedule(job=job, cron_schedule="* * * * *", name=name, execution_timezone="UTC")
    def once(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        begun = dg.RunsFilter(tags={"dagster/schedule_name": name})
        if context.instance.get_run_records(begun, limit=1):
            return dg.SkipReason("It has run.")
        return dg.RunRequest(run_config=in_executor(executor))

    return once


JOBS = [_job(hang) for hang in HANGS]

defs = dg.Definitions(
    assets=[*(_asset(hang) for hang in HANGS), healthy_asset],
    jobs=[*JOBS, leaves_children, healthy],
    schedules=[_schedule(job, executor) for job in JOBS for executor in EXECUTORS],
    executor=deadline_executor,
)
