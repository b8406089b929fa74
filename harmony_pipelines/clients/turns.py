"""One after the other, and not too fast: for a server that asks everybody here to go easy on it."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

from harmony_pipelines.clients.file_errors import speaking_of
from harmony_pipelines.domain.deadline import Deadline

Pace = Callable[[Deadline], AbstractContextManager[None]]
"""Goes around each request: waits until it may begin, at most until the deadline."""

_LOOK_AGAIN_S = 0.02


class Turns:
    """Turns that all threads and processes of this machine take one after the other.

    Within a turn any number of requests may be made, each begun at least `gap_seconds` after the
    last one ended, in whichever process that was. The file's lock goes with its process, however
    that ends; its content is the moment of the last request.
    """

    def __init__(self, path: Path, gap_seconds: float = 1.0) -> None:
        self._path = path
        self._gap_seconds = gap_seconds

    @contextmanager
    def turn(self, deadline: Deadline) -> Iterator[Pace]:
        """Wait for one's turn, at most until the deadline; gives the pace of its requests."""
        with speaking_of(self._path):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            _lock(handle, deadline)
            self._wait(handle, deadline)  # here, so that it is not taken from a request's own time
            yield partial(self._request, handle)
        finally:
            os.close(handle)

    @contextmanager
    def _request(self, handle: int, deadline: Deadline) -> Iterator[None]:
        self._wait(handle, deadline)
        try:
            yield
        finally:
            with speaking_of(self._path):
                os.pwrite(handle, f"{time.time():020.6f}".encode(), 0)

    def _wait(self, handle: int, deadline: Deadline) -> None:
        """Wait for what is left of the gap; never more than it, should the clock go backwards."""
        try:
            last = float(os.pread(handle, 20, 0))
        except ValueError:  # nobody was here before
            last = 0.0
        left = last + self._gap_seconds - time.time()
        time.sleep(deadline.limit(min(max(0.0, left), self._gap_seconds)))
        deadline.check()


def _lock(handle: int, deadline: Deadline) -> None:
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(deadline.limit(_LOOK_AGAIN_S))
        else:
            return
