"""One process makes Dagster's tables in an empty DAGSTER_HOME; those beside it wait until they are.

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


def before_dagster() -> None:
    """Make the tables first if this process is a `dagster` command whose home lacks them."""
    words = [word.rpartition("/")[2] for word in sys.orig_argv[:_FIRST_WORDS]]
    home = any(word.startswith("dagster") for word in words) and _home()
    if home:
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
    """DAGSTER_HOME, as Dagster finds it, if it is a folder whose tables may lack."""
    home = os.environ.get("DAGSTER_HOME", "")
    if not home and Path(".env").exists():
        from dotenv import dotenv_values

        with suppress(OSError, ValueError):
            home = dotenv_values(".env").get("DAGSTER_HOME") or ""
    mark = Path(home) / _MARK
    is_made = mark.exists() and mark.stat().st_size
    return home if Path(home).is_absolute() and Path(home).is_dir() and not is_made else ""
