"""A row of the table, and the table as Markdown."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_HEAD = ("what", "against", "ratio", "must be", "", "ours", "theirs", "medians of")
_FIGURES = (2, 5, 6, 7)
"""The columns that stand to the right."""


@dataclass(frozen=True)
class Row:
    """One comparison; `ours` and `theirs` are absolute and stand there for colour only."""

    what: str
    against: str
    ratio: float | None
    bound: str
    holds: bool
    ours: str
    theirs: str
    times: int


def at_most(  # noqa: PLR0913  a row has as many columns
    what: str, against: str, figures: Sequence[float], bound: float, *, times: int, unit: str = "s"
) -> Row:
    """A row whose ratio, ours to theirs, must not be above its bound."""
    ours, theirs = figures
    ratio = ours / theirs
    told = shown(ours, unit), shown(theirs, unit)
    return Row(what, against, ratio, f"≤ {bound:g}", ratio <= bound, *told, times)


def for_colour(
    what: str, against: str, figures: Sequence[float], *, times: int, unit: str = "s"
) -> Row:
    """A row without a bound, which says what lies between two others."""
    ours, theirs = figures
    told = shown(ours, unit), shown(theirs, unit)
    return Row(what, against, ours / theirs, "-", True, *told, times)


def shown(figure: float, unit: str) -> str:
    """A figure in seconds, milliseconds or MiB, or as a number."""
    if unit == "MiB":
        return f"{figure / 2**20:.0f} MiB"
    if unit == "s":
        return f"{figure * 1000:.0f} ms" if figure < 1 else f"{figure:.2f} s"
    return f"{figure:g}{f' {unit}' if unit else ''}"


def markdown(rows: Iterable[Row]) -> str:
    """The table, padded so that it can be read as it is."""
    cells = [_HEAD, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(_HEAD))]
    rule = [_rule(column, width) for column, width in enumerate(widths)]
    head, *lines = (_line(line, widths) for line in cells)
    return "\n".join([head, _line(rule, widths), *lines])


def _rule(column: int, width: int) -> str:
    return f"{'-' * (width - 1)}:" if column in _FIGURES else "-" * width


def _cells(row: Row) -> tuple[str, ...]:
    ratio = "-" if row.ratio is None else f"{row.ratio:.2f}"
    holds = "" if row.bound == "-" else "holds" if row.holds else "OVER"
    return (
        *(row.what, row.against, ratio, row.bound, holds, row.ours, row.theirs),
        str(row.times),
    )


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (
        cell.rjust(width) if column in _FIGURES else cell.ljust(width)
        for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
    )
    return f"| {' | '.join(padded)} |"
