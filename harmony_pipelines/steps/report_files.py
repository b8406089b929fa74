"""Write the reports that people read from the tables, into HARMONY_HOME/reports."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row, utc_text
from harmony_pipelines.clients.collector import collected_rarely
from harmony_pipelines.clients.reports import (
    Passed,
    missing_csv,
    missing_page,
    news_feed,
    spotify_link,
    write_report,
)
from harmony_pipelines.domain.matching import Verdict
from harmony_pipelines.domain.titles import artist_key

FEED_REACHES_BACK = timedelta(days=90)
"""Counted from the latest release seen: no clock that jumps empties the feed."""

_MUSICBRAINZ_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@collected_rarely()
def write_missing(store: Catalogue, folder: Path) -> list[Path]:
    """`missing_from_library` as CSV and as a page; what is hidden is not in them."""
    passed = Passed()
    listed = missing_csv(passed.by(missing_rows(store)))
    return [
        write_report(folder, "missing_from_library.csv", listed),
        write_report(folder, "missing_from_library.html", missing_page(passed)),
    ]


def write_news(store: Catalogue, folder: Path) -> list[Path]:
    """`new_releases` as an Atom feed, the latest first, however many came at once."""
    return [write_report(folder, "new_releases.atom", [news_feed(_news(store))])]


def rewrite_reports(store: Catalogue, folder: Path) -> None:
    """Write again the reports that are there, so that they name nothing that was forgotten."""
    for name, write in (
        ("new_releases.atom", write_news),
        ("missing_from_library.csv", write_missing),
    ):
        if (folder / name).exists():
            write(store, folder)


def missing_rows(store: Catalogue) -> Iterator[Row]:
    """What is missing, by artist and date, as `MISSING_COLUMNS` of the reports name it."""
    missing, albums = tables.missing_from_library, tables.spotify_albums
    of_album = (albums.c.artist_id == missing.c.artist_id) & (
        albums.c.album_id == missing.c.album_id
    )
    found = store.each(
        sa.select(missing, sa.func.coalesce(albums.c.name, missing.c.name).label("album"))
        .outerjoin(albums, of_album)
        .where(missing.c.hidden_reason.is_(None))
        .order_by(missing.c.artist_name, missing.c.release_date, *missing.primary_key)
    )
    artists, copies = _musicbrainz_artists(store), _copies(store)
    for row in found:
        yield {
            **row,
            "artist": row["artist_name"],
            "title": row["name"],
            "kind": f"track of {row['album_type']}" if row["track_id"] else row["album_type"],
            "spotify_url": _link(row),
            "mb_albumartistid": artists.get(artist_key(row["artist_name"] or "")),
            "mb_albumid": None,
            "mb_releasegroupid": None,
            **copies.get(row["album_id"], {}),
        }


def _link(row: Row) -> str:
    kind = "track" if row["track_id"] else "album"
    return spotify_link(kind, row["track_id"] or row["album_id"], row["spotify_url"])


def _news(store: Catalogue) -> list[Row]:
    news = tables.new_releases
    shown = (news.c.hidden_reason.is_(None), news.c.name.is_not(None))
    [last] = store.rows(sa.select(sa.func.max(news.c.first_seen_at).label("at")).where(*shown))
    if last["at"] is None:
        return []
    since = utc_text(datetime.fromisoformat(last["at"]) - FEED_REACHES_BACK)
    return store.rows(
        sa.select(news)
        .where(*shown, news.c.first_seen_at >= since)
        .order_by(
            news.c.first_seen_at.desc(),
            news.c.release_date.desc(),
            news.c.artist_id,
            news.c.album_id,
        )
    )


def _musicbrainz_artists(store: Catalogue) -> dict[str, str]:
    """The MusicBrainz id that the library has for an artist, by the artist's key; the usual one."""
    albums = tables.beets_albums.c
    found = store.rows(
        sa.select(albums.albumartist, albums.mb_albumartistid).where(
            albums.mb_albumartistid.is_not(None)
        )
    )
    ids: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in found:
        if _MUSICBRAINZ_ID.fullmatch(row["mb_albumartistid"]):
            ids[artist_key(row["albumartist"] or "")][row["mb_albumartistid"]] += 1
    return {key: counts.most_common(1)[0][0] for key, counts in ids.items() if key}


def _copies(store: Catalogue) -> dict[str, Row]:
    """The MusicBrainz ids of the library's copy of an album, by the album's id on Spotify."""
    albums, matches = tables.beets_albums, tables.album_matches
    found = store.rows(
        sa.select(matches.c.album_id, albums.c.mb_albumid, albums.c.mb_releasegroupid)
        .join(albums, albums.c.beets_album_id == matches.c.beets_album_id)
        .where(matches.c.verdict == str(Verdict.MATCHED))
        .order_by(albums.c.beets_album_id.desc())
    )
    return {
        row["album_id"]: {name: row[name] for name in ("mb_albumid", "mb_releasegroupid")}
        for row in found
    }
