"""Covers into files: against beets, against the disk, and the second run over them.

The files are as long as short songs. Over tones of a few kilobytes only what a file costs would be
measured, and of what a byte costs nothing: copying, hashing and syncing, for us as for the others.
Longer ones would take the whole past five minutes, most of it for making files as they were.
"""

import io
import os
import random
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3

from benchmarks.bench import Bench
from benchmarks.data import make_beets_database
from benchmarks.home import Home
from benchmarks.measure import in_fork, in_turn, run
from benchmarks.songs import song
from benchmarks.table import Row, at_most, for_colour

FORMATS = ("mp3", "flac", "m4a", "opus")
TRACKS_AN_ALBUM = 10
COVER_BYTES = 200_000
SONG_BYTES = 2 << 20
_BLOCK = 1 << 18
_STEPS = ("plan_covers", "download_covers", "embed_covers")


def rows(bench: Bench) -> Iterator[Row]:
    """The op `embed_covers`, with its syncing and verifying, over the album's own artwork."""
    library = _Library(bench, bench.size(1000, 120))
    firsts: list[float] = []
    seconds: list[float] = []

    def ours() -> float:
        library.renew()
        first = in_fork(embed, library.environment, files=library.files)
        firsts.append(sum(first["steps"].values()))
        second = in_fork(embed, library.environment, files=0)
        seconds.append(sum(second["steps"].values()))
        return first["steps"]["embed_covers"]

    op, beets, floor = in_turn(bench.times, ours, library.beets, library.floor)
    what = (
        f"embedding a {COVER_BYTES // 1000} KB cover in {library.files:,} files of "
        f"{SONG_BYTES >> 20} MiB, inside the op"
    )
    yield at_most(
        what, "one `beet embedart` process over the same files, start-up excluded",
        [op, beets], 1.25, times=bench.times,
    )  # fmt: skip
    yield at_most(
        "the same", "copy + fsync + rename of the same files", [op, floor], 2.0, times=bench.times
    )
    some = library.files // 10
    figures = in_turn(
        bench.times,
        lambda: library.floor(some, is_compared=True),
        lambda: library.floor(some),
    )
    yield for_colour(
        f"copy + fsync + rename of {some} files with what undo to the byte and `beet mv` need at "
        "least: the new file read back and compared, and BLAKE3 of both and of the audio",
        "copy + fsync + rename of the same files",
        figures, times=bench.times,
    )  # fmt: skip
    [first, second] = _medians(firsts, seconds)
    yield at_most(
        "second run over them, all ops of `embedded_artwork`", "first run",
        [second, first], 0.05, times=bench.times,
    )  # fmt: skip


def _medians(*figures: list[float]) -> list[float]:
    import statistics

    return [statistics.median(each) for each in figures]


