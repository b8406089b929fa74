"""Calls one function of the benchmarks in this process: `python -m benchmarks.worker MOD:FN JSON`.

Prints what the function returns as one line of JSON, with the most memory the process ever held.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """The most memory that this process has held resident."""
    lines = _STATUS.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def call_quietly(
    function: Callable[..., dict[str, Any]], environment: dict[str, str], arguments: dict[str, Any]
) -> dict[str, Any]:
    """Call a function in this process, which is nobody else's; what it logs is not shown."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(nowhere, stream)
    os.environ.clear()
    os.environ |= environment
    return {**function(**arguments), "peak_bytes": peak_bytes()}


def main() -> None:
    """Call, then tell."""
    module, _, function = sys.argv[1].partition(":")
    told = getattr(importlib.import_module(module), function)(**json.loads(sys.argv[2]))
    print(json.dumps({**told, "peak_bytes": peak_bytes()}), flush=True)


if __name__ == "__main__":
    main()
