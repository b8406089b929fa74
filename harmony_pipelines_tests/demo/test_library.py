import os
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing

import pytest
from mediafile import MediaFile

from harmony_pipelines.demo.library import SAMPLES, make_library
from harmony_pipelines.demo.library_data import load_library


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return make_library(tmp_path_factory.mktemp("demo"))


def rows(library, statement):
    with closing(sqlite3.connect(library.database)) as connection:
        return connection.execute(statement).fetchall()


def test_the_samples_are_small_untagged_tones_that_every_reader_knows():
    samples = sorted(SAMPLES.iterdir())

    assert sum(sample.stat().st_size for sample in samples) < 150_000
    for sample in samples:
        media = MediaFile(sample)
        assert 2.4 < media.length < 2.6
        assert (media.title, media.artist, media.images or []) == (None, None, [])


def test_the_library_holds_what_the_catalogue_says_it_owns(library):
    owned = {album.album: len(album.tracks) for album in load_library()}

    counted = rows(
        library,
        "SELECT albums.album, count(*) FROM albums JOIN items ON items.album_id = albums.id "
        "GROUP BY albums.id",
    )

    assert dict(counted) == owned


def test_files_carry_the_tags_that_the_catalogue_says_and_no_others(library):
    media = MediaFile(library.odd_files["not_utf8"])

    assert (media.title, media.album, media.track) == ("Terra Incognita", "Cartographers", 2)
    assert media.mb_albumid == "5d1c2f7e-0b7a-4c55-9a1e-6f2b8c0d4e11"
    assert (media.isrc, media.barcode) == (None, None)


def test_one_album_has_embedded_covers_and_one_a_cover_beside_its_files(library):
    audio = set(library.music_directory.rglob("[0-9]*"))
    audio.remove(library.odd_files["not_audio"])
    covered = [file.parent.name for file in audio if MediaFile(file).images]
    [(artpath,)] = rows(library, "SELECT artpath FROM albums WHERE artpath IS NOT NULL")

    assert covered == ["The Observatory Tapes"] * 2
    assert os.fsdecode(artpath).endswith("Salt & Static/cover.jpg")


def test_the_odd_files_are_odd(library):
    odd = library.odd_files

    assert not odd["gone"].exists()
    assert odd["not_audio"].read_bytes().startswith(b"This is not audio")
    assert stat.S_IMODE(odd["read_only"].stat().st_mode) == 0o444
    assert odd["hard_linked"].stat().st_nlink == 2
    assert b"\xef" in os.fsencode(odd["not_utf8"].name)


def test_a_library_without_oddities_has_every_file(tmp_path):
    library = make_library(tmp_path, with_oddities=False)

    assert library.odd_files == {}
    assert len(list(library.music_directory.rglob("[0-9]*"))) == len(
        rows(library, "SELECT id FROM items")
    )
    assert sorted(file.name for file in tmp_path.iterdir()) == ["library.db", "music"]


@pytest.mark.slow
def test_making_the_library_is_silent_and_touches_nothing_of_the_user(tmp_path):
    home = tmp_path / "home"
    settings = home / ".config" / "beets" / "config.yaml"
    settings.parent.mkdir(parents=True)
    settings.write_text("library: [ broken on purpose")
    (tmp_path / "demo").mkdir()
    program = (
        "import sys, pathlib; from harmony_pipelines.demo.library import make_library; "
        "make_library(pathlib.Path(sys.argv[1]))"
    )

    made = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "demo"],
        env={
            "HOME": str(home),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        check=True,
        timeout=60,
    )

    assert (made.stdout, made.stderr) == (b"", b"")
    assert [file for file in home.rglob("*") if file.is_file()] == [settings]
