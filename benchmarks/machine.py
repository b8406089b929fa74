"""What the figures were measured on: kind of machine, versions, date; no names, no paths."""

import os
import platform
import re
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

_PACKAGES = ("dagster", "dagster-webserver", "sqlalchemy", "spotipy", "beets", "mutagen", "pillow")


def described() -> list[str]:
    """Lines of Markdown."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    packages = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    return [
        f"- {datetime.now(UTC):%Y-%m-%d}, harmony-pipelines {version('harmony-pipelines')}",
        f"- {os.cpu_count()} cores ({_processor()}), {memory:.0f} GiB of memory, "
        f"{platform.system()} {platform.release().split('-')[0]}",
        f"- Python {platform.python_version()}, SQLite {_sqlite()}, {packages}",
    ]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    found = re.search("model name\\s*: (.*)", info.read_text()) if info.exists() else None
    return found.group(1).strip() if found else platform.machine()


def _sqlite() -> str:
    import sqlite3

    return sqlite3.sqlite_version
