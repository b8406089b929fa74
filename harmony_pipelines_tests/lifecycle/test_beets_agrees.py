"""After our runs the user's own `beet` finds its library as it was: no field changed, no file."""

import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo.library import DemoLibrary, make_library
from harmony_pipelines.demo.library_data import load_library
from harmony_pipelines_tests.conftest import Home
from harmony_pipelines_tests.small_library import picture

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

_OLD_ITEMS = (
    "id path album_id title artist artist_sort album albumartist albumartist_sort genre composer "
    "year month day track tracktotal disc disctotal lyrics comments bpm comp mb_trackid mb_albumid "
    "mb_artistid mb_albumartistid albumtype label catalognum script language country albumstatus "
    "media albumdisambig disctitle encoder rg_track_gain rg_track_peak rg_album_gain "
    "rg_album_peak original_year original_month original_day length bitrate format samplerate "
    "bitdepth channels mtime added"
)
_OLD_ALBUMS = (
    "id artpath added albumartist albumartist_sort album genre year month day tracktotal disctotal "
    "comp mb_albumid mb_albumartistid albumtype label mb_releasegroupid catalognum script language "
    "country albumstatus media albumdisambig original_year original_month original_day"
)
_FLEXIBLE = """
CREATE TABLE {name}_attributes (id INTEGER PRIMARY KEY, entity_id INTEGER, key TEXT, value TEXT,
    UNIQUE(entity_id, key) ON CONFLICT REPLACE);
CREATE INDEX {name}_attributes_by_entity ON {name}_attributes (entity_id);
"""

_MIGRATES = ("Created database backup", "Migrating ", "Migration ")


def make_old(library: DemoLibrary) -> None:
    """Rewrite the database as a beets 1.3 had it: fewer columns, absolute paths, no migrations."""
    new = library.database.with_name("new.db")
    library.database.rename(new)
    with (
        closing(sqlite3.connect(new)) as made,
        closing(sqlite3.connect(library.database)) as old,
        old,
    ):
        for table, columns in (("items", _OLD_ITEMS), ("albums", _OLD_ALBUMS)):
            names = columns.split()
            old.execute(f"CREATE TABLE {table} ({', '.join(map(_column, names))})")
            old.executescript(_FLEXIBLE.format(name=table[:-1]))
            there = {row[1] for row in made.execute(f"PRAGMA table_info({table})")}
            shown = ", ".join(name if name in there else "NULL" for name in names)
            marks = ", ".join("?" for _ in names)
            for row in made.execute(f"SELECT {shown} FROM {table}"):
                old.execute(f"INSERT INTO {table} VALUES ({marks})", _absolute(row, library))
    new.unlink()


def _column(name: str) -> str:
    return "id INTEGER PRIMARY KEY" if name == "id" else f"{name} BLOB"


def _absolute(row: tuple[Any, ...], library: DemoLibrary) -> tuple[Any, ...]:
    """The row with its path (the one column of bytes) as older releases stored it."""
    music = os.fsencode(library.music_directory)
    return tuple(os.path.join(music, v) if isinstance(v, bytes) else v for v in row)  # noqa: PTH118


