import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines_tests.small_library import SmallLibrary, picture

URL = "https://i.scdn.co/image/1"


@pytest.fixture
def library(tmp_path: Path) -> Iterator[SmallLibrary]:
    made = SmallLibrary(tmp_path)
    yield made
    made.close()


def front_columns(library: SmallLibrary, item: int) -> tuple[object, ...]:
    [row] = library.store.table(tables.beets_tracks, tables.beets_tracks.c.beets_item_id == item)
    return row["has_front"], row["front_code"], row["front_reason"]


def test_a_file_is_looked_into_once(library: SmallLibrary) -> None:
    first, second = library.album("tone.flac", "tone.mp3", image_url=URL)
    assert library.plan().files == 2
    for file in (first, second):  # the same size and time, but nothing to read a tag from
        before = file.stat()
        file.write_bytes(bytes(before.st_size))
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    plan = library.plan()
    assert (plan.files, plan.refused) == (2, ())


def test_a_file_that_is_no_audio_is_told_of_once_and_never_opened_again(
    library: SmallLibrary,
) -> None:
    [file] = library.album("tone.flac", image_url=URL)
    file.write_text("no audio, whatever its name says")
    plan = library.plan()
    assert (plan.files, plan.left_alone) == (0, 1)
    [row] = library.results()
    assert (row["status"], row["code"]) == ("skipped", "UNSUPPORTED_MEDIA")
    assert row["path"] in row["message"]
    assert front_columns(library, 1)[1:] == (row["code"], row["reason"])

    again = library.plan()
    assert (again.refused, again.left_alone, library.results()) == ((), 1, [])


def test_naming_an_album_looks_at_its_files_anew(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=URL)
    whole, before = file.read_bytes(), file.stat()
    file.write_bytes(b"x" * len(whole))
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert library.plan().left_alone == 1
    file.write_bytes(whole)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert library.plan().files == 0
    assert library.plan("1").files == 1


def test_a_file_gone_since_the_snapshot_is_skipped(library: SmallLibrary) -> None:
    files = library.album("tone.flac", "tone.mp3", image_url=URL)
    snapshot = library.snapshot(Deadline.after(9))
    files[0].unlink()
    library.snapshot = lambda deadline: snapshot  # pyright: ignore[reportAttributeAccessIssue]
    assert library.plan().files == 1
    assert [(r["code"], r["reason"]) for r in library.results()] == [("NOT_FOUND", "file_missing")]


@pytest.mark.parametrize("path", [None, "", "/nowhere/at all.mp3", "/a/%FF.mp3", "/nul/\0byte.mp3"])
def test_an_odd_path_costs_no_other_file(library: SmallLibrary, path: str | None) -> None:
    library.album("tone.flac", "tone.mp3", image_url=URL)
    told = library.snapshot(Deadline.after(9))
    told.tracks[0]["path"] = path
    library.snapshot = lambda deadline: told  # pyright: ignore[reportAttributeAccessIssue]
    assert library.plan().files == 1


def test_a_path_that_is_not_utf8_is_planned_as_any_other(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=URL)
    odd = file.with_name(os.fsdecode(b"na\xefve%41.flac"))
    library.tracks = [(1, os.fsencode(file.rename(odd)))]
    [album] = library.plan().albums
    assert album.tracks[0].path.endswith("na%EFve%2541.flac")


def test_an_album_without_tracks_and_a_track_without_an_album_are_no_trouble(
    library: SmallLibrary,
) -> None:
    library.album()
    [file] = library.album("tone.flac", image_url=URL)
    library.tracks.append((None, os.fsencode(file)))  # pyright: ignore[reportArgumentType]
    plan = library.plan()
    assert (plan.files, plan.skipped) == (1, {"no_files": 1})


def test_an_album_that_the_library_has_not_is_a_validation_error(library: SmallLibrary) -> None:
    library.album("tone.flac", image_url=URL)
    with pytest.raises(HarmonyError) as caught:
        library.plan("1", "77", "x")
    assert (caught.value.code, caught.value.reason) == (
        ErrorCode.VALIDATION_ERROR,
        Reason.RUN_CONFIG,
    )
    assert "77, x" in caught.value.message


def test_only_the_named_albums_are_planned(library: SmallLibrary) -> None:
    for _ in range(3):
        library.album("tone.flac", image_url=URL)
    assert [album.beets_album_id for album in library.plan("2", "3").albums] == [2, 3]


def test_files_there_was_no_time_for_are_left_for_the_next_run(library: SmallLibrary) -> None:
    library.album("tone.flac", "tone.mp3", image_url=URL)
    assert library.plan().unread == 0
    library.album("tone.flac", image_url=URL)
    plan = library.plan(until=Deadline.after(0))
    assert (plan.files, plan.unread) == (2, 1)
    assert library.plan().files == 3


def test_a_run_that_is_over_remembers_nothing(library: SmallLibrary) -> None:
    library.album("tone.flac", image_url=URL)
    library.over_after = 0
    with pytest.raises(HarmonyError) as caught:
        library.plan()
    assert caught.value.reason is Reason.RUN_OVER
    assert front_columns(library, 1) == (None, None, None)


def test_a_write_protected_file_is_planned_again_once_it_may_be_written(
    library: SmallLibrary,
) -> None:
    [file] = library.album("tone.flac", image_url=URL)
    library.plan()
    file.chmod(0o444)
    track = library.store.table(tables.beets_tracks)[0]
    refused = {"front_code": "DEPENDENCY_ERROR", "front_reason": "read_only"}
    library.store.save(tables.beets_tracks, [track | refused])
    assert library.plan().skipped == {"refused": 1}
    file.chmod(0o644)
    assert library.plan().files == 1


def test_a_hard_linked_file_is_planned_again_once_it_is_alone_or_links_may_be_broken(
    library: SmallLibrary,
) -> None:
    [file] = library.album("tone.flac", image_url=URL)
    twin = library.folder / "twin.flac"
    twin.hardlink_to(file)
    library.plan()
    track = library.store.table(tables.beets_tracks)[0]
    refused = {"front_code": "CONFLICT", "front_reason": "hard_link"}
    library.store.save(tables.beets_tracks, [track | refused])
    assert library.plan().files == 0
    library.break_hard_links = True
    assert library.plan().files == 1
    library.break_hard_links = False
    twin.unlink()
    assert library.plan().files == 1


def test_a_local_cover_rests_until_it_changes(library: SmallLibrary) -> None:
    art = library.folder / "cover.jpg"
    art.write_text("<html>")
    library.album("tone.flac", artpath=str(art))
    failure = {"source_url": str(art), "attempts": 1, "code": "UNSUPPORTED_MEDIA"}
    times = {"tried_at": "2099-01-01T00:00:00Z", "next_attempt_at": "2099-02-01T00:00:00Z"}
    library.store.save(tables.cover_failures, [failure | times])
    assert library.plan().skipped == {"waits": 1}
    assert library.plan("1").files == 1
    library.store.save(
        tables.cover_failures, [failure | times | {"tried_at": "2001-01-01T00:00:00Z"}]
    )
    art.write_bytes(picture())
    assert library.plan().files == 1
