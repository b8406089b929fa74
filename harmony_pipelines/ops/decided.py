"""What a run says of decisions that cannot be followed."""

from typing import TYPE_CHECKING, Any, Literal

from harmony_pipelines.metadata import table
from harmony_pipelines.runs import Context
from harmony_pipelines.settings import Settings

if TYPE_CHECKING:
    from harmony_pipelines.clients.catalogue import Catalogue

_LINES_LOGGED = 10


def say_strangers(
    context: Context, settings: Settings, store: "Catalogue", part: Literal["match", "cover"]
) -> dict[str, Any]:
    """Warn of the lines of decisions.yaml about no album of the library; metadata lists them."""
    from harmony_pipelines.clients import tables
    from harmony_pipelines.clients.watchlist import read_decisions

    decisions = read_decisions(settings.decisions_path)
    strangers = decisions.strangers(part, store.table(tables.beets_albums))
    if not strangers:
        return {}
    rows = [{"line": line, "album": key} for line, key in strangers]
    lines = ", ".join(f"{line} ({key})" for line, key in strangers[:_LINES_LOGGED])
    more = ", …" if len(strangers) > _LINES_LOGGED else ""
    context.log.warning(
        f"{settings.decisions_path}: below `{part}`, the library has no album that is named in "
        f"line {lines}{more}. Beets gives an album that is imported anew another id; "
        "`beet ls -a -f '$id $mb_albumid $albumartist - $album'` lists them."
    )
    return {f"{part} decisions for no album": table(rows, ("line", "album"), len(rows))}