class Beet:
    """The user's own `beet` on the library, or on a copy of its database."""

    def __init__(self, library: DemoLibrary, folder: Path) -> None:
        self.library = library
        self.folder = folder
        self.folder.mkdir()
        self.environment = {**os.environ, "BEETSDIR": str(folder), "HOME": str(folder)}

    def __call__(self, *arguments: str, database: Path | None = None) -> str:
        """What the command prints, but for what a migration says."""
        beet = Path(sys.executable).with_name("beet")
        command = [str(beet), "-l", str(database or self.library.database)]
        command += ["-d", str(self.library.music_directory), *arguments]
        ran = subprocess.run(
            command,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr
        lines = ran.stdout.splitlines()
        return "\n".join(line for line in lines if not line.startswith(_MIGRATES))

    def on_a_copy(self, *arguments: str) -> str:
        """The same on a copy of the database, which beets may migrate."""
        copy = self.folder / "copy.db"
        shutil.copyfile(self.library.database, copy)
        return self(*arguments, database=copy)


def embed(instance: dg.DagsterInstance) -> dict[str, Any]:
    """Run the job; what its last materialisation says."""
    result = defs.resolve_job_def("embed_artwork").execute_in_process(instance=instance)
    assert result.success
    event = instance.get_latest_materialization_event(dg.AssetKey("embedded_artwork"))
    assert event
    assert event.asset_materialization
    return {name: value.value for name, value in event.asset_materialization.metadata.items()}


@pytest.fixture
def library(home: Home) -> DemoLibrary:
    """A library of every format; all its albums have a cover named in decisions.yaml."""
    made = make_library(home.demo.library.parent, load_library(), with_oddities=False)
    home.folder.joinpath("scan.jpg").write_bytes(picture(edge=900))
    covers = "".join(f"  {album}: scan.jpg\n" for album in range(1, 9))
    home.folder.joinpath("decisions.yaml").write_text(f"cover:\n{covers}")
    with closing(sqlite3.connect(made.database)) as connection, connection:
        connection.execute("UPDATE items SET mtime = mtime - 1000")  # so that beets reads each
    return made


@pytest.mark.parametrize("schema", ["present", "old"])
def test_beets_finds_no_field_changed_and_its_database_as_it_was(
    library: DemoLibrary, instance: dg.DagsterInstance, tmp_path: Path, schema: str
) -> None:
    if schema == "old":
        make_old(library)
    beet = Beet(library, tmp_path / "beets of the user")
    said_before = beet.on_a_copy("update", "-p"), beet.on_a_copy("ls", "-f", "$path $title")
    before = state(library.database)

    assert embed(instance)["embedded"] == len(tracks(library)) == 22

    assert state(library.database) == before
    assert {front(track) for track in tracks(library)} == {picture(edge=900)}
    said = beet.on_a_copy("update", "-p"), beet.on_a_copy("ls", "-f", "$path $title")
    assert said == said_before
    assert said[0] == "" or schema == "old"  # which lacks fields that the present beets reads
    assert "deleted" not in said[0]
    assert len(said[1].splitlines()) == 22


def test_the_users_own_beet_is_run_on_what_changed_and_loses_nothing(
    home: Home, library: DemoLibrary, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    beet = Beet(library, tmp_path / "beets of the user")
    home.set(HARMONY_BEETS_UPDATE="on", BEETSDIR=str(beet.folder))
    [first, *_] = sorted(library.music_directory.rglob("*.ogg"))
    first.unlink()  # its album is left out: beets would drop the track
    listed = beet("ls", "-f", "$id $path $title")

    done = embed(instance)

    assert done["embedded"] == 21
    assert done["beet update"] == "7 albums, 1 left out"
    assert beet("ls", "-f", "$id $path $title") == listed
    assert len(listed.splitlines()) == 22


def test_a_beet_that_would_migrate_the_library_is_not_run(
    home: Home, library: DemoLibrary, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    make_old(library)
    beet = Beet(library, tmp_path / "beets of the user")
    home.set(HARMONY_BEETS_UPDATE="on", BEETSDIR=str(beet.folder))
    before = state(library.database)

    done = embed(instance)

    assert done["embedded"] == 22
    assert done["beet update"].startswith("DEPENDENCY_ERROR (beets_update): ")
    assert "would migrate" in done["beet update"]
    assert state(library.database) == before


def tracks(library: DemoLibrary) -> list[Path]:
    found = library.music_directory.rglob("*.*")
    return [file for file in found if file.suffix not in (".jpg", ".png")]


def front(file: Path) -> bytes | None:
    found = read_front(file)
    return found.data if found else None


def state(database: Path) -> tuple[Any, ...]:
    """Its bytes, what the system tells of it, and what lies beside it."""
    told, beside = database.stat(), sorted(file.name for file in database.parent.iterdir())
    return database.read_bytes(), told.st_ino, told.st_mtime_ns, told.st_mode, beside
