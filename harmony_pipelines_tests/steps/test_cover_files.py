import os
import stat
from pathlib import Path

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError, Reason
from harmony_pipelines.steps.cover_files import CoverFiles, our_cover_files
from harmony_pipelines.steps.file_work import Limits
from harmony_pipelines_tests.small_library import SmallLibrary, front, image, picture, put


def night(library: SmallLibrary, *albums: str) -> CoverFiles:
    """A whole run of a user who wants cover files."""
    plan = library.plan(*albums)
    files = CoverFiles.beside(library.embed(plan, library.find(plan)))
    files.put(plan.open_albums, is_named=plan.is_named)
    return files


def undo(library: SmallLibrary, **wanted: object) -> CoverFiles:
    library.runs += 1
    work = library.embed(library.plan("1"), {}, Deadline.after(0))
    files = CoverFiles.beside(work)
    files.limits = Limits(Deadline.after(60), 1 << 40, 1 << 40)
    files.take_back(our_cover_files(library.store, **wanted))  # pyright: ignore[reportArgumentType]
    return files


def reasons(library: SmallLibrary) -> list[str]:
    """Why folders were left alone in the last run."""
    return [row["reason"] for row in library.results() if row["status"] == "skipped"]


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


@pytest.fixture
def tracks(library: SmallLibrary) -> list[Path]:
    """An album for which there is a cover."""
    return library.album("tone.flac", "tone.mp3", image_url=image(library))


@pytest.fixture
def cover(tracks: list[Path]) -> Path:
    """Where its cover file comes to be."""
    return tracks[0].with_name("cover.jpg")


def test_the_cover_lies_beside_the_tracks_as_they_have_it(
    library: SmallLibrary, tracks: list[Path], cover: Path
) -> None:
    assert night(library).counts == {"written": 1}
    assert cover.read_bytes() == front(tracks[0]) == picture()
    assert names(cover.parent) == {"cover.jpg", *(track.name for track in tracks)}
    [row] = [row for row in library.results() if row["status"] == "written"]
    assert (row["path"], row["beets_album_id"], row["width"]) == (str(cover), 1, 300)
    assert row["sha256"] == our_cover_files(library.store)[0]["sha256"]


def test_a_second_night_looks_into_no_folder_and_writes_nothing(
    library: SmallLibrary, cover: Path
) -> None:
    night(library)
    before = cover.stat(), cover.parent.stat().st_mtime_ns
    again = night(library)
    assert (dict(again.counts), again.rows, library.results()) == ({}, {}, [])
    assert (cover.stat(), cover.parent.stat().st_mtime_ns) == before


def test_its_mode_is_that_of_the_tracks_whatever_the_umask(
    library: SmallLibrary, tracks: list[Path], cover: Path
) -> None:
    tracks[0].chmod(0o664)
    umask = os.umask(0o077)
    try:
        night(library)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(cover.stat().st_mode) == 0o664
    assert cover.stat().st_gid == tracks[0].stat().st_gid


def test_a_png_is_called_what_it_is(library: SmallLibrary) -> None:
    [track] = library.album("tone.flac")
    put(track, picture(image_format="PNG"), mime="image/png")
    night(library)
    assert track.with_name("cover.png").read_bytes() == picture(image_format="PNG")


def test_albums_that_were_right_before_get_one_too(library: SmallLibrary) -> None:
    [track] = library.album("tone.flac")
    put(track, picture("theirs"))
    night(library)
    assert track.with_name("cover.jpg").read_bytes() == picture("theirs")


@pytest.mark.parametrize("name", ["cover.jpg", "Cover.PNG", "folder.jpg", "front.jpeg", "link.jpg"])
def test_a_folder_with_a_cover_of_somebody_elses_is_left_alone(
    library: SmallLibrary, tracks: list[Path], cover: Path, name: str
) -> None:
    theirs = cover.with_name(name)
    if name == "link.jpg":
        theirs = cover
        theirs.symlink_to("nowhere")
    else:
        theirs.write_bytes(b"their scan")
    files = night(library)
    assert (files.counts, reasons(library)) == ({"skipped": 1}, ["not_ours"])
    assert names(cover.parent) == {theirs.name, *(track.name for track in tracks)}
    assert theirs.is_symlink() or theirs.read_bytes() == b"their scan"
    assert night(library).counts == {}
    theirs.unlink()
    assert night(library).counts == {"written": 1}


def test_ours_that_somebody_changed_is_theirs(
    library: SmallLibrary, tracks: list[Path], cover: Path
) -> None:
    night(library)
    cover.write_bytes(b"retouched")
    for track in tracks:
        put(track, picture("another"))
    assert night(library).counts == {"skipped": 1}
    assert undo(library).counts == {}
    assert cover.read_bytes() == b"retouched"


