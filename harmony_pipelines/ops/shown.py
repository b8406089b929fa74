"""What a person sees of artwork: outcomes, pictures before and after, what to decide."""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from harmony_pipelines.metadata import Markup, cell, table

if TYPE_CHECKING:
    from harmony_pipelines.clients.catalogue import Row
    from harmony_pipelines.clients.content_store import ContentStore
    from harmony_pipelines.clients.images import ImageLimits

SHOWN_ALBUMS = 20
"""The most changed albums whose pictures a run keeps in its event log."""

_EDGE = 64
_SHOWN_CANDIDATES = 3
_REVIEWED = ("unsure", "ambiguous")


def outcomes(
    rows: Iterable[Mapping[str, Any]], more: Mapping[tuple[str, str], int]
) -> dg.MetadataValue:
    """How many files ended how and why: `rows` of results, and counts that have no rows."""
    counts = Counter((row["status"], row["reason"] or row["source"] or "") for row in rows)
    counts.update(more)
    found = [
        {"outcome": status, "reason": reason, "files": number}
        for (status, reason), number in sorted(counts.items())
        if number
    ]
    return table(found, ("outcome", "reason", "files"), len(found))


def before_and_after(
    rows: Iterable["Row"],
    albums: Mapping[int, str],
    before: "ContentStore",
    after: "ContentStore",
    limits: "ImageLimits",
) -> dg.MetadataValue:
    """The front covers that albums had and have, small; of each album its first changed file.

    `rows` are rows of results; their pictures lie in the two stores by SHA-256. `albums` has the
    names by beets id.
    """
    first: dict[int, Row] = {}
    for row in rows:
        first.setdefault(row["beets_album_id"], row)
    shown = [
        {
            "album": albums.get(album_id, album_id),
            "before": _picture(before, row["old_sha256"], limits),
            "after": _picture(after, row["sha256"], limits),
        }
        for album_id, row in list(first.items())[:SHOWN_ALBUMS]
    ]
    return table(shown, ("album", "before", "after"), len(first))


def review(rows: Iterable["Row"]) -> dg.MetadataValue:
    """The matches that wait for the user, each with the line that settles it.

    `rows` are rows of `album_matches` with those of `beets_albums`. The line goes below `match:`
    of decisions.yaml: the library album, and its first candidate.
    """
    waiting = [row for row in rows if row["verdict"] in _REVIEWED]
    shown = [
        {
            "album": f"{row['albumartist'] or ''} - {row['album'] or ''}",
            "verdict": row["verdict"],
            "why": row["message"],
            "candidates": _candidates(json.loads(row["candidates"] or "[]")),
            "below match: in decisions.yaml": Markup(f"`{line_to_paste(row)}`"),
        }
        for row in waiting
    ]
    columns = ("album", "verdict", "why", "candidates", "below match: in decisions.yaml")
    return table(shown, columns, len(waiting))


def line_to_paste(row: "Row") -> str:
    """The line of `match` that names the best candidate, or `never` where there is none."""
    candidates = json.loads(row["candidates"] or "[]")
    album = str(row["mb_albumid"] or row["beets_album_id"])
    chosen = candidates[0]["album_id"] if candidates else "never"
    return f"{_scalar(album)}: {_scalar(chosen)}"


def _scalar(text: str) -> str:
    """Text as YAML reads it back: a zero in front would be lost, other signs could be markup."""
    plain = text.replace("-", "").isalnum() and text.isascii()
    is_odd_number = text.isdigit() and text != str(int(text))
    return text if plain and not is_odd_number else json.dumps(text).replace("`", "")


def _candidates(candidates: Iterable[Mapping[str, Any]]) -> Markup:
    named = (
        f"[{cell(each['name'] or each['album_id'])}]"
        f"(https://open.spotify.com/album/{each['album_id']}) "
        f"{cell(each['release_date'])} {each['score']:.2f}"
        for each, _ in zip(candidates, range(_SHOWN_CANDIDATES), strict=False)
    )
    return Markup("; ".join(named))


def _picture(store: "ContentStore", sha256: str | None, limits: "ImageLimits") -> Markup:
    from harmony_pipelines.clients.images import preview
    from harmony_pipelines.domain.errors import HarmonyError

    if not sha256:
        return Markup("none")
    try:
        small = preview(store.get(sha256), _EDGE, limits)
    except HarmonyError as error:  # a picture of a kind or size that we would not embed
        return Markup(cell(f"not shown: {error.reason}"))
    return Markup(f"![](data:image/jpeg;base64,{base64.b64encode(small).decode()})")
