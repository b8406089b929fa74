"""Requests made over a month, against what they must be: the formulas of the design.

| | requests |
|---|---|
| first look | 1 + Σ of max(1, ⌈listed / 10⌉) over groups + bodies + further pages of 50 tracks |
| each later look | 1 if at most 10 were listed the last time, else one a group |
| a new release | 1 for its body, and one a further 50 tracks |
| a body that is due again | the same |

Which artists and bodies are due is read from the database before each run, not worked out anew.
"""

import math
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import sqlalchemy as sa

from benchmarks.bench import Bench
from benchmarks.home import Home
from benchmarks.measure import in_process
from benchmarks.spotify import AS_FAST_AS_POSSIBLE
from benchmarks.table import Row
from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.clients.catalogue import utc_text
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo.catalogue_data import Catalogue
from harmony_pipelines.demo.entities import Album
from harmony_pipelines.demo.spotify_server import SpotifyServer

GROUPS = ("album", "single")
_A_DAY = timedelta(days=1)
_PAGE, _TRACK_PAGE = 10, 50
_FORMAT = "%Y-%m-%dT%H:%M:%SZ"


def rows(bench: Bench) -> Iterator[Row]:
    """An app with pages of ten: the first fill, then day after day; new releases come meanwhile."""
    artists, days = bench.size(300, 16), bench.size(30, 3)
    home = Home(bench.place("requests"))
    environment = home.environment()
    told = in_process(a_month, environment, home=str(home.harmony), artists=artists, days=days)
    made, due = Counter(told["made"]), Counter(told["due"])
    ratio = made.total() / due.total()
    yield Row(
        f"requests made: {artists} artists, `development`, first fill and {days} days",
        "the formulas of design section 5",
        ratio, "1.00", made == due, f"{made.total():,}", f"{due.total():,}", 1,
    )  # fmt: skip


def a_month(home: str, artists: int, days: int) -> dict[str, Any]:
    """Run the job once a day; between runs all that is stored grows older."""
    catalogue = _catalogue(artists)
    job = defs.resolve_job_def("refresh_catalogue")
    ids = list(catalogue.artists)
    formulas = Formulas(catalogue)
    Path(home, "watchlist.yaml").write_text("".join(["artists:\n", *(f"  - {i}\n" for i in ids)]))
    with (
        SpotifyServer(catalogue) as server,
        closing(Store.open(f"sqlite:///{home}/harmony.db")) as store,
        dg.DagsterInstance.ephemeral() as instance,
    ):
        os.environ |= {
            "SPOTIPY_CLIENT_ID": server.client_id,
            "SPOTIPY_CLIENT_SECRET": server.client_secret,
            "HARMONY_SPOTIFY_API_URL": server.api_url,
            "HARMONY_SPOTIFY_ACCOUNTS_URL": server.accounts_url,
            "HARMONY_SPOTIFY_PROFILE": "development",
            **AS_FAST_AS_POSSIBLE,
        }
        for number in range(days):
            if number:
                _grow_older(store, _A_DAY)
            if number and number % 2 == 0:
                _release(catalogue, ids[number % len(ids)], f"News {number}")
            formulas.visit(ids if not number else _due(store))
            formulas.read(_bodies_due(store))
            while job.execute_in_process(instance=instance).output_for_node("refresh_artists")[
                "due"
            ]:
                pass  # a run takes 250 artists at most
        made = Counter(request.family for request in server.requests)
    made.pop("token", None)
    return {"made": made, "due": formulas.requests}


@dataclass
class Formulas:
    """What the looks at artists cost by the formulas, from what the server has."""

    catalogue: Catalogue
    requests: Counter[str] = field(default_factory=Counter)
    _listed: dict[str, int] = field(default_factory=dict)
    _bodies: set[str] = field(default_factory=set)

    def visit(self, artist_ids: list[str]) -> None:
        """Count one look at each."""
        for artist_id in artist_ids:
            albums = [a for a in self.catalogue.albums.values() if artist_id in a.artist_ids]
            before = self._listed.get(artist_id)
            self.requests["artists"] += before is None
            self.requests["artist_albums"] += _listings(albums, before)
            self._listed[artist_id] = len(albums)
            for album in albums:
                if album.album_id not in self._bodies:
                    self._bodies.add(album.album_id)
                    self.read([album.album_id])

    def read(self, album_ids: list[str]) -> None:
        """Count the body of each, with all its tracks."""
        for album_id in album_ids:
            pages = math.ceil(len(self.catalogue.albums[album_id].tracks) / _TRACK_PAGE)
            self.requests["albums"] += 1
            self.requests["album_tracks"] += max(0, pages - 1)


def _listings(albums: list[Album], listed_before: int | None) -> int:
    if listed_before is None:
        by_group = Counter(album.album_type for album in albums)
        return sum(max(1, math.ceil(by_group[group] / _PAGE)) for group in GROUPS)
    return max(1, math.ceil(len(albums) / _PAGE)) if listed_before <= _PAGE else len(GROUPS)


def _catalogue(artists: int) -> Catalogue:
    """Artists with few, more and many releases; some lately, most long ago."""
    catalogue, today = Catalogue(), datetime.now(UTC)
    for number in range(artists):
        artist_id = catalogue.add_artist(f"Artist {number}")
        for album in range((3, 8, 14, 25)[number % 4]):
            age = timedelta(days=(20, 200, 2000)[number % 3] + 90 * album)
            catalogue.add_album(
                artist_id,
                f"Record {album}",
                album_type=GROUPS[album % 2],
                release_date=f"{today - age:%Y-%m-%d}",
                tracks=60 if album == 2 else 2,
            )
    return catalogue


def _release(catalogue: Catalogue, artist_id: str, name: str) -> None:
    day = f"{datetime.now(UTC):%Y-%m-%d}"
    catalogue.add_album(artist_id, name, album_type="single", release_date=day, tracks=1)


def _due(store: Store) -> list[str]:
    now = utc_text(datetime.now(UTC))
    due = tables.refresh_state.c.next_due_at <= now
    return [row["artist_id"] for row in store.table(tables.refresh_state, due)]


def _bodies_due(store: Store) -> list[str]:
    album, now = tables.spotify_albums.c, utc_text(datetime.now(UTC))
    due = store.table(
        tables.spotify_albums, album.body_due_at <= now, album.fetched_at.is_not(None)
    )
    return [row["album_id"] for row in due]


def _grow_older(store: Store, by: timedelta) -> None:
    """Move every moment that is stored into the past: to the programs, time has gone by."""
    with store.writing() as connection:
        for table in tables.metadata.sorted_tables:
            for column in table.columns:
                if not column.name.endswith("_at"):
                    continue
                older = (
                    sa.func.strftime(_FORMAT, column, f"-{by.total_seconds():.0f} seconds")
                    if isinstance(column.type, sa.Text)
                    else column - by.total_seconds()
                )
                connection.execute(
                    sa.update(table).where(column.is_not(None)).values({column.name: older})
                )