def test_ours_that_somebody_removed_comes_back_only_when_its_album_is_named(
    library: SmallLibrary, tracks: list[Path], cover: Path
) -> None:
    night(library)
    cover.unlink()
    for track in tracks:
        put(track, picture("another"))
    assert night(library).counts == {}
    assert not cover.exists()
    assert night(library, "1").counts == {"written": 1}
    assert cover.read_bytes() == picture("another")


@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_ours_follows_the_cover_of_the_tracks(
    library: SmallLibrary, tracks: list[Path], cover: Path, image_format: str
) -> None:
    night(library)
    new = picture("another", image_format=image_format)
    for track in tracks:
        put(track, new, mime=f"image/{image_format.lower()}")
    assert night(library).counts == {"written": 1}
    [there] = [file for file in cover.parent.iterdir() if file.stem == "cover"]
    assert (there.read_bytes(), len(our_cover_files(library.store))) == (new, 1)


def test_tracks_that_differ_or_lack_one_get_no_cover_file(library: SmallLibrary) -> None:
    first, second = library.album("tone.flac", "tone.mp3")
    put(first, picture("one"))
    put(second, picture("two"))
    assert night(library).counts == {}
    library.album("tone.flac")
    assert night(library).counts == {}
    assert not list(library.music.rglob("cover*"))


def test_a_folder_of_several_albums_gets_none(library: SmallLibrary) -> None:
    first, second = library.album("tone.flac", "tone.mp3")
    library.album()
    library.tracks = [(1, os.fsencode(first)), (2, os.fsencode(second))]
    for track in (first, second):
        put(track, picture())
    assert night(library).counts == {"skipped": 1}
    assert reasons(library) == ["shared_folder"]
    assert night(library).rows == {}


def test_albums_that_the_user_or_undo_keeps_us_out_of_get_none(library: SmallLibrary) -> None:
    [track] = library.album("tone.flac")
    put(track, picture())
    library.covers = {"1": "never"}
    assert night(library).counts == {}
    library.covers = {}
    library.policy = "never"
    assert night(library).counts == {}
    assert not list(library.music.rglob("cover*"))


@pytest.mark.parametrize("form", ["run_id", "albums", "everything"])
def test_undo_removes_ours_and_none_comes_back_until_the_album_is_named(
    library: SmallLibrary, tracks: list[Path], cover: Path, form: str
) -> None:
    night(library)
    wanted = {"run_id": {"run_id": library.run_id}, "albums": {"albums": ["1"]}}.get(form, {})
    assert undo(library, run_id="another").counts == {}
    assert undo(library, **wanted).counts == {"removed": 1}
    assert names(cover.parent) == {track.name for track in tracks}
    assert undo(library, **wanted).counts == {}
    assert night(library).counts == {}
    assert night(library, "1").counts == {"written": 1}


def test_a_folder_that_may_not_be_written_is_refused_once_and_tried_when_it_may(
    library: SmallLibrary, tracks: list[Path], cover: Path
) -> None:
    library.night()
    cover.parent.chmod(0o555)
    if os.access(cover.parent, os.W_OK):
        pytest.skip("this user may write anywhere")
    assert night(library).counts == {"skipped": 1}
    assert night(library).counts == {}
    cover.parent.chmod(0o755)
    assert night(library).counts == {"written": 1}


def test_a_folder_that_leads_out_of_the_library_is_left_alone(
    library: SmallLibrary, tracks: list[Path]
) -> None:
    folder = tracks[0].parent
    for track in tracks:
        put(track, picture())
    folder.rename(library.folder / "elsewhere")
    folder.symlink_to(library.folder / "elsewhere")
    assert night(library).counts == {"skipped": 1}
    assert reasons(library) == ["outside_library"]
    assert not (folder / "cover.jpg").exists()


@pytest.mark.parametrize("after", range(4))
def test_a_run_that_is_over_writes_no_more_and_the_next_ends_its_work(
    library: SmallLibrary, tracks: list[Path], cover: Path, after: int
) -> None:
    library.night()
    plan = library.plan()
    files = CoverFiles.beside(library.embed(plan, {}))
    library.over_after = after
    if after < 3:
        with pytest.raises(HarmonyError) as caught:
            files.put(plan.open_albums)
        assert caught.value.reason is Reason.RUN_OVER
        assert cover.exists() == (after == 2)
        assert not list(cover.parent.glob(".harmony*"))
    library.over_after = None
    night(library)
    assert cover.read_bytes() == picture()
    [known] = our_cover_files(library.store)
    assert known["folder_changed"] is not None
    assert undo(library).counts == {"removed": 1}


def test_nothing_is_begun_after_its_time(library: SmallLibrary, cover: Path) -> None:
    library.night()
    plan = library.plan()
    work = library.embed(plan, {}, Deadline.after(0))
    files = CoverFiles.beside(work)
    files.put(plan.open_albums)
    assert (files.counts, cover.exists()) == ({"deferred": 1}, False)
    assert library.store.count(tables.cover_files) == 0
