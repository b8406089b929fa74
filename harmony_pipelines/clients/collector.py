"""Python's collector of circular garbage, kept from looking through millions of rows."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def collected_rarely(objects: int = 50_000) -> Iterator[None]:
    """Rows that pass by are never circular, and to look for it is a quarter of a report's time.

    So many `objects` may wait to be looked through: by default some megabytes.
    """
    before = gc.get_threshold()
    gc.set_threshold(max(objects, before[0]) if before[0] else 0, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
