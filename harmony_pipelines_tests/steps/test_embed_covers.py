import hashlib
import os
import shutil
import sys
import threading

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.safe_write import album_lock
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.steps.file_work import Limits
from harmony_pipelines.steps.restore_covers import Restoring, Wanted, changed_files
from harmony_pipelines_tests.audio_files import SAMPLES, sample
from harmony_pipelines_tests.small_library import SmallLibrary, front, image, picture, put

_LIMITS = Limits(Deadline.after(3600), 1 << 40, 1 << 40)
_OPENED: list[str] = []


def _note_open(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and isinstance(arguments[0], str | bytes):
        _OPENED.append(os.fsdecode(arguments[0]))


@pytest.fixture(scope="session", autouse=True)
def opened() -> list[str]:
    """What this process opens, from now on: a hook cannot be taken back."""
    sys.addaudithook(_note_open)
    return _OPENED


def stamps(library: SmallLibrary) -> dict[str, tuple[int, int, int]]:
    """Inode, time and size of everything in the library, folders too."""
    found = [library.music, *library.music.rglob("*")]
    return {str(p): ((t := p.stat()).st_ino, t.st_mtime_ns, t.st_size) for p in found}


def test_every_file_of_an_album_gets_its_cover_and_a_row(library: SmallLibrary) -> None:
    files = library.album(*(path.name for path in SAMPLES), image_url=image(library))
    work = library.night()
    assert dict(work.counts) == {"embedded": len(files)}
    assert {front(file) for file in files} == {picture()}
    rows = library.results()
    assert len(rows) == len(files)
    assert {(r["status"], r["code"], r["source"], r["old_sha256"]) for r in rows} == {
        ("embedded", None, "spotify", None)
    }
    assert {(r["width"], r["bytes"], r["album_id"]) for r in rows} == {
        (300, len(picture()), "spotify1")
    }


def test_a_second_night_opens_no_file_fetches_nothing_and_writes_nothing(
    library: SmallLibrary, served: SpotifyServer, opened: list[str]
) -> None:
    library.album("tone.flac", "tone.mp3", image_url=image(library))
    [linked] = library.album("tone.m4a", image_url=image(library, "b"))
    (library.folder / "twin").hardlink_to(linked)
    [shut] = library.album("tone.opus", image_url=image(library, "c"))
    shut.chmod(0o444)
    [no_audio] = library.album("tone.wma", image_url=image(library, "d"))
    no_audio.write_text("nothing")
    library.album("tone.ogg", image_url=f"{served.url}/image/none")
    library.album("tone.wav", verdict="unmatched", image_url="")
    assert library.night().counts == {"embedded": 2, "skipped": 3}

    for policy in ("missing", "larger"):  # to look for larger ones, covers are fetched once more
        library.policy = policy
        if policy == "larger":
            assert library.night().counts["embedded"] == 0
        before = stamps(library)
        served.forget_requests()
        opened.clear()
        work = library.night()
        assert [path for path in opened if path.startswith(str(library.music))] == []
        assert (stamps(library), served.requests) == (before, [])
        assert (work.counts["embedded"], work.counts["failed"], library.results()) == (0, 0, [])


def test_what_was_embedded_is_known_without_looking(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    [row] = library.store.table(tables.beets_tracks)
    told = file.stat()
    assert (row["size"], row["mtime"]) == (told.st_size, told.st_mtime_ns)
    assert (row["has_front"], row["front_width"]) == (1, 300)


@pytest.mark.parametrize(
    ("odd", "reason"),
    [
        ("linked", "hard_link"),
        ("shut", "read_only"),
        ("leads out", "outside_library"),
        ("text", "not_audio"),
    ],
)
def test_a_file_is_skipped_for_what_it_is_and_stays_as_it_is(
    library: SmallLibrary, odd: str, reason: str
) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    outside = sample("tone.flac", library.folder)
    if odd == "linked":
        (library.folder / "twin").hardlink_to(file)
    elif odd == "shut":
        file.chmod(0o444)
    elif odd == "text":
        file.write_text("no audio")
    else:
        file.unlink()
        file.symlink_to(outside)
    before = stamps(library), file.read_bytes()
    library.night()
    [row] = library.results()
    assert (row["status"], row["reason"]) == ("skipped", reason)
    assert row["message"]
    assert row["path"] in row["message"] or str(file.resolve()) in row["message"]
    assert (stamps(library), file.read_bytes()) == before
    library.night()
    assert library.results() == []


def test_a_hard_link_is_broken_only_if_the_user_allows_it(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    twin = library.folder / "twin"
    twin.hardlink_to(file)
    before = twin.read_bytes()
    library.break_hard_links = True
    assert library.night().counts == {"embedded": 1}
    assert twin.read_bytes() == before


def test_one_bad_file_costs_no_other(library: SmallLibrary) -> None:
    first, second, third = library.album(
        "tone.flac", "tone.mp3", "tone.ogg", image_url=image(library)
    )
    plan = library.plan()
    second.unlink()
    work = library.embed(plan, library.find(plan))
    assert work.counts == {"embedded": 2, "skipped": 1}
    assert front(first) == front(third) == picture()


def test_a_cover_that_another_program_put_there_meanwhile_stays(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    plan = library.plan()
    put(file, picture("theirs"))
    work = library.embed(plan, library.find(plan))
    assert work.counts == {"skipped": 1}
    assert front(file) == picture("theirs")
    [row] = library.results()
    assert (row["code"], row["reason"]) == ("CONFLICT", "changed_meanwhile")
    assert not list(library.undo_dir.glob("*"))
    assert library.night().counts == {}


def test_a_change_by_another_program_right_before_the_rename_is_kept(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    plan = library.plan()
    found = library.find(plan)
    asked = library.guard

    def meddle() -> None:
        with file.open("ab") as theirs:
            theirs.write(b"one more byte")
        asked()

    library.guard = meddle  # pyright: ignore[reportAttributeAccessIssue]
    assert library.embed(plan, found).counts == {"skipped": 1}
    assert file.read_bytes().endswith(b"one more byte")
    assert front(file) is None
    assert [row["reason"] for row in library.results()] == ["changed_meanwhile"]


@pytest.mark.parametrize("after", range(7))
def test_a_run_that_is_over_writes_nothing_more(library: SmallLibrary, after: int) -> None:
    files = library.album("tone.flac", "tone.mp3", "tone.ogg", image_url=image(library))
    plan = library.plan()
    found = library.find(plan)
    library.over_after = after
    if after > 4:  # the journal, three renames, and what was seen of the files
        library.embed(plan, found)
        return
    with pytest.raises(HarmonyError) as caught:
        library.embed(plan, found)
    assert (caught.value.code, caught.value.reason) == (ErrorCode.CONFLICT, Reason.RUN_OVER)
    done = [file for file in files if front(file)]
    assert done == files[: max(0, after - 1)]
    assert len(library.results()) == len(done)
    assert not list(library.music.rglob(".harmony*"))


def test_what_a_kill_kept_a_run_from_doing_is_told_once_by_the_next(library: SmallLibrary) -> None:
    files = library.album("tone.flac", "tone.mp3", "tone.ogg", image_url=image(library))
    before = [file.read_bytes() for file in files]
    plan = library.plan()
    found = library.find(plan)
    run = os.fork()
    if run == 0:  # it is killed when it is about to rename the second file
        asked = iter(range(2))
        library.guard = lambda: next(asked, None) is None and os._exit(9)  # pyright: ignore[reportAttributeAccessIssue]
        library.store.engine.dispose(close=False)
        library.embed(plan, found)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(run, 0)[1]) == 9
    assert [front(file) is not None for file in files] == [True, False, False]
    assert len(library.results()) == 3

    assert library.night().counts == {"embedded": 2}
    assert [len(library.results(run)) for run in (1, 2)] == [1, 2]
    assert [path.name for path in files[0].parent.iterdir() if path.name[0] == "."] == []
    restoring = Restoring("back", library.stores, (library.music,), _LIMITS, library.guard)
    restoring.files(changed_files(library.store, Wanted(everything=True)))
    assert [file.read_bytes() for file in files] == before


def test_what_was_restored_and_embedded_again_is_told_each_time(library: SmallLibrary) -> None:
    library.album("tone.flac", image_url=image(library))
    library.night()
    restoring = Restoring("back", library.stores, (library.music,), _LIMITS, library.guard)
    restoring.files(changed_files(library.store, Wanted(everything=True)))
    assert library.night("1").counts == {"embedded": 1}
    assert [len(library.results(run)) for run in (1, 2)] == [1, 1]


def test_files_that_change_together_need_no_more_room_than_one(
    library: SmallLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = library.album("tone.flac", "tone.mp3", "tone.ogg", image_url=image(library))
    plan = library.plan()
    found = library.find(plan)

    def room(_: object) -> object:
        copies = len(list(library.music.rglob(".harmony*")))
        return shutil._ntuple_diskusage(1 << 40, 0, 0 if copies else 1 << 40)  # pyright: ignore[reportAttributeAccessIssue]

    monkeypatch.setattr(shutil, "disk_usage", room)
    assert library.embed(plan, found).counts == {"embedded": 3}
    assert [front(file) for file in files] == [picture()] * 3


def test_an_album_that_another_run_is_at_work_on_is_left_to_it(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    plan = library.plan()
    found = library.find(plan)
    with album_lock(library.stores.locks, "1", Deadline.after(9)):
        work = library.embed(plan, found, Deadline.after(0.3))
        assert work.counts["skipped"] + work.counts["deferred"] == 1
    assert front(file) is None
    assert library.night().counts == {"embedded": 1}


def test_two_runs_at_once_write_each_file_once(library: SmallLibrary) -> None:
    for seed in "abcdef":
        library.album("tone.flac", "tone.mp3", image_url=image(library, seed))
    plan = library.plan()
    found = library.find(plan)
    works: list[dict[str, int]] = []
    runs = [
        threading.Thread(target=lambda: works.append(dict(library.embed(plan, found).counts)))
        for _ in range(2)
    ]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sum(counts.get("embedded", 0) for counts in works) == 12
    assert sum(counts.get("failed", 0) for counts in works) == 0


def test_litter_of_a_killed_run_is_swept(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    litter = file.with_name(".harmony-0123456789ab.flac")
    litter.write_bytes(b"half a copy")
    library.night()
    assert not litter.exists()


def test_a_damaged_cover_fails_its_album_and_is_fetched_again(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    plan = library.plan()
    found = library.find(plan)
    [waiting] = library.home.glob("covers/*/*")
    waiting.write_bytes(b"rotten")
    assert library.embed(plan, found).counts == {"failed": 1}
    assert front(file) is None
    assert library.night().counts == {"embedded": 1}


def test_a_source_without_a_cover_is_a_skip_and_a_broken_one_a_failure(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.album("tone.flac", image_url=f"{served.url}/image/none")
    page = served.catalogue.add_picture(b"<html>")
    library.album("tone.flac", image_url=f"{served.url}/image/{page}")
    library.covers = {"3": str(library.folder / "mistyped.jpg")}
    library.album("tone.flac", image_url=image(library))
    assert library.night().counts == {"skipped": 1, "failed": 2}
    rows = library.results()
    assert [(r["status"], r["code"]) for r in rows] == [
        ("skipped", "NOT_FOUND"),
        ("failed", "UNSUPPORTED_MEDIA"),
        ("failed", "NOT_FOUND"),
    ]
    assert all(r["path"] in r["message"] and r["source_url"] for r in rows)
    again = library.plan()
    assert again.skipped == {"waits": 3}


def test_a_larger_copy_replaces_a_cover_and_the_old_one_is_kept(library: SmallLibrary) -> None:
    library.policy = "larger"
    files = library.album("tone.flac", "tone.mp3", image_url=image(library, edge=640))
    for file in files:
        put(file, picture(edge=300))
    assert library.night().counts == {"embedded": 2}
    rows = library.results()
    assert {front(file) for file in files} == {picture(edge=640)}
    assert {library.stores.undo.get(row["old_sha256"]) for row in rows} == {picture(edge=300)}


def test_another_picture_replaces_nothing_and_is_fetched_once(
    library: SmallLibrary, served: SpotifyServer
) -> None:
    library.policy = "larger"
    [file] = library.album("tone.flac", image_url=image(library, "another", 640))
    put(file, picture())
    assert library.night().counts == {"skipped": 1}
    [row] = library.results()
    assert (row["status"], row["code"], row["reason"]) == ("skipped", "CONFLICT", "other_picture")
    assert "decisions.yaml" in row["message"]
    served.forget_requests()
    assert library.night().counts == {}
    assert (served.requests, front(file)) == ([], picture())


def test_a_picture_the_user_names_replaces_what_is_there_once(library: SmallLibrary) -> None:
    scan = library.folder / "scan.jpg"
    scan.write_bytes(picture("scan"))
    library.covers = {"1": str(scan)}
    first, second, third = library.album("tone.flac", "tone.mp3", "tone.ogg")
    put(first, picture("one"))
    put(second, picture("two"))
    assert library.night().counts == {"embedded": 3}
    assert {front(file) for file in (first, second, third)} == {picture("scan")}
    assert {r["source"] for r in library.results()} == {"user"}
    before = stamps(library)
    assert library.plan().files == 0
    assert stamps(library) == before


def test_a_full_undo_store_stops_replacing_and_adding_goes_on(library: SmallLibrary) -> None:
    library.policy = "larger"
    library.max_undo_bytes = 1
    for seed in "ab":
        [file] = library.album("tone.flac", image_url=image(library, seed, 640))
        put(file, picture(seed))
    library.album("tone.flac", image_url=image(library, "c"))
    assert library.night().counts == {"embedded": 2, "deferred": 1}
    library.album("tone.flac", image_url=image(library, "d"))
    assert library.night().counts == {"embedded": 1}


def test_the_undo_store_failing_ends_the_run_before_anything_is_replaced(
    library: SmallLibrary,
) -> None:
    library.policy = "larger"
    [file] = library.album("tone.flac", image_url=image(library, edge=640))
    put(file, picture())
    plan = library.plan()
    found = library.find(plan)
    library.undo_dir.write_text("a file where the folder should be")
    with pytest.raises(HarmonyError):
        library.embed(plan, found)
    assert (front(file), library.results()) == (picture(), [])


def test_a_run_stops_by_itself_and_the_next_goes_on(library: SmallLibrary) -> None:
    files = library.album("tone.flac", "tone.mp3", "tone.ogg", image_url=image(library))
    library.max_rewrite_bytes = 1
    for night in range(3):
        assert library.night().counts["embedded"] == 1
        assert sum(front(file) is not None for file in files) == night + 1
    plan = library.plan()
    assert plan.files == 0


def test_a_run_that_stops_within_an_album_leaves_the_rest_of_its_replacing_to_the_next(
    library: SmallLibrary,
) -> None:
    library.policy = "larger"
    files = library.album("tone.flac", "tone.mp3", "tone.ogg", image_url=image(library, edge=640))
    for file in files:
        put(file, picture(edge=300))
    library.max_rewrite_bytes = 1
    assert [library.night().counts["embedded"] for _ in range(4)] == [1, 1, 1, 0]
    assert {front(file) for file in files} == {picture(edge=640)}


def test_nothing_is_begun_after_its_time(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    plan = library.plan()
    found = library.find(plan)
    assert library.embed(plan, found, Deadline.after(0)).counts == {"deferred": 1}
    assert front(file) is None


def test_a_file_whose_name_is_not_utf8_gets_its_cover(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    odd = file.rename(file.with_name(os.fsdecode(b"na\xefve%41.flac")))
    library.tracks = [(1, os.fsencode(odd))]
    assert library.night().counts == {"embedded": 1}
    assert front(odd) == picture()
    assert library.results()[0]["path"].endswith("na%EFve%2541.flac")


def test_a_file_that_is_listed_twice_is_written_once(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.album(image_url=image(library, "b"))
    library.tracks.append((2, os.fsencode(file)))
    assert library.night().counts == {"embedded": 1, "has_cover": 1}
    [row] = library.results()
    assert row["status"] == "embedded"


def test_a_kill_right_after_a_rename_leaves_the_file_known_to_undo(library: SmallLibrary) -> None:
    library.policy = "larger"
    [file] = library.album("tone.flac", image_url=image(library, edge=640))
    put(file, picture())
    plan = library.plan()
    found = library.find(plan)
    asked = library.guard
    seen: list[tuple[bytes | None, bool]] = []

    def look() -> None:
        asked()
        kept = [path.read_bytes() for path in library.undo_dir.glob("*/*")]
        seen.append((front(file), picture() in kept))

    library.guard = look  # pyright: ignore[reportAttributeAccessIssue]
    library.embed(plan, found)
    assert seen[0] == (picture(), True)  # asked within the commit, before the rename
    assert library.results()[0]["sha256"] == sha256_of(picture(edge=640))


def sha256_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
