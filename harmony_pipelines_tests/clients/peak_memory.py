"""The most memory that this process has held, for tests that run in a process of their own."""

import resource
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_mib() -> float:
    """In MiB; Linux hands `ru_maxrss` down from the process that started this one, VmHWM not."""
    if _STATUS.exists():
        lines = _STATUS.read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
