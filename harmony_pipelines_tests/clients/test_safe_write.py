import contextlib
import errno
import os
import resource
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harmony_pipelines.clients.safe_write import (
    Replaced,
    WriteOptions,
    album_lock,
    replace_file,
    sweep,
    sweep_abandoned,
)
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason


def test_the_changed_copy_takes_the_place_of_the_file(tmp_path: Path) -> None:
    file = _file(tmp_path)
    assert _replace(file) == Replaced(file, frozenset())
    assert file.read_bytes() == b"old, new"
    assert _names(tmp_path) == ["song.mp3"]


def test_mode_owner_and_attributes_stay_and_the_time_is_new(tmp_path: Path) -> None:
    file = _file(tmp_path)
    os.utime(file, (1, 1))
    file.chmod(0o640)
    with contextlib.suppress(OSError):
        os.setxattr(file, "user.mood", b"calm")
    before, attributes = file.stat(), _attributes(file)
    _replace(file)
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (
        before.st_mode,
        before.st_uid,
        before.st_gid,
    )
    assert _attributes(file) == attributes
    assert after.st_mtime > before.st_mtime


def test_the_copy_lies_beside_the_file_hidden_and_with_its_extension(tmp_path: Path) -> None:
    seen: list[Path] = []
    _replace(_file(tmp_path), change=lambda _, copy: seen.append(copy))
    assert seen[0].parent == tmp_path
    assert seen[0].name.startswith(".harmony-")
    assert seen[0].suffix == ".mp3"


@pytest.mark.parametrize("broken", ["change", "verify", "guard"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, HarmonyError])
def test_a_failure_at_any_step_leaves_the_file_and_no_copy(
    broken: str, error: type[BaseException], tmp_path: Path
) -> None:
    file = _file(tmp_path)
    before = file.stat()

    def fail(*_: object) -> None:
        if error is HarmonyError:
            raise HarmonyError(ErrorCode.CONFLICT, Reason.RUN_OVER, "over")
        raise error

    with pytest.raises(error):
        _replace(file, **{broken: fail})
    assert file.read_bytes() == b"old"
    assert file.stat().st_ino == before.st_ino
    assert file.stat().st_mtime_ns == before.st_mtime_ns
    assert _names(tmp_path) == ["song.mp3"]


def test_a_file_that_another_program_changes_meanwhile_is_left_to_it(tmp_path: Path) -> None:
    file = _file(tmp_path)
    caught = _refused(file, verify=lambda *_: file.write_bytes(b"theirs"))
    assert (caught.code, caught.reason) == (ErrorCode.CONFLICT, Reason.CHANGED_MEANWHILE)
    assert file.read_bytes() == b"theirs"
    assert _names(tmp_path) == ["song.mp3"]


def test_a_file_that_goes_away_meanwhile_does_not_come_back(tmp_path: Path) -> None:
    file = _file(tmp_path)
    assert _refused(file, verify=lambda *_: file.unlink()).reason is Reason.FILE_MISSING
    assert _names(tmp_path) == []


def test_what_a_copy_lacks_is_put_down_to_the_change_that_another_program_made_meanwhile(
    tmp_path: Path,
) -> None:
    file = _file(tmp_path)

    def fail(*_: Path) -> None:
        file.write_bytes(b"theirs")
        raise HarmonyError(ErrorCode.INTERNAL_ERROR, Reason.VERIFICATION, "other tags")

    assert _refused(file, verify=fail).reason is Reason.CHANGED_MEANWHILE
    assert file.read_bytes() == b"theirs"
    assert _names(tmp_path) == ["song.mp3"]


def test_the_guard_speaks_last_before_the_rename(tmp_path: Path) -> None:
    file = _file(tmp_path)
    said: list[bytes] = []
    _replace(file, guard=lambda _: said.append(file.read_bytes()))
    assert said == [b"old"]


