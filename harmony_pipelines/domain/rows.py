"""Reading table rows whose columns may be absent, null, or NaN."""

import json
import math
from collections.abc import Mapping
from functools import lru_cache
from numbers import Integral
from typing import Any, cast

Row = Mapping[str, Any]

_LONGEST_NUMBER = 18
_CACHED = 1 << 10


def text_in(row: Row, column: str) -> str:
    """The column as text without outer white space, empty if there is none."""
    value = row.get(column)
    if isinstance(value, str):
        return value.strip()
    number = _whole(value)
    return "" if number is None else str(number)


def number_in(row: Row, column: str) -> int | None:
    """The column as a whole number, None if it is not one."""
    value = row.get(column)
    if isinstance(value, str):
        is_number = value.isascii() and value.isdigit() and len(value) <= _LONGEST_NUMBER
        return int(value) if is_number else None
    return _whole(value)


def _whole(value: object) -> int | None:
    if value is None or type(value) is int:  # so is almost every one
        return value
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else None
    return int(value) if isinstance(value, Integral) else None


def artists_in(row: Row) -> tuple[tuple[str, str], ...]:
    """The `artists` column, `[{"id", "name"}, …]` as JSON text, as pairs of id and name."""
    return _artists(text_in(row, "artists"))


@lru_cache(_CACHED)
def _artists(text: str) -> tuple[tuple[str, str], ...]:
    """An artist's albums mostly have the same text, and stand beside each other."""
    try:
        listed: object = json.loads(text or "[]")
    except ValueError:
        return ()
    if not isinstance(listed, list):
        return ()
    entries = cast("list[object]", listed)
    named = [cast("Row", entry) for entry in entries if isinstance(entry, dict)]
    return tuple((text_in(entry, "id"), text_in(entry, "name")) for entry in named)
