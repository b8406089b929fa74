"""What the UI shows of a step: numbers that plot over time and tables to read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from harmony_pipelines.domain.readable import readable, smaller_image
from harmony_pipelines.last_word import one_line, say_last

SHOWN_ROWS = 50
"""Rows of a table that a run keeps in its event log; the whole table is in the database."""

_LONGEST_CELL = 600
_MARKUP = str.maketrans({character: f"\\{character}" for character in "\\`*_[]<>|#~"})


class Markup(str):
    """Markdown of our own making, in which every value from outside is a `cell`."""

    __slots__ = ()


def cell(value: object) -> str:
    """One value as text that Markdown shows as it is: no markup, no line break, no HTML."""
    if isinstance(value, Markup):
        return value
    text = "" if value is None else str(value)
    if len(text) > _LONGEST_CELL:
        text = f"{text[:_LONGEST_CELL]}…"
    return one_line(text).translate(_MARKUP).strip()


def table(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str], whole: int | None = None
) -> dg.MarkdownMetadataValue:
    """The first rows as a Markdown table; `whole` is how many there are in all."""
    shown = [row for row, _ in zip(rows, range(SHOWN_ROWS), strict=False)]
    lines = [
        " | ".join(["", *columns, ""]).strip(),
        " | ".join(["", *("---" for _ in columns), ""]).strip(),
        *(" | ".join(["", *(cell(row.get(c)) for c in columns), ""]).strip() for row in shown),
    ]
    if whole is not None and whole > len(shown):
        lines += ["", f"… and {whole - len(shown)} more in the database."]
    return dg.MetadataValue.md("\n".join(lines) if shown else "none")


def picture(url: str | None, caption: str = "") -> dg.MarkdownMetadataValue:
    """A small picture from the web, over a caption that is Markdown; the browser fetches it."""
    address = smaller_image(readable(url))
    is_one = address.startswith(("https://", "http://")) and not set(address) & set(" ()<>\\")
    shown = f"![]({address})" if is_one else ""
    return dg.MetadataValue.md("\n\n".join(filter(None, (shown, caption))) or "none")


def materialised(
    asset: str, metadata: Mapping[str, Any], partition: str | None = None
) -> dg.AssetMaterialization:
    """The event that says that an asset's rows were committed."""
    return dg.AssetMaterialization(asset_key=asset, partition=partition, metadata=dict(metadata))


def done(asset: str, metadata: Mapping[str, Any]) -> dg.MaterializeResult:
    """The result of an asset that was made by itself; on the CLI its numbers are the last line."""
    numbers = [f"{name} {value}" for name, value in metadata.items() if isinstance(value, int)]
    say_last(f"{asset}: {', '.join(numbers) or 'up to date'}.")
    return dg.MaterializeResult(asset_key=asset, metadata=metadata)
