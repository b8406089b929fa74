import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from mediafile import Image, ImageType, MediaFile

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.safe_write import album_lock
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.steps.file_work import Limits
from harmony_pipelines.steps.restore_covers import Restoring, Wanted, changed_files
from harmony_pipelines_tests.audio_files import SAMPLES, replace_front
from harmony_pipelines_tests.small_library import SmallLibrary, flat, front, image, picture, put

_KILLED_AT_A_RENAME = """
import os
import signal
import sys
from pathlib import Path

from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.clients.content_store import ContentStore
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.steps.file_work import Limits, Stores
from harmony_pipelines.steps.restore_covers import Restoring, Wanted, changed_files

folder, left = Path(sys.argv[1]), int(sys.argv[2])


def count(event, _):
    global left
    left -= event == "os.rename"
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


home = folder / "home"
store = Catalogue.open(f"sqlite:///{home / 'harmony.db'}")
undo = ContentStore(home / "undo")
stores = Stores(store, ContentStore(home / "covers"), undo, home / "locks")
limits = Limits(Deadline.after(60), 1 << 40, 1 << 40)
work = Restoring("killed", stores, (folder / "music",), limits, lambda: None)
files = changed_files(store, Wanted(everything=True))
sys.addaudithook(count)
work.files(files)
"""
_EVERY_SAMPLE = [path.name for path in SAMPLES]


def restore(library: SmallLibrary, until: Deadline | None = None, **wanted: Any) -> dict[str, int]:
    """A run that takes covers back; its counts."""
    library.runs += 1
    work = Restoring(
        run_id=library.run_id,
        stores=library.stores,
        roots=(library.music,),
        limits=Limits(until or Deadline.after(60), library.max_rewrite_bytes, 1 << 40),
        guard=library.guard,
        break_hard_links=library.break_hard_links,
        only_run=wanted.get("run_id"),
    )
    work.files(changed_files(library.store, Wanted(**wanted)))
    return dict(work.counts)


def everything(library: SmallLibrary) -> dict[str, int]:
    return restore(library, everything=True)


def larger(library: SmallLibrary, seed: str = "a cover", edge: int = 640) -> None:
    """From now on Spotify has a larger copy for the first album, and it may replace a cover."""
    library.policy = "larger"
    album = {"artist_id": "artist", "album_id": "spotify1", "first_seen_at": "2026"}
    url = image(library, seed, edge)
    row = album | {"last_seen_at": "2026", "image_url": url}
    library.store.save(tables.spotify_albums, [row])


def test_files_that_had_no_cover_are_what_they_were_byte_for_byte(library: SmallLibrary) -> None:
    files = library.album(*_EVERY_SAMPLE, image_url=image(library))
    before = {file: file.read_bytes() for file in files}
    assert library.night().counts == {"embedded": len(files)}
    assert {file for file in files if file.read_bytes() == before[file]} == set()
    assert everything(library) == {"restored": len(files)}
    assert {file.name for file in files if file.read_bytes() != before[file]} == set()
    assert {front(file) for file in files} == {None}


def test_replaced_pictures_are_back_byte_for_byte(library: SmallLibrary) -> None:
    library.policy = "larger"
    files = library.album(*_EVERY_SAMPLE, image_url=image(library, edge=640))
    for file in files:
        put(file, picture(edge=300))
    before = {file: file.read_bytes() for file in files}
    assert library.night().counts == {"embedded": len(files)}
    assert everything(library) == {"restored": len(files)}
    assert {front(file) for file in files} == {picture(edge=300)}
    assert {file.name for file in files if file.read_bytes() != before[file]} == set()


def test_a_file_whose_tags_were_changed_since_gets_its_picture_back_and_keeps_them(
    library: SmallLibrary,
) -> None:
    library.policy = "larger"
    files = library.album(*_EVERY_SAMPLE, image_url=image(library, edge=640))
    for file in files[::2]:
        put(file, picture(edge=300))
    before = {file: front(file) for file in files}
    library.night()
    for file in files:
        _tag(file, title="Changed since")
    library.plan()
    assert everything(library) == {"restored": len(files)}
    assert {file: front(file) for file in files} == before
    assert {MediaFile(file).title for file in files} == {"Changed since"}
    assert all("has its picture back" in row["message"] for row in library.results())


