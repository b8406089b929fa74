"""Name look-ups that can be waited for with a limit and that never keep a process alive."""

import socket
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

LookUp = Callable[[str, int], Sequence[str]]
"""The addresses of a host and port; raises OSError when there are none."""


def system_look_up(host: str, port: int) -> Sequence[str]:
    """The addresses that this machine's resolver gives."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(answer[4][0]) for answer in answers))


class Resolver:
    """Looks names up, each in a daemon thread of its own, and waits no longer than asked to.

    A look-up cannot be interrupted. So that one that hangs stays alone, all who ask for a name
    while it is being looked up wait for the same thread, and at most `at_once` names are looked up
    at a time; a further name waits for its turn within its own limit. Daemon threads, because the
    threads of a pool are joined when the process wants to end.
    """

    def __init__(self, look_up: LookUp = system_look_up, at_once: int = 32) -> None:
        self._look_up = look_up
        self._turns = threading.BoundedSemaphore(at_once)
        self._lock = threading.Lock()
        self._under_way: dict[tuple[str, int], Future[Sequence[str]]] = {}

    def addresses(self, host: str, port: int, seconds: float, deadline: Deadline) -> Sequence[str]:
        """The addresses of the host, at least one, within `seconds` and the deadline."""
        limit = deadline.sooner(seconds, f"looking up {host}")
        try:
            answer = self._answer(host, port, limit).result(limit.left())
        except TimeoutError as error:
            deadline.check()
            raise _unresolved(host, f"gave no answer in {seconds:g} s") from error
        except (OSError, UnicodeError) as error:
            raise _unresolved(host, f"failed: {error}") from error
        if not answer:
            raise _unresolved(host, "found no address")
        return answer

    def _answer(self, host: str, port: int, limit: Deadline) -> Future[Sequence[str]]:
        key = (host, port)
        with self._lock:
            if key in self._under_way:
                return self._under_way[key]
        if not self._turns.acquire(timeout=limit.left()):
            raise TimeoutError
        with self._lock:
            if key in self._under_way:  # another asked for it while this one waited for its turn
                self._turns.release()
                return self._under_way[key]
            future = self._under_way[key] = Future()
        threading.Thread(target=self._run, args=(key, future), daemon=True).start()
        return future

    def _run(self, key: tuple[str, int], future: Future[Sequence[str]]) -> None:
        try:
            future.set_result(self._look_up(*key))
        except (OSError, UnicodeError) as error:
            future.set_exception(error)
        finally:
            self._finish(key)

    def _finish(self, key: tuple[str, int]) -> None:
        with self._lock:
            del self._under_way[key]
        self._turns.release()


def _unresolved(host: str, what: str) -> HarmonyError:
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.NAME_RESOLUTION,
        f"Looking up {host} {what}. Check the name and this machine's DNS.",
        host=host,
    )