@dataclass
class _Library:
    """A beets library of real files that can be made as new as it was."""

    bench: Bench
    files: int

    def __post_init__(self) -> None:
        self._pristine = self.bench.place("covers-pristine")
        self._home = self.bench.folder / "covers"
        music = self._home / "beets" / "music"
        cover = _cover()
        songs = {suffix: song(suffix, SONG_BYTES) for suffix in FORMATS}
        paths: list[list[Path]] = []
        for album in range(self.files // TRACKS_AN_ALBUM):
            folder = self._pristine / "music" / f"Record {album}"
            folder.mkdir(parents=True)
            (folder / "cover.jpg").write_bytes(cover)
            paths.append([])
            for track in range(TRACKS_AN_ALBUM):
                suffix = FORMATS[track % len(FORMATS)]
                file = folder / f"{track + 1:02}.{suffix}"
                file.write_bytes(songs[suffix])
                paths[-1].append(music / folder.name / file.name)
        database = self._pristine / "library.db"
        make_beets_database(database)
        _fill(database, paths)
        config = f"plugins: embedart\nlibrary: {self._home}/beets/library.db\ndirectory: {music}\n"
        (self._pristine / "config.yaml").write_text(config)
        self.environment: Mapping[str, str] = {}

    def renew(self) -> None:
        """Files without covers, and a home that knows nothing of them."""
        home = Home(self.bench.place("covers"))
        shutil.copytree(self._pristine, home.library.parent)
        os.sync()  # what was written just now is not ours to wait for
        self.environment = home.environment(HARMONY_ARTWORK_SOURCES="library")

    def beets(self) -> float:
        """`beet embedart` over all albums, less what it takes over none."""
        self.renew()
        folder = str(self._home / "beets")
        environment = {**os.environ, "BEETSDIR": folder}
        beet = [str(Path(shutil.which("python", path=_bin()) or "python").with_name("beet"))]
        start_up = run([*beet, "embedart", "-y", "id:0"], environment).wall_s
        return run([*beet, "embedart", "-y"], environment).wall_s - start_up

    def floor(self, most: int | None = None, *, is_compared: bool = False) -> float:
        """What the disk takes: each file copied, synced, renamed over itself; no folder synced.

        They are the files as ours or beets left them: what they wrote has to be written.
        """
        if not self._home.exists():
            self.renew()
        files = sorted(self._home.glob("beets/music/*/[0-9]*"))[:most]
        os.sync()
        began = time.perf_counter()
        for file in files:
            copy = file.with_name(f".{file.name}")
            with file.open("rb") as source, copy.open("xb") as target:
                shutil.copyfileobj(source, target)
                target.flush()
                os.fsync(target.fileno())
            if is_compared:
                _compare_and_hash(file, copy)
            copy.replace(file)
        return time.perf_counter() - began


def embed(files: int) -> dict[str, Any]:
    """Run `embed_artwork`; the seconds of each op, as Dagster logged them."""
    import dagster as dg

    from harmony_pipelines.clients import tables
    from harmony_pipelines.clients.catalogue import Catalogue
    from harmony_pipelines.definitions import defs
    from harmony_pipelines.settings import load_settings

    job = defs.resolve_job_def("embed_artwork")
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(instance=instance)
        stats = instance.get_run_step_stats(result.run_id)
    store = Catalogue.open(load_settings().database_url)
    done = tables.artwork_results.c
    embedded = store.count(
        tables.artwork_results, done.run_id == result.run_id, done.status == "embedded"
    )
    if embedded != files:
        raise RuntimeError(f"{embedded} files got a cover, not {files}")
    took = {
        step.step_key.split(".")[-1]: (step.end_time or 0) - (step.start_time or 0)
        for step in stats
    }
    return {"steps": {name: took[name] for name in _STEPS}}


def _compare_and_hash(one: Path, other: Path) -> None:
    whole_one, whole_other, sound = blake3(), blake3(), blake3()
    with one.open("rb", 0) as old, other.open("rb", 0) as new:
        while block := old.read(_BLOCK):
            its_twin = new.read(_BLOCK)
            if block != its_twin:
                raise RuntimeError(f"{other} is no copy of {one}")
            whole_one.update(block)
            whole_other.update(its_twin)
            sound.update(block)


def _bin() -> str:
    import sys

    return str(Path(sys.executable).parent)


def _fill(database: Path, albums: list[list[Path]]) -> None:
    """What an import would have made of the files; beets itself takes a minute for it."""
    import sqlite3
    from contextlib import closing

    with closing(sqlite3.connect(database)) as connection, connection:
        for number, files in enumerate(albums, 1):
            art = os.fsencode(files[0].with_name("cover.jpg"))
            connection.execute(
                "INSERT INTO albums (id, album, albumartist, artpath) VALUES (?, ?, ?, ?)",
                (number, f"Record {number}", "Somebody", art),
            )
            connection.executemany(
                "INSERT INTO items (path, album_id, title, format, mtime) VALUES (?, ?, ?, ?, 0)",
                [(os.fsencode(file), number, file.stem, file.suffix[1:].upper()) for file in files],
            )


def _cover() -> bytes:
    """A JPEG of about COVER_BYTES: noise, which does not compress away."""
    from PIL import Image

    edge = 640
    noise = random.Random(7).randbytes(edge * edge * 3)
    encoded = io.BytesIO()
    quality = 35
    Image.frombytes("RGB", (edge, edge), noise).save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()