def test_a_change_of_as_many_bytes_elsewhere_is_seen_and_kept(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    _tag(file, title="a title")
    library.night()
    file.write_bytes(file.read_bytes().replace(b"a title", b"A TITLE"))
    assert everything(library) == {"restored": 1}
    assert front(file) is None
    assert b"A TITLE" in file.read_bytes()


@pytest.mark.parametrize("lost", ["delta", "all"])
def test_where_the_way_back_was_not_kept_the_picture_still_goes_back(
    library: SmallLibrary, lost: str
) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    for kept in library.undo_dir.glob("*/*"):
        kept.unlink()
    if lost == "all":  # as an older version left its journal
        with library.store.writing() as connection:
            connection.execute(tables.artwork_undo.delete())
    assert everything(library) == {"restored": 1}
    assert front(file) is None


def test_what_was_moved_is_found_by_its_id_and_back_byte_for_byte(library: SmallLibrary) -> None:
    files = library.album("tone.flac", "tone.mp3", image_url=image(library))
    before = [file.read_bytes() for file in files]
    library.night()
    moved = [_move(library, file, f"moved/{file.name}") for file in files]
    library.plan()
    assert everything(library) == {"restored": 2}
    assert [file.read_bytes() for file in moved] == before
    assert {row["path"] for row in library.results()} == {str(file) for file in moved}
    again = [_move(library, file, f"again/{file.name}") for file in moved]
    library.plan()
    assert everything(library) == {"as_before": 2}
    assert [file.read_bytes() for file in again] == before


def test_files_that_changed_places_each_go_back_to_what_they_were(library: SmallLibrary) -> None:
    library.policy = "larger"
    one, other = library.album("tone.flac", "tone-alac.m4a", image_url=image(library, edge=640))
    put(one, picture(edge=300))
    before = one.read_bytes(), other.read_bytes()
    library.night()
    between = _move(library, one, "between")
    _move(library, other, str(one.relative_to(library.music)))
    _move(library, between, str(other.relative_to(library.music)))
    library.plan()
    assert everything(library) == {"restored": 2}
    assert (other.read_bytes(), one.read_bytes()) == before


def test_what_was_moved_and_imported_anew_is_found_by_its_sound(library: SmallLibrary) -> None:
    [file, other] = library.album("tone.flac", "tone.mp3", image_url=image(library))
    before = file.read_bytes()
    library.night()
    new = _move(library, file, "elsewhere.flac")
    library.tracks = [(1, os.fsencode(other)), (1, os.fsencode(new))]
    library.plan()
    assert restore(library, run_id="run 1") == {"restored": 2}
    assert new.read_bytes() == before


def test_what_was_embedded_moved_and_embedded_again_goes_back_all_the_way(
    library: SmallLibrary,
) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    before = file.read_bytes()
    library.night()
    moved = _move(library, file, "moved.flac")
    larger(library)
    assert library.night("1").counts["embedded"] == 1
    assert everything(library) == {"restored": 1}
    assert moved.read_bytes() == before
    assert everything(library) == {"as_before": 1}


def test_a_moved_file_with_another_cover_by_now_is_left_alone(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    moved = _move(library, file, "moved.flac")
    put(moved, picture("theirs"))
    library.plan()
    assert everything(library) == {"skipped": 1}
    [row] = library.results()
    assert (row["code"], row["path"]) == ("CONFLICT", str(moved))
    assert front(moved) == picture("theirs")


def test_another_file_at_the_place_of_ours_does_not_get_its_picture(
    library: SmallLibrary,
) -> None:
    library.policy = "larger"
    [file, other] = library.album("tone.flac", "tone-alac.m4a", image_url=image(library, edge=640))
    put(file, picture(edge=300))
    before = other.read_bytes()
    library.night()
    file.unlink()
    other.rename(file)
    library.tracks = [(1, os.fsencode(file))]
    library.plan()
    assert everything(library) == {"skipped": 1, "restored": 1}
    assert file.read_bytes() == before


def test_a_place_with_another_file_only_is_a_conflict(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    [another] = library.album("tone-alac.m4a")
    put(another, picture())
    another.replace(file)
    assert everything(library) == {"skipped": 1}
    assert library.results()[0]["code"] == "CONFLICT"
    assert front(file) == picture()


def test_a_twin_that_sounds_the_same_keeps_its_own_history(library: SmallLibrary) -> None:
    library.policy = "larger"
    [file] = library.album("tone.flac", image_url=image(library))
    [twin] = library.album("tone.flac", image_url=image(library, edge=640))
    put(twin, picture(edge=300))
    before = twin.read_bytes()
    library.night()
    file.unlink()
    library.plan()
    assert everything(library) == {"skipped": 1, "restored": 1}
    assert twin.read_bytes() == before


def _tag(file: Path, **values: str) -> None:
    """Write tags as another program does."""
    media = MediaFile(file)
    media.update(values)
    media.save()


def _move(library: SmallLibrary, file: Path, to: str) -> Path:
    """Move a file as `beet mv` does: elsewhere, the same item."""
    new = library.music / to
    new.parent.mkdir(exist_ok=True)
    at = [os.fsencode(file) == path for _, path in library.tracks].index(True)
    library.tracks[at] = (library.tracks[at][0], os.fsencode(file.rename(new)))
    return new


@pytest.mark.parametrize("image_format", ["WEBP", "GIF", "BMP"])
def test_a_picture_of_a_kind_that_we_would_not_embed_is_back_all_the_same(
    library: SmallLibrary, image_format: str
) -> None:
    old = flat(64, "red", image_format)
    scan = library.folder / "scan.jpg"
    scan.write_bytes(picture("scan"))
    library.covers = {"1": str(scan)}
    files = library.album(*(name for name in _EVERY_SAMPLE if not name.endswith(".m4a")))
    for file in files:
        media = MediaFile(file)
        media.images = [Image(old, type=ImageType.front)]
        media.save()
    assert library.night().counts == {"embedded": len(files)}
    assert everything(library) == {"restored": len(files)}
    assert {front(file) for file in files} == {old}


def test_a_restored_file_has_a_row_and_its_new_state_is_known(library: SmallLibrary) -> None:
    library.policy = "larger"
    [bare, covered] = library.album("tone.flac", "tone.mp3", image_url=image(library, edge=640))
    put(covered, picture(edge=300))
    library.night()
    ours = {row["path"]: row["sha256"] for row in library.results()}
    everything(library)
    rows = {row["path"]: row for row in library.results()}
    assert {row["status"] for row in rows.values()} == {"restored"}
    assert {row["path"]: row["old_sha256"] for row in rows.values()} == ours
    assert rows[str(bare)]["sha256"] is None
    assert (rows[str(covered)]["width"], rows[str(covered)]["album_id"]) == (300, "spotify1")
    known = {row["path"]: row for row in library.store.table(tables.beets_tracks)}
    for file, has_front, width in ((bare, 0, None), (covered, 1, 300)):
        row, told = known[str(file)], file.stat()
        assert (row["size"], row["mtime"]) == (told.st_size, told.st_mtime_ns)
        assert (row["has_front"], row["front_width"]) == (has_front, width)
        assert row["front_sha256"] == rows[str(file)]["sha256"]


def test_what_was_replaced_twice_goes_back_to_what_was_there_first(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    before = file.read_bytes()
    library.night()
    larger(library)
    library.night("1")
    larger(library, edge=1280)
    assert library.night("1").counts["embedded"] == 1
    assert everything(library) == {"restored": 1}
    assert file.read_bytes() == before


def test_one_run_is_taken_back_to_what_was_there_before_it(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    larger(library)
    library.night("1")
    assert front(file) == picture(edge=640)
    assert restore(library, run_id="run 1") == {"skipped": 1}
    assert library.results()[0]["code"] == "CONFLICT"
    assert restore(library, run_id="run 2") == {"restored": 1}
    assert front(file) == picture(edge=300)
    assert restore(library, run_id="run 2") == {"as_before": 1}
    assert restore(library, run_id="run 1") == {"restored": 1}
    assert front(file) is None


def test_only_the_named_albums_go_back(library: SmallLibrary) -> None:
    [first] = library.album("tone.flac", image_url=image(library))
    [second] = library.album("tone.mp3", image_url=image(library, "b"))
    library.night()
    assert restore(library, albums=["2"]) == {"restored": 1}
    assert (front(first), front(second)) == (picture(), None)


def test_an_album_is_known_by_the_id_that_it_has_now(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    library.album()
    library.tracks = [(2, os.fsencode(file))]
    library.plan()
    assert restore(library, albums=["1"]) == {}
    assert restore(library, albums=["2"]) == {"restored": 1}
    assert library.results()[0]["beets_album_id"] == 2


def test_restoring_twice_writes_nothing(library: SmallLibrary) -> None:
    files = library.album(*_EVERY_SAMPLE, image_url=image(library))
    library.night()
    everything(library)
    before = {file: (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}
    assert everything(library) == {"as_before": len(files)}
    assert library.results() == []
    assert {f: (f.stat().st_ino, f.stat().st_mtime_ns) for f in files} == before


def test_restored_albums_are_held_back_until_the_user_names_them(library: SmallLibrary) -> None:
    [restored] = library.album("tone.flac", image_url=image(library))
    [other] = library.album("tone.mp3", image_url=image(library, "b"))
    library.night()
    restore(library, albums=["1"])
    assert library.night().counts == {}
    assert library.plan().skipped == {"restored": 1, "has_cover": 1}
    assert library.plan("1").files == 1
    assert library.plan().skipped == {"restored": 1, "has_cover": 1}  # naming it is not enough
    assert library.night("1").counts == {"embedded": 1}
    assert (front(restored), front(other)) == (picture(), picture("b"))
    assert library.plan().skipped == {"has_cover": 2}
    assert restore(library, albums=["1"]) == {"restored": 1}
    assert library.plan().skipped["restored"] == 1


def test_a_picture_that_is_not_ours_any_more_stays(library: SmallLibrary) -> None:
    theirs, removed, ours = library.album(
        "tone.flac", "tone.mp3", "tone.ogg", image_url=image(library, edge=640)
    )
    library.policy = "larger"
    put(removed, picture(edge=300))
    library.night()
    put(theirs, picture("theirs"))
    replace_front(removed, None)
    assert everything(library) == {"skipped": 2, "restored": 1}
    assert (front(theirs), front(removed), front(ours)) == (picture("theirs"), None, None)
    rows = [row for row in library.results() if row["status"] == "skipped"]
    assert {(row["code"], row["reason"]) for row in rows} == {("CONFLICT", "changed_meanwhile")}
    assert all(row["path"] in row["message"] for row in rows)


def test_a_file_that_is_gone_is_skipped(library: SmallLibrary) -> None:
    [file, other] = library.album("tone.flac", "tone.mp3", image_url=image(library))
    library.night()
    file.unlink()
    assert everything(library) == {"skipped": 1, "restored": 1}
    [row] = [row for row in library.results() if row["status"] == "skipped"]
    assert (row["code"], row["reason"]) == ("NOT_FOUND", "file_missing")
    assert front(other) is None


def test_a_file_that_left_the_library_goes_back_all_the_same(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    library.tracks.clear()
    library.rows.clear()
    library.plan()
    assert restore(library, albums=["1"]) == {"restored": 1}
    assert front(file) is None


def test_a_picture_that_was_not_kept_fails_and_the_file_keeps_ours(library: SmallLibrary) -> None:
    library.policy = "larger"
    file, bare = library.album("tone.flac", "tone.mp3", image_url=image(library, edge=640))
    put(file, picture(edge=300))
    library.night()
    for kept in library.undo_dir.glob("*/*"):
        kept.unlink()
    assert everything(library) == {"failed": 1, "restored": 1}
    assert (front(file), front(bare)) == (picture(edge=640), None)
    [row] = [row for row in library.results() if row["status"] == "failed"]
    assert (row["code"], row["reason"]) == ("NOT_FOUND", "not_kept")
    assert str(file) in row["message"]


def test_a_change_that_a_kill_kept_from_being_made_needs_no_undoing(library: SmallLibrary) -> None:
    first, second = library.album("tone.flac", "tone.mp3", image_url=image(library))
    before = {file: file.read_bytes() for file in (first, second)}
    library.night()
    first.write_bytes(before[first])
    assert everything(library) == {"as_before": 1, "restored": 1}
    assert {file: file.read_bytes() for file in before} == before


@pytest.mark.parametrize("after", range(4))
def test_a_run_that_is_over_writes_nothing_more_and_the_next_finishes(
    library: SmallLibrary, after: int
) -> None:
    files = library.album("tone.flac", "tone.mp3", "tone.ogg", image_url=image(library))
    library.night()
    library.over_after = after
    with pytest.raises(HarmonyError) as caught:
        everything(library)
    assert caught.value.reason is Reason.RUN_OVER
    assert [file for file in files if front(file) is None] == files[:after]
    assert len(library.results()) == after
    assert not list(library.music.rglob(".harmony*"))
    library.over_after = None
    assert everything(library).get("restored", 0) == 3 - after
    assert library.night().counts == {}


@pytest.mark.slow
@pytest.mark.parametrize("at", range(1, 5))
def test_a_kill_before_any_rename_leaves_whole_files_and_the_next_run_finishes(
    library: SmallLibrary, at: int
) -> None:
    library.policy = "larger"
    files = library.album("tone.flac", "tone.mp3", image_url=image(library, edge=640))
    put(files[0], picture(edge=300))
    before = [file.read_bytes() for file in files]
    library.night()
    after = [file.read_bytes() for file in files]
    command = [sys.executable, "-c", _KILLED_AT_A_RENAME, str(library.folder), str(at)]
    killed = subprocess.run(command, check=False, timeout=60).returncode
    assert (killed != 0) == (at < 4)  # our picture into its store, and two files
    back = [file.read_bytes() == old for file, old in zip(files, before, strict=True)]
    assert back == [at > 2, at > 3]
    assert all(
        file.read_bytes() == ours
        for file, ours, is_back in zip(files, after, back, strict=True)
        if not is_back
    )
    assert everything(library).get("restored", 0) == back.count(False)
    assert [file.read_bytes() for file in files] == before
    assert not list(library.music.rglob(".harmony*"))
    assert library.night().counts == {}


def test_a_run_stops_by_itself_and_the_next_goes_on(library: SmallLibrary) -> None:
    files = library.album("tone.flac", "tone.mp3", "tone.ogg", image_url=image(library))
    library.night()
    library.max_rewrite_bytes = 1
    for done in range(1, 4):
        assert everything(library)["restored"] == 1
        assert sum(front(file) is None for file in files) == done
    assert everything(library) == {"as_before": 3}
    library.max_rewrite_bytes = 1 << 40


def test_nothing_is_begun_after_its_time(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    assert restore(library, Deadline.after(0), everything=True) == {"deferred": 1}
    assert front(file) == picture()


def test_an_album_that_another_run_is_at_work_on_is_left_to_it(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    with album_lock(library.stores.locks, "1", Deadline.after(9)):
        counts = restore(library, Deadline.after(0.3), everything=True)
        assert sum(counts.values()) == 1
        assert "restored" not in counts
    assert front(file) == picture()


def test_two_runs_at_once_restore_each_file_once(library: SmallLibrary) -> None:
    for seed in "abcd":
        library.album("tone.flac", "tone.mp3", image_url=image(library, seed))
    library.night()
    counts: list[dict[str, int]] = []
    runs = [threading.Thread(target=lambda: counts.append(everything(library))) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sum(one.get("restored", 0) for one in counts) == 8
    assert sum(one.get("failed", 0) for one in counts) == 0


def test_litter_of_a_killed_run_is_swept(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    litter = file.with_name(".harmony-0123456789ab.flac")
    litter.write_bytes(b"half a copy")
    everything(library)
    assert not litter.exists()


@pytest.mark.parametrize(("odd", "reason"), [("linked", "hard_link"), ("shut", "read_only")])
def test_a_file_that_may_not_be_changed_is_skipped(
    library: SmallLibrary, odd: str, reason: str
) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    if odd == "linked":
        (library.folder / "twin").hardlink_to(file)
    else:
        file.chmod(0o444)
    assert everything(library) == {"skipped": 1}
    assert [row["reason"] for row in library.results()] == [reason]
    assert front(file) == picture()


def test_our_picture_is_kept_too_when_it_is_taken_out(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    everything(library)
    assert picture() in [path.read_bytes() for path in library.undo_dir.glob("*/*")]
    assert front(file) is None


def test_a_store_that_cannot_be_written_ends_the_run_before_anything_goes_back(
    library: SmallLibrary,
) -> None:
    files = library.album("tone.flac", "tone.mp3", image_url=image(library))
    library.night()
    library.undo_dir.rename(library.home / "elsewhere")
    library.undo_dir.write_text("a file where the folder should be")
    with pytest.raises(HarmonyError):
        everything(library)
    assert {front(file) for file in files} == {picture()}


def test_a_file_that_is_listed_twice_is_restored_once(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.album(image_url=image(library, "b"))
    library.tracks.append((2, os.fsencode(file)))
    library.night()
    assert everything(library) == {"restored": 1}
    assert {row["has_front"] for row in library.store.table(tables.beets_tracks)} == {0}


def test_a_file_whose_name_is_not_utf8_goes_back(library: SmallLibrary) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    odd = file.rename(file.with_name(os.fsdecode(b"na\xefve%41.flac")))
    library.tracks = [(1, os.fsencode(odd))]
    library.night()
    assert everything(library) == {"restored": 1}
    assert front(odd) is None


def test_nothing_of_ours_is_nothing_to_restore(library: SmallLibrary) -> None:
    library.album("tone.flac", image_url="")
    library.night()
    assert everything(library) == {}
    assert restore(library, albums=["1"]) == {}


@pytest.mark.parametrize(
    "wanted",
    [
        {},
        {"run_id": ""},
        {"albums": []},
        {"run_id": "run 1", "everything": True},
        {"run_id": "run 1", "albums": ["1"]},
        {"albums": ["1"], "everything": True},
    ],
)
def test_exactly_one_of_the_three_is_given(wanted: dict[str, Any]) -> None:
    with pytest.raises(HarmonyError) as caught:
        Wanted(**wanted)
    assert (caught.value.code, caught.value.reason) == (
        ErrorCode.VALIDATION_ERROR,
        Reason.RUN_CONFIG,
    )
    assert all(name in caught.value.message for name in ("run_id", "albums", "everything"))


@pytest.mark.parametrize("wanted", [{"run_id": "run 9"}, {"albums": ["1", "4711"]}])
def test_what_was_never_there_is_refused_by_name(
    library: SmallLibrary, wanted: dict[str, Any]
) -> None:
    [file] = library.album("tone.flac", image_url=image(library))
    library.night()
    with pytest.raises(HarmonyError, match=r"run 9|4711") as caught:
        restore(library, **wanted)
    assert caught.value.reason is Reason.RUN_CONFIG
    assert front(file) == picture()
