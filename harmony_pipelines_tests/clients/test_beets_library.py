import hashlib
import os
import random
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.beets_config import BeetsConfig
from harmony_pipelines.clients.beets_library import BeetsLibrary, LibraryLimits
from harmony_pipelines.clients.beets_query import library_artists
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

FILLED_LATER = {column.name for column in tables.beets_tracks.c if "front" in column.name}
SPOTIFY_ID = "4m2880jivSbbyEGAKfITCa"

RECENT = """
CREATE TABLE items (id INTEGER PRIMARY KEY, path BLOB, album_id INTEGER, title TEXT, artist TEXT,
    disc INTEGER, track INTEGER, length REAL, isrc TEXT);
CREATE TABLE albums (id INTEGER PRIMARY KEY, artpath BLOB, albumartist TEXT, album TEXT,
    year INTEGER, original_year INTEGER, comp INTEGER, mb_albumid TEXT, mb_releasegroupid TEXT,
    barcode TEXT);
CREATE TABLE item_attributes (id INTEGER PRIMARY KEY, entity_id INTEGER, key TEXT, value TEXT,
    UNIQUE(entity_id, key));
CREATE TABLE album_attributes (id INTEGER PRIMARY KEY, entity_id INTEGER, key TEXT, value TEXT,
    UNIQUE(entity_id, key));
"""
OLD = """
CREATE TABLE items (id INTEGER PRIMARY KEY, path BLOB, album_id INT, title TEXT, length REAL);
CREATE TABLE albums (id INTEGER PRIMARY KEY, album TEXT);
CREATE TABLE item_attributes (id INTEGER PRIMARY KEY, entity_id INT, key TEXT, value TEXT);
"""


class Made:
    """A beets database by hand, for what beets itself would not write (any more)."""

    def __init__(self, folder, schema=RECENT):
        self.music = folder / "music"
        self.music.mkdir()
        self.database = folder / "library.db"
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(schema)

    def add(self, table, **values):
        with closing(sqlite3.connect(self.database)) as connection, connection:
            marks = ", ".join("?" for _ in values)
            return connection.execute(
                f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", [*values.values()]
            ).lastrowid

    def file(self, name, content=b"audio"):
        path = self.music / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def item(self, name="1.mp3", **values):
        self.file(name)
        return self.add("items", path=os.fsencode(name), **values)

    def library(self, **config):
        return BeetsLibrary(BeetsConfig(self.database, self.music, **config))


@pytest.fixture
def made(tmp_path):
    return Made(tmp_path)


def snapshot(library):
    return library.snapshot(Deadline.after(30))


def refusal(library):
    with pytest.raises(HarmonyError) as refused:
        snapshot(library)
    return refused.value


