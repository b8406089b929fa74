"""The simulated time, which only waiting moves, and the process that lives in it."""

import mmap
import struct
from pathlib import Path

_NOW, _PID = struct.Struct("d"), struct.Struct("q")


class Clock:
    """A moment in seconds since 1970 and a process id, seen by several processes at once."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_NOW.size + _PID.size))
        with path.open("r+b") as file:
            self._shared = mmap.mmap(file.fileno(), 0)

    @property
    def now(self) -> float:
        return _NOW.unpack_from(self._shared)[0]

    @now.setter
    def now(self, moment: float) -> None:
        _NOW.pack_into(self._shared, 0, moment)

    @property
    def pid(self) -> int:
        """The process of the run that is going on; 0 for none."""
        return _PID.unpack_from(self._shared, _NOW.size)[0]

    @pid.setter
    def pid(self, pid: int) -> None:
        _PID.pack_into(self._shared, _NOW.size, pid)
