"""Dagster's web server behind our guard, on sockets that the starting process has opened.

Run by `make dev` as a process of its own: `python -m harmony_pipelines.web.server`.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn
from dagster import DagsterInstance
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import WorkspaceFileTarget
from dagster_webserver.app import create_app_from_workspace_process_context
from dagster_webserver.cli import (
    DEFAULT_DB_STATEMENT_TIMEOUT,
    DEFAULT_POOL_MAX_OVERFLOW,
    DEFAULT_POOL_RECYCLE,
)
from dagster_webserver.version import __version__

from harmony_pipelines.settings import load_settings
from harmony_pipelines.web.guard import WebGuard, allowed_authorities

_POLL_MILLISECONDS = 2000
_SECONDS_TO_FINISH = 2


def main() -> int:
    """Serve until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workspace", type=Path, required=True, help="a workspace.yaml")
    parser.add_argument("--socket", type=int, nargs="+", required=True, help="open descriptors")
    parser.add_argument("--read-only", action="store_true", help="show everything, start nothing")
    given = parser.parse_args()
    settings = load_settings(os.environ)
    allowed = allowed_authorities(settings.ui_host, settings.ui_port, settings.ui_allowed_hosts)
    with (
        DagsterInstance.get() as instance,
        WorkspaceProcessContext(
            instance,
            WorkspaceFileTarget([str(given.workspace)]),
            version=__version__,
            read_only=given.read_only,
            code_server_log_level="warning",
        ) as context,
    ):
        instance.optimize_for_webserver(
            DEFAULT_DB_STATEMENT_TIMEOUT, DEFAULT_POOL_RECYCLE, DEFAULT_POOL_MAX_OVERFLOW
        )
        app = create_app_from_workspace_process_context(
            context, live_data_poll_rate=_POLL_MILLISECONDS, lifespan=_lifespan
        )
        config = uvicorn.Config(
            WebGuard(app, allowed),
            log_level="warning",
            proxy_headers=False,
            timeout_graceful_shutdown=_SECONDS_TO_FINISH,
        )
        uvicorn.Server(config).run([socket.socket(fileno=number) for number in given.socket])
    return 0


@contextlib.asynccontextmanager
async def _lifespan(_: object) -> AsyncIterator[None]:
    with contextlib.suppress(asyncio.CancelledError):  # how uvicorn ends it after Ctrl-C
        yield


if __name__ == "__main__":
    sys.exit(main())
