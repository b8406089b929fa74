"""A small beets library on this machine: tagged tones, covers, and the odd files real ones have."""

import contextvars
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmony_pipelines.demo.covers import Cover, draw_cover
from harmony_pipelines.demo.library_data import LibraryAlbum, LibraryTrack, load_library

SAMPLES = Path(__file__).with_name("samples")

_SAMPLE_OF = {"alac": "tone-alac.m4a"}
_COVER_SIZE = (500, 500)
_ODD = {
    ("cartographers", 2): "not_utf8",
    ("nagisa-circuit-2014", 1): "hard_linked",
    ("night-ferry", 2): "read_only",
    ("salt-and-static", 3): "gone",
    ("star-atlas-deluxe", 4): "not_audio",
}
"""Album and number of the tracks whose files are odd, and what is odd about them."""


@dataclass(frozen=True)
class DemoLibrary:
    """The beets database, its music, and the odd files by what is odd about them."""

    database: Path
    music_directory: Path
    odd_files: Mapping[str, Path]


@dataclass(frozen=True)
class _Made:
    """The files of an album by track number, and the cover that lies beside them."""

    key: str
    files: Mapping[int, Path]
    art: Path | None


def make_library(
    folder: Path, albums: Iterable[LibraryAlbum] | None = None, *, with_oddities: bool = True
) -> DemoLibrary:
    """Make the library in an empty folder; nothing outside of it is read or written."""
    music, database = folder / "music", folder / "library.db"
    odd = _ODD if with_oddities else {}
    albums = load_library() if albums is None else albums
    made = [_make_album(music, album, odd) for album in albums]
    # beets keeps its music directory in the context; the caller's own stays as it is
    contextvars.copy_context().run(_fill_database, database, music, made)
    odd_files = {
        what: album.files[number]
        for album in made
        for (key, number), what in odd.items()
        if key == album.key and number in album.files
    }
    for what, file in odd_files.items():
        _spoil(file, what, folder / "elsewhere")
    return DemoLibrary(database, music, odd_files)


def _make_album(music: Path, album: LibraryAlbum, odd: Mapping[tuple[str, int], str]) -> _Made:
    folder = music / _file_name(album.albumartist) / _file_name(album.album)
    folder.mkdir(parents=True)
    cover = _cover(album) if album.cover else None
    files: dict[int, Path] = {}
    for track in album.tracks:
        file = _tagged_copy(folder, album, track, cover if album.cover == "embedded" else None)
        is_oddly_named = odd.get((album.key, track.number)) == "not_utf8"
        files[track.number] = _oddly_named(file) if is_oddly_named else file
    art = folder / album.cover if cover and album.cover != "embedded" else None
    if art and cover:
        art.write_bytes(cover)
    return _Made(album.key, files, art)


def _file_name(text: str) -> str:
    return text.replace("/", "_")


def _cover(album: LibraryAlbum) -> bytes:
    return draw_cover(Cover(album.key, album.album, album.albumartist, _COVER_SIZE))


def _tagged_copy(
    folder: Path, album: LibraryAlbum, track: LibraryTrack, cover: bytes | None
) -> Path:
    from mediafile import Image, ImageType, MediaFile

    sample = SAMPLES / _SAMPLE_OF.get(album.audio_format, f"tone.{album.audio_format}")
    file = folder / f"{track.number:02} {_file_name(track.title)}{sample.suffix}"
    shutil.copyfile(sample, file)
    media = MediaFile(file)
    media.update({name: value for name, value in _tags(album, track).items() if value})
    if cover:
        media.images = [Image(cover, type=ImageType.front)]
    media.save()
    return file


def _tags(album: LibraryAlbum, track: LibraryTrack) -> dict[str, Any]:
    return {
        "title": track.title,
        "artist": track.artist,
        "track": track.number,
        "disc": 1,
        "isrc": track.isrc,
        "album": album.album,
        "albumartist": album.albumartist,
        "year": album.year,
        "barcode": album.barcode,
        "mb_albumid": album.mb_albumid,
        "mb_releasegroupid": album.mb_releasegroupid,
    }


def _oddly_named(file: Path) -> Path:
    """Give the file a name that is not UTF-8, where the file system allows it."""
    name = os.fsencode(file.stem) + b" (na\xefve mix)" + os.fsencode(file.suffix)
    try:
        return file.rename(file.with_name(os.fsdecode(name)))
    except OSError:
        return file


def _fill_database(database: Path, music: Path, made: Sequence[_Made]) -> None:
    with _beets_without_its_user(database.with_name("beets")):
        from beets.library import Item, Library

        library = Library(str(database), str(music))
        with library.transaction():
            for album in made:
                items = [Item.from_path(os.fsencode(file)) for file in album.files.values()]
                added = library.add_album(items)
                if album.art:
                    added.artpath = os.fsencode(album.art)
                    added.store()
        library._close()


@contextmanager
def _beets_without_its_user(folder: Path) -> Iterator[None]:
    """Let beets have nothing but its own defaults; it never looks for the user's configuration."""
    before = os.environ.get("BEETSDIR")
    os.environ["BEETSDIR"] = str(folder)
    try:
        import beets

        beets.config.clear()
        beets.config.read(user=False, defaults=True)
        beets.config.set({"plugins": [], "create_backup_before_migrations": False})
        yield
    finally:
        if before is None:
            del os.environ["BEETSDIR"]
        else:
            os.environ["BEETSDIR"] = before


def _spoil(file: Path, what: str, elsewhere: Path) -> None:
    """Do to the file what the library does not know of."""
    if what == "gone":
        file.unlink()
    elif what == "read_only":
        file.chmod(0o444)
    elif what == "not_audio":
        file.write_text("This is not audio, whatever its name says.\n" * 40)
    elif what == "hard_linked":
        elsewhere.mkdir()
        (elsewhere / file.name).hardlink_to(file)