def test_a_folder_that_cannot_be_synced_is_said_and_the_file_is_the_new_one(
    tmp_path: Path,
) -> None:
    file, limits = _file(tmp_path), resource.getrlimit(resource.RLIMIT_NOFILE)

    def nothing_can_be_opened_any_more(_: None) -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))

    try:
        replaced = _replace(file, guard=nothing_can_be_opened_any_more)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert replaced == Replaced(file, frozenset({"sync"}))
    assert file.read_bytes() == b"old, new"
    assert _names(tmp_path) == ["song.mp3"]


def test_the_guard_hears_what_the_verification_found(tmp_path: Path) -> None:
    heard: list[object] = []
    _replace(_file(tmp_path), verify=lambda *_: "all is well", guard=heard.append)
    assert heard == ["all is well"]


def test_a_hard_link_is_left_alone_unless_it_may_be_broken(tmp_path: Path) -> None:
    file, twin = _file(tmp_path), tmp_path / "twin.mp3"
    twin.hardlink_to(file)
    assert _refused(file).reason is Reason.HARD_LINK
    _replace(file, options=WriteOptions((tmp_path,), break_hard_links=True, room=0))
    assert (file.read_bytes(), twin.read_bytes()) == (b"old, new", b"old")


def test_a_symbolic_link_stays_one_and_its_target_changes(tmp_path: Path) -> None:
    file, link = _file(tmp_path), tmp_path / "link.mp3"
    link.symlink_to(file)
    assert _replace(link).path == file
    assert link.is_symlink()
    assert file.read_bytes() == b"old, new"


@pytest.mark.parametrize("name", ["x" * 251 + ".mp3", "a." + "e" * 253])
def test_a_name_may_be_as_long_as_names_can_be(tmp_path: Path, name: str) -> None:
    file = _file(tmp_path).rename(tmp_path / name)
    assert _replace(file).path == file
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_a_link_out_of_the_library_is_refused(tmp_path: Path) -> None:
    library, outside = tmp_path / "library", tmp_path / "outside"
    library.mkdir()
    outside.mkdir()
    link = library / "link.mp3"
    link.symlink_to(_file(outside))
    caught = _refused(link, options=WriteOptions((library,), room=0))
    assert caught.reason is Reason.OUTSIDE_LIBRARY
    assert "HARMONY_PATH_MAP" in caught.message
    assert (outside / "song.mp3").read_bytes() == b"old"


def test_a_root_that_is_itself_a_link_holds_its_files(tmp_path: Path) -> None:
    real, root = tmp_path / "real", tmp_path / "root"
    real.mkdir()
    root.symlink_to(real)
    _file(real)
    assert _replace(root / "song.mp3", options=WriteOptions((root,), room=0)).path.is_file()


def test_a_read_only_file_is_refused(tmp_path: Path) -> None:
    file = _file(tmp_path)
    file.chmod(0o444)
    assert _refused(file).reason is Reason.READ_ONLY
    assert file.read_bytes() == b"old"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write into any folder")
def test_a_read_only_folder_is_refused(tmp_path: Path) -> None:
    file = _file(tmp_path)
    tmp_path.chmod(0o555)
    try:
        assert _refused(file).reason is Reason.READ_ONLY
    finally:
        tmp_path.chmod(0o755)


def test_too_little_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    changed: list[Path] = []
    options = WriteOptions((tmp_path,), room=1 << 60)
    assert _refused(
        _file(tmp_path), change=lambda _, copy: changed.append(copy), options=options
    ).reason is (Reason.DISK_FULL)
    assert changed == []


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        (errno.ENOSPC, Reason.DISK_FULL),
        (errno.EDQUOT, Reason.DISK_FULL),
        (errno.EROFS, Reason.READ_ONLY),
        (errno.EPERM, Reason.READ_ONLY),
        (errno.EXDEV, Reason.CROSS_DEVICE),
        (errno.EBUSY, Reason.CROSS_DEVICE),
        (errno.EIO, Reason.IO_ERROR),
    ],
)
def test_what_the_disk_says_has_a_reason(number: int, reason: Reason, tmp_path: Path) -> None:
    def fail(*_: Path) -> None:
        raise OSError(number, "no")

    caught = _refused(_file(tmp_path), change=fail)
    assert (caught.code, caught.reason) == (ErrorCode.DEPENDENCY_ERROR, reason)
    assert "song.mp3" in caught.message
    assert _names(tmp_path) == ["song.mp3"]


