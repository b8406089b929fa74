"""A few daemon threads that share a list of work; they never keep a process from ending."""

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import NoReturn, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
Other = TypeVar("Other")


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


def both(here: Callable[[], Result], there: Callable[[], Other]) -> tuple[Result, Other]:
    """The results of two works done at the same time, the second in a thread of its own.

    What `here` raises is raised at once; what `there` raises, when both are over.
    """
    done: queue.SimpleQueue[Callable[[], Other]] = queue.SimpleQueue()

    def work() -> None:
        try:
            result = there()
            done.put(lambda: result)
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            done.put(partial(_raise, error))

    threading.Thread(target=work, name="beside", daemon=True).start()
    return here(), done.get()()


def _raise(error: BaseException) -> NoReturn:
    raise error
