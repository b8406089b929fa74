"""What must be so in DAGSTER_HOME before a `dagster` command begins: room, and tables.

One process makes Dagster's tables in an empty DAGSTER_HOME; those beside it wait until they are.
Dagster lets several make them at once, which fails all but one, and does so before it reads any
code of ours. So `first_use.pth`, installed beside the package, calls this as Python begins.
"""

import fcntl
import os
import sys
from contextlib import suppress
from pathlib import Path

_MARK = "first-use"
"""A file in DAGSTER_HOME: a lock while it is empty, and filled once the tables are made."""

_FIRST_WORDS = 5
_OWNER_ONLY = 0o077


_LEAST_BYTES = 2 * 2**20
"""Without so much room Dagster cannot even note that a run began."""


def before_dagster() -> None:
    """Look at the home, and make the tables first, if this process is a `dagster` command.

    A home that Dagster could not write to is refused: Dagster's own words for it are a traceback.
    What Dagster writes there, logs among it, is for its owner only.
    """
    words = [word.rpartition("/")[2] for word in sys.orig_argv[:_FIRST_WORDS]]
    home = _home() if any(word.startswith("dagster") for word in words) else ""
    if not home:
        return
    os.umask(_OWNER_ONLY)
    refused = _refusal(Path(home))
    if refused:
        print(refused, file=sys.stderr, flush=True)
        os._exit(1)  # Python has not begun yet: an exception would be told as its own failure
    if not _is_made(Path(home)):
        from dagster import DagsterError
        from sqlalchemy.exc import SQLAlchemyError
        from yaml import YAMLError

        with suppress(OSError, DagsterError, SQLAlchemyError, YAMLError):  # Dagster will say it
            make_tables(Path(home))


def make_tables(home: Path) -> None:
    """Make Dagster's tables in its home, unless another process has or just does."""
    with (home / _MARK).open("a+", encoding="utf-8") as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
        if os.fstat(mark.fileno()).st_size:
            return
        import dagster as dg

        with dg.DagsterInstance.from_config(str(home)) as instance:
            instance.get_run_records(limit=1)
            instance.get_dynamic_partitions("artists")
            instance.all_instigator_state()
        mark.write("The tables are made.\n")


def _home() -> str:
    """DAGSTER_HOME, as Dagster finds it, if it is a folder."""
    home = os.environ.get("DAGSTER_HOME", "")
    if not home and Path(".env").exists():
        from dotenv import dotenv_values

        with suppress(OSError, ValueError):
            home = dotenv_values(".env").get("DAGSTER_HOME") or ""
    return home if Path(home).is_absolute() and Path(home).is_dir() else ""


def _is_made(home: Path) -> bool:
    mark = home / _MARK
    return mark.exists() and mark.stat().st_size > 0


def _refusal(home: Path) -> str:
    """Why Dagster could not write there, with what to do; empty if it could or need not."""
    with suppress(OSError):
        if "storage:" in (home / "dagster.yaml").read_text("utf-8", "replace"):
            return ""  # a database elsewhere
    found = os.statvfs(home)
    if found.f_bavail * found.f_frsize < _LEAST_BYTES:
        what = "its disk is full; make room and run again"
    elif not os.access(home, os.W_OK | os.X_OK):
        what = "it may not be written; allow it, or name another"
    else:
        return ""
    return f"Failed: DEPENDENCY_ERROR: Dagster's own storage in DAGSTER_HOME {home}: {what}."