def test_folders_and_pipes_are_no_files(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp3"
    os.mkfifo(pipe)
    assert _refused(pipe).reason is Reason.NOT_AUDIO
    assert stat.S_ISFIFO(pipe.stat().st_mode)
    assert _refused(tmp_path).reason is Reason.NOT_AUDIO


class TestSweep:
    def test_only_our_old_copies_go(self, tmp_path: Path) -> None:
        ours = tmp_path / ".harmony-0123456789ab.mp3"
        kept = [tmp_path / name for name in (".harmony-notes.mp3", ".hidden", "song.mp3")]
        fresh = tmp_path / ".harmony-ba9876543210.mp3"
        for path in (ours, fresh, *kept):
            path.write_bytes(b"x")
        os.utime(ours, (1, 1))
        assert sweep(tmp_path, now=time.time()) == [ours]
        assert _names(tmp_path) == sorted(path.name for path in (fresh, *kept))

    def test_a_copy_that_is_being_written_stays(self, tmp_path: Path) -> None:
        swept: list[Path] = []
        _replace(_file(tmp_path), change=lambda *_: swept.extend(_sweep_all(tmp_path)))
        assert swept == []

    def test_a_link_with_the_name_of_a_copy_is_not_followed(self, tmp_path: Path) -> None:
        link = tmp_path / ".harmony-0123456789ab.mp3"
        link.symlink_to(_file(tmp_path))
        assert _sweep_all(tmp_path) == []

    def test_a_missing_folder_is_said_to_be_missing(self, tmp_path: Path) -> None:
        with pytest.raises(HarmonyError) as caught:
            sweep(tmp_path / "gone", now=0)
        assert caught.value.reason is Reason.FILE_MISSING


class TestSweepAbandoned:
    def test_what_a_killed_run_left_goes_from_the_folders_that_its_lock_names(
        self, tmp_path: Path
    ) -> None:
        locks, folders = tmp_path / "locks", [tmp_path / "one", tmp_path / os.fsdecode(b"tw\xf6")]
        for folder in folders:
            folder.mkdir()
            (folder / ".harmony-0123456789ab.mp3").write_bytes(b"half a copy")
        lock = _lock_of_a_killed_run(locks, folders)
        sweep_abandoned(locks)
        assert [_names(folder) for folder in folders] == [[], []]
        assert not lock.exists()

    def test_a_folder_that_is_not_there_keeps_its_lock_for_later(self, tmp_path: Path) -> None:
        lock = _lock_of_a_killed_run(tmp_path / "locks", [tmp_path / "unmounted"])
        sweep_abandoned(tmp_path / "locks")
        assert lock.exists()

    def test_an_album_at_work_and_other_locks_are_left_alone(self, tmp_path: Path) -> None:
        (tmp_path / "embed_artwork.lock").write_text("{}")
        (tmp_path / ".harmony-0123456789ab.mp3").write_bytes(b"a copy")
        with album_lock(tmp_path, "7", Deadline.after(5), folders=[tmp_path]):
            before = _names(tmp_path)
            sweep_abandoned(tmp_path)
            assert _names(tmp_path) == before
        assert _names(tmp_path) == [".harmony-0123456789ab.mp3", "embed_artwork.lock"]

    def test_no_locks_at_all_are_nothing_to_sweep(self, tmp_path: Path) -> None:
        sweep_abandoned(tmp_path / "never")


def _lock_of_a_killed_run(locks: Path, folders: list[Path]) -> Path:
    with album_lock(locks, "7", Deadline.after(5), folders=folders):
        [held] = locks.iterdir()
        (left := held.with_suffix(".copy")).write_bytes(held.read_bytes())
    return left.rename(held)


class TestAlbumLock:
    def test_who_comes_second_waits_and_then_hears_that_it_is_locked(self, tmp_path: Path) -> None:
        with album_lock(tmp_path, "7", Deadline.after(5)):
            begin = time.monotonic()
            caught = _locked_out(tmp_path, "7", wait_s=0.3)
            assert 0.3 <= time.monotonic() - begin < 2
        assert (caught.code, caught.reason) == (ErrorCode.CONFLICT, Reason.LOCKED)

    def test_another_album_is_free(self, tmp_path: Path) -> None:
        with (
            album_lock(tmp_path, "7", Deadline.after(5)),
            album_lock(tmp_path, "8", Deadline.after(5)),
        ):
            pass

    def test_the_wait_ends_with_the_deadline(self, tmp_path: Path) -> None:
        with album_lock(tmp_path, "7", Deadline.after(5)):
            begin = time.monotonic()
            with pytest.raises(HarmonyError), album_lock(tmp_path, "7", Deadline.after(0.2)):
                pass
            assert time.monotonic() - begin < 2

    def test_it_is_handed_over_as_soon_as_it_is_free_and_leaves_no_litter(
        self, tmp_path: Path
    ) -> None:
        inside: list[int] = []

        def work(number: int) -> None:
            with album_lock(tmp_path, "7", Deadline.after(20), wait_s=20):
                inside.append(number)
                assert inside[-1] == number
                time.sleep(0.01)
                assert inside[-1] == number

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(inside) == list(range(8))
        assert _names(tmp_path) == []

    @pytest.mark.slow
    def test_death_releases_it(self, tmp_path: Path) -> None:
        holder = subprocess.Popen(
            [
                sys.executable,
                "-c",
                "import sys, time; from pathlib import Path\n"
                "from harmony_pipelines.clients.safe_write import album_lock\n"
                "from harmony_pipelines.domain.deadline import Deadline\n"
                "with album_lock(Path(sys.argv[1]), '7', Deadline.after(60)):\n"
                "    print('held', flush=True); time.sleep(60)",
                str(tmp_path),
            ],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        with holder:
            assert holder.stdout is not None
            assert holder.stdout.readline() == b"held\n"
            assert _locked_out(tmp_path, "7", wait_s=0.1).reason is Reason.LOCKED
            holder.kill()
        with album_lock(tmp_path, "7", Deadline.after(5)):
            pass


def _file(folder: Path) -> Path:
    file = folder / "song.mp3"
    file.write_bytes(b"old")
    return file


def _append(original: Path, copy: Path) -> None:
    copy.write_bytes(original.read_bytes() + b", new")


def _replace(file: Path, **steps: object) -> Replaced:
    given = {
        "change": _append,
        "verify": lambda *_: None,
        "guard": lambda _: None,
        "options": WriteOptions((file.parent,), room=0),
        **steps,
    }
    return replace_file(file, **given)  # pyright: ignore[reportArgumentType]


def _refused(file: Path, **steps: object) -> HarmonyError:
    with pytest.raises(HarmonyError) as caught:
        _replace(file, **steps)
    return caught.value


def _locked_out(folder: Path, key: str, wait_s: float) -> HarmonyError:
    with (
        pytest.raises(HarmonyError) as caught,
        album_lock(folder, key, Deadline.after(5), wait_s=wait_s),
    ):
        pass
    return caught.value


def _sweep_all(folder: Path) -> list[Path]:
    return sweep(folder, now=time.time() + 7200)


def _names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def _attributes(file: Path) -> dict[str, bytes]:
    return {name: os.getxattr(file, name) for name in os.listxattr(file)}
