"""A few daemon threads that share a list of work; they never keep a process from ending."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_pool(
    work: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Generator[tuple[Item, Result], None, None]:
    """Yield each item with its result as it is ready; what `work` raises is raised here.

    When the caller stops iterating, no further item is begun. The threads are daemons because
    `concurrent.futures` joins its own at exit, and one stuck call would then keep a cancelled
    run's process alive.
    """
    todo = iter(items)
    lock = threading.Lock()
    stop = threading.Event()
    done: queue.SimpleQueue[tuple[Item, Result] | BaseException | None] = queue.SimpleQueue()

    def take() -> list[Item]:
        with lock:
            return [] if stop.is_set() else list(islice(todo, 1))

    def worker() -> None:
        try:
            while taken := take():
                done.put((taken[0], work(taken[0])))
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            done.put(error)
        finally:
            done.put(None)

    for number in range(workers):
        threading.Thread(target=worker, name=f"pool-{number}", daemon=True).start()
    try:
        yield from _results(done, workers)
    finally:
        stop.set()


def _results(
    done: "queue.SimpleQueue[tuple[Item, Result] | BaseException | None]", running: int
) -> Iterator[tuple[Item, Result]]:
    while running:
        result = done.get()
        if result is None:
            running -= 1
        elif isinstance(result, BaseException):
            raise result
        else:
            yield result


def beside(work: Callable[[], Result], name: str = "beside") -> Future[Result]:
    """Begin a work in a daemon thread of that name; what it returns or raises is its result."""
    done: Future[Result] = Future()

    def run() -> None:
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            done.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return done
