"""A few albums of real files in a real catalogue, and the steps of a night's run over them."""

import io
import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.addresses import AllowedHosts
from harmony_pipelines.clients.beets_library import BeetsLibrary, LibrarySnapshot
from harmony_pipelines.clients.bounded_http import BoundedHttp, HttpLimits
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.clients.front_cover import NewCover
from harmony_pipelines.clients.images import ImageLimits
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.clients.turns import Turns
from harmony_pipelines.demo.covers import Cover, draw_cover
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.covers import Found, Plan, Wishes
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.paths import path_text
from harmony_pipelines.steps import compare
from harmony_pipelines.steps.download_covers import Downloader, DownloadLimits
from harmony_pipelines.steps.embed_covers import Embedding, stored_bytes
from harmony_pipelines.steps.file_work import Limits, Stores
from harmony_pipelines.steps.plan_covers import Planner, PlanOptions
from harmony_pipelines_tests.audio_files import replace_front, sample

GOOD = HttpLimits(connect_seconds=2, read_seconds=1, deadline_seconds=2, max_bytes=2 << 20)


def picture(seed: str = "a cover", edge: int = 300, image_format: str = "JPEG") -> bytes:
    """A drawn cover; other edges of the same seed show the same."""
    return draw_cover(Cover(seed, seed, "by nobody", (edge, edge), image_format))


def flat(edge: int, colour: str, image_format: str = "WEBP") -> bytes:
    """A picture of one colour, see-through where the colour says so."""
    from PIL import Image

    encoded = io.BytesIO()
    Image.new("RGBA", (edge, edge), colour).save(encoded, image_format)
    return encoded.getvalue()


