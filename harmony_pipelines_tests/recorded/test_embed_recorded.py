"""A night's run over a library of all the audio files that mediafile is itself tested with."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mediafile import FileTypeError, ImageType, MediaFile, UnreadableFileError

from harmony_pipelines.clients.audio_payload import fingerprint
from harmony_pipelines.clients.pictures import read_front
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.steps.file_work import Limits
from harmony_pipelines.steps.restore_covers import Restoring, Wanted, changed_files
from harmony_pipelines_tests.audio_files import SHARED
from harmony_pipelines_tests.small_library import SmallLibrary, picture

pytestmark = pytest.mark.skipif(not SHARED, reason="no shared media beside the repository")


@pytest.fixture
def library(tmp_path: Path) -> Iterator[SmallLibrary]:
    """Each file an album of its own, with a picture that the user named."""
    made = SmallLibrary(tmp_path)
    scan = tmp_path / "scan.jpg"
    scan.write_bytes(picture())
    for file in SHARED:
        made.album()
        copy = made.music / f"album {len(made.rows)}" / file.name
        shutil.copyfile(file, copy)
        made.tracks.append((len(made.rows), os.fsencode(copy)))
        made.rows[len(made.rows)]["artpath"] = str(scan)
    yield made
    made.close()


def copies(library: SmallLibrary) -> dict[Path, Path]:
    """Each file of the library with what it is a copy of."""
    return {Path(os.fsdecode(p)): f for (_, p), f in zip(library.tracks, SHARED, strict=True)}


@pytest.mark.slow
def test_every_file_is_whole_with_its_cover_or_untouched(library: SmallLibrary) -> None:
    work = library.night()
    status = {row["path"]: row["status"] for row in library.results()}
    assert work.counts["failed"] == 0
    assert work.counts["embedded"] > 30
    for copy, original in copies(library).items():
        if status.get(str(copy)) == "embedded":
            assert fingerprint(copy) == fingerprint(original), copy.name
            found = read_front(copy)
            assert found
            assert found.data == picture(), copy.name
            assert picture() in _pictures(copy), copy.name
        else:
            assert copy.read_bytes() == original.read_bytes(), copy.name
    assert not list(library.music.rglob(".harmony*"))


@pytest.mark.slow
def test_a_second_night_changes_and_says_nothing(library: SmallLibrary) -> None:
    library.night()
    before = {copy: (copy.stat().st_ino, copy.stat().st_mtime_ns) for copy in copies(library)}
    plan = library.plan()
    assert (plan.files, plan.refused, library.results()) == (0, (), [])
    assert library.night().counts == {}
    assert {c: (c.stat().st_ino, c.stat().st_mtime_ns) for c in copies(library)} == before


@pytest.mark.slow
def test_pictures_that_the_user_names_replace_those_that_are_there(library: SmallLibrary) -> None:
    library.night()
    scan = library.folder / "better.png"
    scan.write_bytes(picture("better", 400, "PNG"))
    library.covers = {str(number): str(scan) for number in library.rows}
    covered = [copy for copy in copies(library) if _has_front(copy)]
    work = library.night()
    assert work.counts["failed"] == 0
    assert work.counts["embedded"] == len(covered) > 30
    for copy in covered:
        assert picture("better", 400, "PNG") in _pictures(copy), copy.name
        assert fingerprint(copy) == fingerprint(copies(library)[copy]), copy.name


@pytest.mark.slow
@pytest.mark.parametrize("covers", [1, 2])
def test_undo_gives_every_file_back_byte_for_byte(library: SmallLibrary, covers: int) -> None:
    embedded = 0
    for number in range(covers):
        scan = library.folder / f"scan {number}.jpg"
        scan.write_bytes(picture(f"scan {number}"))
        library.covers = {str(album): str(scan) for album in library.rows}
        embedded = library.night().counts["embedded"]
        assert embedded > 60
    undone = _undo(library)
    assert (undone["restored"], undone["skipped"], undone["failed"]) == (embedded, 0, 0)
    changed = {c.name for c, f in copies(library).items() if c.read_bytes() != f.read_bytes()}
    assert changed == set()


def _undo(library: SmallLibrary) -> Counter[str]:
    library.runs += 1
    work = Restoring(
        run_id=library.run_id,
        stores=library.stores,
        roots=(library.music,),
        limits=Limits(Deadline.after(60), 1 << 40, 1 << 40),
        guard=library.guard,
    )
    work.files(changed_files(library.store, Wanted(everything=True)))
    return work.counts


def _has_front(copy: Path) -> bool:
    try:
        return read_front(copy) is not None
    except HarmonyError:
        return False


def _pictures(copy: Path) -> list[bytes]:
    """What mediafile sees, as front cover where the container knows kinds of pictures."""
    try:
        images: Any = MediaFile(copy).images or []
    except (FileTypeError, UnreadableFileError):
        return []
    return [i.data for i in images if i.type in (ImageType.front, ImageType.other, None)]
