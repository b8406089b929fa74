"""The files that people and their programs read: CSV, a page to sort, an Atom feed."""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from harmony_pipelines.clients.file_errors import speaking_of
from harmony_pipelines.clients.whole_files import sweep_temporary, write_pieces
from harmony_pipelines.domain.readable import counted, no_formula, readable, smaller_image, web_link

Row = Mapping[str, Any]

MISSING_COLUMNS = (
    "artist",
    "album",
    "title",
    "kind",
    "release_date",
    "total_tracks",
    "spotify_url",
    "artist_id",
    "album_id",
    "track_id",
    "mb_albumartistid",
    "mb_releasegroupid",
    "mb_albumid",
)
"""What is told of each release or track that is missing; ids of MusicBrainz where beets has them.

`title` is the track's where a track of an album that is there is missing, else the album's.
"""

ROWS_OF_A_PAGE = 20_000
"""As many as a browser still sorts at once."""

_ROWS_OF_A_PIECE = 5000
_PAGES = Path(__file__).parent / "pages"
_PAGE_COLUMNS = (*MISSING_COLUMNS[:7], "track_id")
_HEADINGS = ("Artist", "Title", "On the album", "Kind", "Released", "Tracks")
_SPOTIFY = "https://open.spotify.com"
_OWNER_ONLY = 0o700


def write_report(folder: Path, name: str, pieces: Iterable[str]) -> Path:
    """Put a report into the folder, whole or not at all; what is there already stays as it is."""
    path = folder / name
    with speaking_of(folder):
        folder.mkdir(_OWNER_ONLY, parents=True, exist_ok=True)
    with speaking_of(path):
        sweep_temporary(folder.iterdir())
        data = (piece.encode("utf-8", "replace") for piece in pieces)
        write_pieces(path, data, unless_same=True)
    return path


def missing_csv(rows: Iterable[Row]) -> Iterator[str]:
    """What is missing as CSV (RFC 4180, UTF-8), which no spreadsheet takes for formulas."""
    import pandas as pd

    head, rows = True, iter(rows)
    while (some := [*islice(rows, _ROWS_OF_A_PIECE)]) or head:
        cells = [[no_formula(readable(row[name])) for name in MISSING_COLUMNS] for row in some]
        frame = pd.DataFrame(cells, columns=list(MISSING_COLUMNS), dtype=object)
        yield frame.to_csv(index=False, header=head, lineterminator="\r\n")
        head = False


@dataclass
class Passed:
    """What a page says of rows that went by: the first ones, and how many there were."""

    first: list[Row] = field(default_factory=list)
    albums: int = 0
    tracks: int = 0
    artists: set[str] = field(default_factory=set)

    def by(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows themselves, each noted as it goes by."""
        for row in rows:
            if len(self.first) < ROWS_OF_A_PAGE:
                self.first.append(row)
            self.artists.add(row["artist_id"])
            self.tracks += bool(row["track_id"])
            self.albums += not row["track_id"]
            yield row


def missing_page(passed: Passed) -> Iterator[str]:
    """What is missing as a page that needs no other file and asks nobody anything."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined
    from markupsafe import Markup

    pages = Environment(loader=FileSystemLoader(_PAGES), autoescape=True, undefined=StrictUndefined)
    pages.filters["counted"] = counted
    style, script = (
        _PAGES.joinpath(f"missing.{kind}").read_text("utf-8") for kind in ("css", "js")
    )
    return pages.get_template("missing.html").generate(
        style=Markup(style),
        style_hash=_hash(style),
        script=Markup(script),
        script_hash=_hash(script),
        headings=_HEADINGS,
        rows=({name: readable(row[name]) for name in _PAGE_COLUMNS} for row in passed.first),
        shown=len(passed.first),
        albums=passed.albums,
        tracks=passed.tracks,
        artists=len(passed.artists),
        more=passed.albums + passed.tracks > len(passed.first),
    )


def news_feed(rows: Iterable[Row]) -> str:
    """New releases as an Atom feed; an entry's id depends on artist and album alone."""
    from feedgenerator import Atom1Feed
    from markupsafe import escape

    class Feed(Atom1Feed):
        def latest_post_date(self) -> datetime:
            """Of an empty feed too a moment that is always the same."""
            return super().latest_post_date() if self.num_items() else _NEVER

    feed = Feed(
        title="New releases",
        link=_SPOTIFY,
        description="What appeared of the artists you follow.",
        author_name="Harmony Pipelines",
        feed_guid=_id_of("new-releases"),
    )
    for row in rows:
        artist, name = readable(row["artist_name"]), readable(row["name"])
        kind, date = readable(row["album_type"]), readable(row["release_date"])
        seen = datetime.fromisoformat(row["first_seen_at"]).astimezone(UTC)
        image = web_link(row["image_url"], "")
        picture = f'<p><img alt="" src="{escape(smaller_image(image))}"></p>' if image else ""
        feed.add_item(
            title=f"{artist} - {name}",
            link=spotify_link("album", row["album_id"], row["spotify_url"]),
            description=f"{picture}<p>{escape(kind)}, {escape(date)}</p>",
            author_name=artist or "?",
            unique_id=_id_of(f"artist/{row['artist_id']}/album/{row['album_id']}"),
            pubdate=seen,
            updateddate=seen,
            categories=[kind] if kind else [],
        )
    written = StringIO()
    feed.write(written, "utf-8")
    return written.getvalue()


def spotify_link(kind: str, spotify_id: str, url: object = None) -> str:
    """Where Spotify shows it: the address that was given, if it is one, else that of its id."""
    return web_link(url, f"{_SPOTIFY}/{kind}/{spotify_id}")


_NEVER = datetime(1970, 1, 1, tzinfo=UTC)


def _id_of(what: str) -> str:
    return f"urn:uuid:{uuid5(NAMESPACE_URL, f'{_SPOTIFY}/{what}')}"


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