def state(folder):
    return {
        file: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in folder.rglob("*")
        if file.is_file()
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return make_library(tmp_path_factory.mktemp("demo"))


def test_a_library_made_by_beets_is_read_and_left_as_it_was(demo):
    before = state(demo.database.parent)

    taken = snapshot(BeetsLibrary(BeetsConfig(demo.database, demo.music_directory)))

    assert state(demo.database.parent) == before
    assert len(taken.albums) == 8
    assert taken.found_files == len(taken.tracks) - 1
    [salt] = [album for album in taken.albums if album["album"] == "Salt & Static"]
    assert salt == salt | {
        "albumartist": "Lumen Tide",
        "year": 2018,
        "comp": 0,
        "mb_albumid": None,
        "artpath": str(demo.music_directory / "Lumen Tide" / "Salt & Static" / "cover.jpg"),
        "tracks": 3,
        "missing_files": 1,
    }


def test_tracks_say_what_the_system_tells_of_their_files(demo):
    taken = snapshot(BeetsLibrary(BeetsConfig(demo.database, demo.music_directory)))

    tracks = {track["title"]: track for track in taken.tracks}
    told = demo.odd_files["read_only"].stat()
    assert tracks["Night Ferry"]["size"] == told.st_size
    assert tracks["Night Ferry"]["mtime"] == told.st_mtime_ns
    assert tracks["Shipping Forecast"]["size"] is tracks["Shipping Forecast"]["mtime"] is None
    assert str(tracks["Terra Incognita"]["path"]).endswith("/02 Terra Incognita (na%EFve mix).ogg")
    assert tracks["Terra Incognita"]["size"]


def test_the_rows_have_the_columns_of_the_tables(made):
    made.item(album_id=made.add("albums", album="A"))

    taken = snapshot(made.library())

    assert set(taken.albums[0]) == {column.name for column in tables.beets_albums.c}
    assert set(taken.tracks[0]) == {column.name for column in tables.beets_tracks.c} - FILLED_LATER


def test_an_empty_library_is_an_empty_snapshot(made):
    taken = snapshot(made.library())

    assert (taken.albums, taken.tracks, taken.warnings) == ([], [], [])


def test_paths_may_be_absolute_or_relative_bytes_or_text_and_any_bytes(made):
    named = [b"A/1.mp3", b"A/2 Bj\xf6rk.mp3", b"A/3 100%25.mp3"]
    for name in named:
        made.item(name)
    absolute = made.file("B/4.mp3")
    made.add("items", path=str(absolute))
    made.item(b"B/5.mp3")

    tracks = snapshot(made.library()).tracks

    assert [Path(track["path"]).name for track in tracks] == [
        *("1.mp3", "2 Bj%F6rk.mp3", "3 100%2525.mp3"),
        *("4.mp3", "5.mp3"),
    ]
    assert all(Path(track["path"]).is_absolute() for track in tracks)
    assert all(track["size"] for track in tracks)


def test_paths_of_another_machine_are_mapped_covers_too(made):
    album = made.add("albums", artpath=b"/music/A/cover.jpg")
    made.file("A/1.mp3")
    made.add("items", path=b"/music/A/1.mp3", album_id=album)

    taken = snapshot(made.library(path_map=((Path("/music"), made.music),)))

    assert taken.tracks[0]["path"] == str(made.music / "A" / "1.mp3")
    assert taken.tracks[0]["size"] == 5
    assert taken.albums[0]["artpath"] == str(made.music / "A" / "cover.jpg")


def test_a_library_whose_files_are_elsewhere_is_refused_with_one_path_both_ways(made):
    for number in range(1000):
        made.add("items", path=f"A/{number}.mp3".encode())

    error = refusal(BeetsLibrary(BeetsConfig(made.database, Path("/nowhere/music"))))

    assert (error.code, error.reason) == (ErrorCode.VALIDATION_ERROR, Reason.PATH_NOT_MAPPED)
    assert error.details == {"stored": "A/0.mp3", "resolved": "/nowhere/music/A/0.mp3"}
    for word in ("A/0.mp3,", "/nowhere/music/A/0.mp3", "HARMONY_MUSIC_DIRECTORY"):
        assert word in error.message
    assert "HARMONY_PATH_MAP" in error.message


def test_a_minority_of_missing_files_is_counted_per_album(made):
    album, whole = made.add("albums", album="A"), made.add("albums", album="B")
    for number in range(3):
        made.item(f"{number}.mp3", album_id=album)
        made.item(f"b{number}.mp3", album_id=whole)
    made.add("items", path=b"gone.mp3", album_id=album)
    (made.music / "folder.mp3").mkdir()
    made.add("items", path=b"folder.mp3", album_id=album)

    albums = snapshot(made.library()).albums

    assert [(row["tracks"], row["missing_files"]) for row in albums] == [(5, 2), (3, 0)]


def test_a_track_without_an_album_is_a_track(made):
    made.item(title="Single")

    taken = snapshot(made.library())

    assert taken.tracks[0]["beets_album_id"] is None
    assert taken.albums == taken.warnings == []


def test_a_track_of_an_album_that_is_not_there_is_a_track_without_album_and_a_warning(made):
    made.item(album_id=7)

    taken = snapshot(made.library())

    assert taken.tracks[0]["beets_album_id"] is None
    assert "1 tracks belong to albums" in taken.warnings[0]


def test_strange_values_do_not_stop_the_snapshot(made):
    made.add(
        "albums",
        album=b"\xff\x00\xfe",
        albumartist=None,
        year="about 1999",
        original_year=0,
        comp="yes",
        mb_albumid="",
        barcode=4006408126263,
        artpath=b"",
    )
    made.item("1.mp3", title="a\0b", track=2**62, disc="two", length=float("inf"), isrc=b"\xed\xa0")
    made.item("2.mp3", title=None, track=b"\x00", disc=-1, length="3:35")
    made.add("items", path=None)
    for path in (b"", b"nul\0.mp3"):
        made.add("items", path=path)
    for number in range(3, 9):
        made.item(f"{number}.mp3")

    taken = snapshot(made.library())

    album, first, second = taken.albums[0], *taken.tracks[:2]
    assert (album["album"], album["albumartist"], album["year"]) == ("\ufffd\ufffd", None, None)
    assert (album["original_year"], album["comp"], album["artpath"]) == (None, 0, None)
    assert (album["mb_albumid"], album["barcode"]) == (None, "4006408126263")
    assert (first["title"], first["track"], first["duration_ms"]) == ("ab", 2**62, None)
    assert (second["title"], second["track"], second["disc"]) == (None, None, None)
    assert [track["path"] for track in taken.tracks[2:4]] == [None, None]
    assert taken.tracks[4]["size"] is None


def test_text_that_is_not_utf8_is_read(made):
    with closing(sqlite3.connect(made.database)) as connection, connection:
        connection.execute("INSERT INTO albums (album) VALUES (CAST(x'426AF6726B' AS TEXT))")

    assert snapshot(made.library()).albums[0]["album"] == "Bj\ufffdrk"


def test_whom_the_library_knows_by_an_id_is_read_wherever_beets_keeps_it(made):
    person = "b071f9fa-14b0-4217-8e97-eb41da73f598"
    album = made.add("albums", albumartist="Lumen Tide")
    made.add("album_attributes", entity_id=album, key="spotify_artist_id", value=SPOTIFY_ID)
    made.add("album_attributes", entity_id=album, key="mb_albumartistid", value=person)
    track = made.item(artist="Lumen")
    made.add("item_attributes", entity_id=track, key="mb_artistid", value=person)
    before = state(made.database.parent)

    artists = library_artists(made.library(), Deadline.after(30))

    assert artists.known("lumen tide").artist_ids == (SPOTIFY_ID,)
    assert artists.known("Lumen").artist_ids == (SPOTIFY_ID,)
    assert artists.known("Nobody").artist_ids == ()
    assert state(made.database.parent) == before


@pytest.mark.parametrize("schema", [OLD])
def test_a_library_of_an_old_beets_knows_nobody_by_an_id(tmp_path, schema):
    made = Made(tmp_path, schema)
    made.add("albums", album="A")
    assert library_artists(made.library(), Deadline.after(30)).known("A").artist_ids == ()


def test_where_there_is_no_library_nobody_is_known(tmp_path):
    library = BeetsLibrary(BeetsConfig(tmp_path / "library.db", tmp_path))
    assert library_artists(library, Deadline.after(30)).known("A").artist_ids == ()


def test_the_spotify_id_is_read_from_the_flexible_attributes(made):
    own, shared = made.add("albums", album="A"), made.add("albums", album="B")
    made.add("album_attributes", entity_id=own, key="spotify_album_id", value=SPOTIFY_ID)
    item = made.item(album_id=shared)
    made.add("item_attributes", entity_id=item, key="spotify_album_id", value="0" * 22)

    albums = snapshot(made.library()).albums

    assert [album["spotify_album_id"] for album in albums] == [SPOTIFY_ID, "0" * 22]


def test_an_old_schema_gives_what_it_has_and_nulls_for_the_rest(tmp_path):
    old = Made(tmp_path, OLD)
    album = old.add("albums", album="A")
    item = old.item(album_id=album, title="T", length=2.5)
    old.add("item_attributes", entity_id=item, key="isrc", value="GBAYE0601498")

    taken = snapshot(old.library())

    assert taken.albums[0]["album"] == "A"
    assert taken.albums[0]["barcode"] is taken.albums[0]["year"] is None
    assert taken.tracks[0]["isrc"] == "GBAYE0601498"
    assert (taken.tracks[0]["duration_ms"], taken.tracks[0]["artist"]) == (2500, None)


def test_each_track_has_its_own_files_size_though_ids_come_twice_and_an_index_has_another_order(
    tmp_path,
):
    made = Made(tmp_path, RECENT.replace("items (id INTEGER PRIMARY KEY", "items (id INTEGER"))
    for name in ("c.mp3", "a.mp3", "b.mp3"):
        made.file(name, name.encode() * (ord(name[0]) - 90))
        made.add("items", id=1, path=name.encode())
    with closing(sqlite3.connect(made.database)) as connection:
        connection.execute("CREATE INDEX another_order ON items (path, id)")

    tracks = snapshot(made.library()).tracks

    assert [(track["path"], track["size"]) for track in tracks] == [
        (str(made.music / name), (made.music / name).stat().st_size)
        for name in ("c.mp3", "a.mp3", "b.mp3")
    ]


def test_a_database_that_is_no_library_is_named_with_what_it_lacks(tmp_path):
    other = Made(tmp_path, "CREATE TABLE items (id INTEGER PRIMARY KEY, path BLOB)")

    error = refusal(other.library())

    assert (error.code, error.reason) == (ErrorCode.DEPENDENCY_ERROR, Reason.LIBRARY_SCHEMA)
    assert error.details["missing"] == ["albums.id", "items.album_id"]
    assert str(other.database) in error.message


def test_an_empty_file_is_no_library(made):
    made.database.write_bytes(b"")

    assert refusal(made.library()).reason is Reason.LIBRARY_SCHEMA


def test_a_file_that_is_no_database_is_unreadable(made):
    made.database.write_bytes(b"ID3" + bytes(5000))

    error = refusal(made.library())

    assert (error.code, error.reason) == (ErrorCode.DEPENDENCY_ERROR, Reason.UNREADABLE)
    assert str(made.database) in error.message


@pytest.mark.parametrize("damage", ["truncated", "zeroed", "scribbled"])
def test_a_damaged_database_is_unreadable_not_smaller(made, damage):
    with closing(sqlite3.connect(made.database)) as connection, connection:
        connection.executemany(
            "INSERT INTO items (path, title) VALUES (?, ?)",
            [(f"{number}.mp3".encode(), "x" * 200) for number in range(500)],
        )
    content = made.database.read_bytes()
    middle = len(content) // 2 // 4096 * 4096
    noise = {"zeroed": bytes(8192), "scribbled": random.Random(1).randbytes(8192)}
    made.database.write_bytes(
        content[:middle] + (noise[damage] + content[middle + 8192 :] if damage in noise else b"")
    )

    assert refusal(made.library()).reason is Reason.UNREADABLE


def test_a_library_that_is_not_there_is_said_to_be_missing_and_how_to_name_one(tmp_path):
    library = BeetsLibrary(BeetsConfig(tmp_path / "none.db", tmp_path))

    error = refusal(library)

    assert library.exists(Deadline.after(20)) is False
    assert (error.code, error.reason) == (ErrorCode.VALIDATION_ERROR, Reason.NO_LIBRARY)
    assert str(tmp_path / "none.db") in error.message
    assert "HARMONY_BEETS_LIBRARY" in error.message


def test_a_folder_is_no_library(tmp_path):
    library = BeetsLibrary(BeetsConfig(tmp_path, tmp_path))

    assert library.exists(Deadline.after(20)) is False
    assert refusal(library).reason is Reason.NO_LIBRARY


def test_a_library_that_is_there_exists(made):
    assert made.library().exists(Deadline.after(20)) is True


def test_a_share_that_does_not_answer_is_said_to_hang(made):
    hung = BeetsLibrary(
        BeetsConfig(made.database, made.music), limits=LibraryLimits(share_seconds=0.001)
    )

    error = refusal(hung)

    assert (error.code, error.reason) == (ErrorCode.DEPENDENCY_ERROR, Reason.SHARE_HUNG)


def test_a_deadline_that_has_passed_ends_the_snapshot(made):
    with pytest.raises(HarmonyError) as refused:
        made.library().snapshot(Deadline.after(0))

    assert refused.value.code is ErrorCode.DEADLINE_EXCEEDED


def test_private_copies_are_made_where_told_and_leave_nothing(made, tmp_path):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    library = BeetsLibrary(BeetsConfig(made.database, made.music), scratch)

    with library.private_copy(Deadline.after(20)) as copy:
        assert copy.is_relative_to(scratch)
        assert copy.stat().st_mode & 0o077 == 0 or copy.parent.stat().st_mode & 0o077 == 0
    snapshot(library)

    assert list(scratch.iterdir()) == []


def test_a_scratch_folder_that_is_gone_is_named(made, tmp_path):
    error = refusal(BeetsLibrary(BeetsConfig(made.database, made.music), tmp_path / "gone"))

    assert str(tmp_path / "gone") in error.message


def test_beets_itself_is_not_needed_to_read_its_library(made):
    before = set(sys.modules)

    snapshot(made.library())

    assert not {name for name in set(sys.modules) - before if name.startswith("beets")}


def test_files_in_a_folder_that_may_not_be_entered_count_as_missing_with_a_warning(made):
    for number in range(3):
        made.item(f"A/{number}.mp3")
    made.item("closed/1.mp3")
    (made.music / "closed").chmod(0)
    if os.access(made.music / "closed" / "1.mp3", os.R_OK):
        pytest.skip("this user may enter every folder")

    taken = snapshot(made.library())
    (made.music / "closed").chmod(0o755)

    assert taken.found_files == 3
    assert "closed/1.mp3" in taken.warnings[0]


def test_each_track_of_a_large_library_is_read_once_and_counted_in_its_album(made):
    for number in range(20):
        made.file(f"{number}.mp3")
    with closing(sqlite3.connect(made.database)) as connection, connection:
        connection.executemany("INSERT INTO albums (id) VALUES (?)", [(n,) for n in range(1, 501)])
        connection.executemany(
            "INSERT INTO items (path, album_id, title, length) VALUES (?, ?, 'Title', 200.5)",
            [(f"{n % 20}.mp3".encode(), n % 500 + 1) for n in range(5000)],
        )
        connection.executemany(
            "INSERT INTO item_attributes (entity_id, key, value) VALUES (?, 'data_source', 'x')",
            [(n,) for n in range(1, 5001)],
        )

    taken = snapshot(made.library())

    assert [track["beets_item_id"] for track in taken.tracks] == [*range(1, 5001)]
    assert taken.found_files == 5000
    assert all(album["tracks"] == 10 for album in taken.albums)
