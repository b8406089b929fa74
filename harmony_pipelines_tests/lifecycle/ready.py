"""A process that has everything imported and forks one `dagster` command for each order.

So a test can afford to kill a hundred of them. Orders come as lines of JSON: the command's words
and the file for what it prints. The answers are its pid and, when it is over, its exit code.
"""

import importlib
import json
import os
import pkgutil
import sys
from types import ModuleType

import alembic.command
import mediafile
import spotipy
from dagster._cli import main as dagster_main  # the same as the `dagster` command

from harmony_pipelines import clients, definitions, domain, steps
from harmony_pipelines_tests.lifecycle.dev_process import nobodys_environment

_NEEDED_LATER = (alembic.command, mediafile, spotipy, definitions, nobodys_environment)


def _import_all_of(package: ModuleType) -> None:
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        if not found.ispkg:
            importlib.import_module(found.name)


def _command(words: list[str], log: str) -> None:
    output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    sys.argv = ["dagster", *words]
    try:
        dagster_main()
    except SystemExit as ending:
        sys.stdout.flush()
        os._exit(int(ending.code or 0))
    finally:
        os._exit(1)


def main() -> None:
    """Obey until the orders end."""
    for package in (clients, steps, domain):
        _import_all_of(package)
    for words, log in map(json.loads, sys.stdin):
        pid = os.fork()
        if pid == 0:
            _command(words, log)
        print(json.dumps(pid), flush=True)
        print(json.dumps(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])), flush=True)


if __name__ == "__main__":
    main()