@dataclass
class SmallLibrary:
    """Add albums, then run nights over them."""

    folder: Path
    server: SpotifyServer | None = None
    policy: str = "missing"
    covers: dict[str, str] = field(default_factory=dict)
    http_limits: HttpLimits = GOOD
    max_rewrite_bytes: int = 1 << 40
    max_undo_bytes: int = 1 << 40
    break_hard_links: bool = False
    now: datetime = datetime(2030, 1, 1, 4, tzinfo=UTC)
    over_after: int | None = None
    """How many times the run may ask whether it still is at work before it is not."""

    def __post_init__(self) -> None:
        self.music = self.folder / "music"
        self.music.mkdir()
        self.home = self.folder / "home"
        self.store = Catalogue.open(f"sqlite:///{self.home / 'harmony.db'}")
        self.undo_dir = self.home / "undo"
        self.stores = Stores(
            self.store,
            ContentStore(self.home / "covers"),
            ContentStore(self.undo_dir),
            self.home / "locks",
        )
        self.rows: dict[int, Row] = {}
        self.tracks: list[tuple[int, bytes]] = []
        self.runs = 0

    def close(self) -> None:
        self.store.close()

    def album(self, *samples: str, **known: Any) -> list[Path]:
        """An album of copies of samples; `image_url` makes it matched with a Spotify album."""
        number = len(self.rows) + 1
        folder = self.music / f"album {number}"
        folder.mkdir()
        image_url, verdict = known.pop("image_url", None), known.pop("verdict", "matched")
        nothing = dict.fromkeys(column.name for column in tables.beets_albums.columns)
        self.rows[number] = nothing | {"beets_album_id": number, "album": folder.name} | known
        if image_url is not None:
            moments = {"first_seen_at": "2026", "last_seen_at": "2026"}
            ids = {"artist_id": "artist", "album_id": f"spotify{number}"}
            self.store.save(tables.spotify_albums, [ids | moments | {"image_url": image_url}])
            match = {"beets_album_id": number, "album_id": ids["album_id"], "verdict": verdict}
            self.store.save(tables.album_matches, [match])
        files = [
            sample(name, folder, called=f"{n} {name}") for n, name in enumerate(samples, start=1)
        ]
        self.tracks += [(number, os.fsencode(file)) for file in files]
        return files

    def snapshot(self, deadline: Deadline) -> LibrarySnapshot:
        """What beets would have, with each file's size and time."""
        nothing = dict.fromkeys(column.name for column in tables.beets_tracks.columns)
        tracks: list[Row] = []
        for item, (album, path) in enumerate(self.tracks, start=1):
            told = os.stat(path) if os.path.isfile(path) else None  # noqa: PTH113, PTH116
            tracks.append(
                nothing
                | {"beets_item_id": item, "beets_album_id": album, "path": path_text(path)}
                | {"size": told and told.st_size, "mtime": told and told.st_mtime_ns}
            )
        return LibrarySnapshot(list(self.rows.values()), tracks, [])

    def plan(self, *albums: str, until: Deadline | None = None) -> Plan:
        """Snapshot and plan."""
        self.runs += 1
        compare.snapshot(cast(BeetsLibrary, self), self.store, Deadline.after(60), True)
        url = self.server.coverartarchive_url if self.server else "https://caa.invalid"
        wishes = Wishes(
            policy=self.policy,
            sources=("library", "coverartarchive", "spotify"),
            decisions=Decisions(cover=self.covers),
            coverartarchive_url=url,
            may_replace=stored_bytes(self.undo_dir) < self.max_undo_bytes,
        )
        options = PlanOptions(albums, break_hard_links=self.break_hard_links)
        until = until or Deadline.after(60)
        planner = Planner(self.store, self.run_id, until, self.guard, lambda: self.now)
        return planner.plan(wishes, options)

    @property
    def run_id(self) -> str:
        return f"run {self.runs}"

    def guard(self) -> None:
        """Whether the run is still at work, as Dagster would say."""
        if self.over_after is not None:
            self.over_after -= 1
            if self.over_after < 0:
                raise HarmonyError(ErrorCode.CONFLICT, Reason.RUN_OVER, "The run is over.")

    def find(self, plan: Plan, until: Deadline | None = None) -> dict[int, Found]:
        """Download."""
        hosts = AllowedHosts.parse(self.server.image_host if self.server else "archive.org")
        limits = DownloadLimits(
            ImageLimits(), 2 << 20, self.max_rewrite_bytes, 4, until or Deadline.after(60)
        )
        http = BoundedHttp(self.http_limits, hosts)
        turns = Turns(self.home / "locks" / "coverartarchive")
        downloader = Downloader(
            http, self.stores.covers, self.store, limits, turns, self.guard, lambda: self.now
        )
        return downloader.find(plan.albums)

    def embed(
        self, plan: Plan, found: dict[int, Found], until: Deadline | None = None
    ) -> Embedding:
        """Embed what was found."""
        work = Embedding(
            run_id=self.run_id,
            stores=self.stores,
            roots=(self.music,),
            limits=Limits(until or Deadline.after(60), self.max_rewrite_bytes, self.max_undo_bytes),
            guard=self.guard,
            break_hard_links=self.break_hard_links,
            undo_bytes=stored_bytes(self.undo_dir),
        )
        work.albums(plan.albums, found)
        return work

    def night(self, *albums: str) -> Embedding:
        """A whole run."""
        plan = self.plan(*albums)
        return self.embed(plan, self.find(plan))

    def results(self, run: int | None = None) -> list[Row]:
        """The rows of results of a run, of the last by default."""
        run_id = f"run {run or self.runs}"
        return self.store.table(tables.artwork_results, tables.artwork_results.c.run_id == run_id)


def image(library: SmallLibrary, seed: str = "a cover", edge: int = 300) -> str:
    """The address of a drawn cover on the library's server."""
    assert library.server
    added = library.server.catalogue.add_picture(picture(seed, edge))
    return f"{library.server.url}/image/{added}"


def front(file: Path) -> bytes | None:
    """The front cover in a file."""
    found = read_front(file)
    return found.data if found else None


def put(file: Path, data: bytes, edge: int = 300, mime: str = "image/jpeg") -> None:
    """Put a front cover into a file, as another program would."""
    replace_front(file, NewCover(data, mime, edge, edge))
