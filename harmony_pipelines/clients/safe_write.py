"""The only way a file of the user's is changed: a copy beside it, changed, verified, renamed over.

Whatever happens at whatever instant, the file is the old one or the new one. There is no second
way: where a file cannot be replaced by a rename it is left alone. Several copies may be prepared
before the first is put in place; each is locked, and named so that the next run's sweep finds it.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from harmony_pipelines.clients.file_errors import NO_SUCH_FEATURE, file_error, shown, speaking_of
from harmony_pipelines.clients.whole_files import sync_file
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_Found = TypeVar("_Found")
_LITTER = re.compile(r"\.harmony-[0-9a-f]{12}(\.[^.]*)?")
_ALBUM_LOCK = re.compile(r"[0-9a-f]{32}\.lock")
_SUFFIX_SIGNS = 16
"""As much of the name's ending as a copy keeps: a title with a dot in it may be one long ending."""
_POLL_S = 0.1
_SAID_OF_CONTENT = (ErrorCode.UNSUPPORTED_MEDIA, ErrorCode.INTERNAL_ERROR)
_NOT_ALLOWED = {errno.EPERM, errno.EACCES, *NO_SUCH_FEATURE}


@dataclass(frozen=True)
class WriteOptions:
    """Where files may be changed, and what of them.

    `roots` are the library's folders; a link that leads out of them is refused. `room` is what a
    file may grow by.
    """

    roots: tuple[Path, ...]
    break_hard_links: bool = False
    room: int = 32 << 20


@dataclass(frozen=True)
class Replaced:
    """The file that was replaced (links followed), and what the file system could not do for it.

    `not_kept` holds `mode`, `owner`, `attributes` and `sync`: to be said once a run, not once a
    file. `sync` is the folder's, without which a power failure may bring the old file back.
    """

    path: Path
    not_kept: frozenset[str]


@dataclass(frozen=True)
class Prepared(Generic[_Found]):
    """A changed and verified copy beside its file; it is gone once this is closed.

    `found` is what the verification found. To take the file's place it is synced, then put there.
    """

    path: Path
    target: Path
    copy: Path
    found: _Found
    not_kept: frozenset[str]
    _stamp: tuple[int, int, int]
    _held: contextlib.ExitStack

    def sync(self) -> None:
        """Wait until the disk has the copy."""
        with _failing_as(self.path):
            sync_file(self.copy)

    def put(self) -> None:
        """Rename the copy over the file; CONFLICT if another program changed the file meanwhile.

        The new name lasts once the folder is synced.
        """
        with _failing_as(self.path):
            if _stamp(self.target.stat()) != self._stamp:
                raise changed_meanwhile(self.target)
            self.copy.replace(self.target)

    @property
    def is_waiting(self) -> bool:
        """Whether the copy is still beside the file: then it took nobody's place."""
        return os.path.lexists(self.copy)

    def close(self) -> None:
        """Remove the copy, unless it was put in the file's place."""
        self._held.close()


def prepare(
    path: Path,
    change: Callable[[Path, Path], None],
    verify: Callable[[Path, Path], _Found],
    options: WriteOptions,
) -> Prepared[_Found]:
    """Let `change` write the file as it is to be into a copy, and `verify` compare the two.

    Any failure leaves no copy behind.
    """
    with _failing_as(path), contextlib.ExitStack() as held:
        target = _resolved(path, options.roots)
        before = target.stat()
        _check_may_be_replaced(target, before, options)
        copy = held.enter_context(_copy_beside(target))
        try:
            change(target, copy)
            found = verify(target, copy)
        except HarmonyError as error:
            if error.code in _SAID_OF_CONTENT and _stamp(target.stat()) != _stamp(before):
                raise changed_meanwhile(target) from error
            raise
        not_kept = _keep_metadata(target, before, copy)
        return Prepared(path, target, copy, found, not_kept, _stamp(before), held.pop_all())


def replace_file(
    path: Path,
    change: Callable[[Path, Path], None],
    verify: Callable[[Path, Path], _Found],
    guard: Callable[[_Found], None],
    options: WriteOptions,
) -> Replaced:
    """Prepare a copy of one file, and put it in its place.

    `guard` is called right before the rename, with what `verify` found, and raises if the run is
    over. Any failure before the rename leaves the file as it was and no copy behind; after it
    nothing fails any more, and the file is the new one.
    """
    with contextlib.closing(prepare(path, change, verify, options)) as new:
        new.sync()
        guard(new.found)
        new.put()
        return Replaced(new.target, new.not_kept | sync_folder(new.target.parent))


def sync_folder(folder: Path) -> frozenset[str]:
    """Make renames last; what could not be done, since the files are the new ones all the same."""
    try:
        sync_file(folder)
    except OSError:
        return frozenset({"sync"})
    return frozenset()


def changed_meanwhile(target: Path) -> HarmonyError:
    """The failure of a file that is not what it was when the work on it began."""
    return HarmonyError(
        ErrorCode.CONFLICT,
        Reason.CHANGED_MEANWHILE,
        f"{shown(target)} was left alone: another program changed it meanwhile.",
        path=shown(target),
    )


def sweep(folder: Path, *, now: float, older_than_s: float = 3600) -> list[Path]:
    """Remove the copies that a killed run left in the folder; returns which.

    A copy in use is held by its writer's kernel lock and stays.
    """
    removed: list[Path] = []
    with speaking_of(folder):
        for litter in folder.iterdir():
            if _LITTER.fullmatch(litter.name) and _is_abandoned(litter, now - older_than_s):
                litter.unlink(missing_ok=True)
                removed.append(litter)
    return removed


def sweep_abandoned(locks_dir: Path) -> None:
    """Sweep the folders of albums on which a run was killed: each left its lock, which names them.

    A folder that is not there just now keeps its lock for a later run.
    """
    with speaking_of(locks_dir):
        left = sorted(locks_dir.glob("*.lock"))
    for lock in left:
        if _ALBUM_LOCK.fullmatch(lock.name):
            with contextlib.suppress(OSError, HarmonyError):
                _sweep_what_it_names(lock)


def _sweep_what_it_names(lock: Path) -> None:
    handle = os.open(lock, os.O_RDWR | os.O_CLOEXEC)
    try:
        if _take(handle) and _is_still(handle, lock):
            for folder in filter(None, lock.read_bytes().split(b"\0")):
                sweep(Path(os.fsdecode(folder)), now=time.time(), older_than_s=0)
            lock.unlink()
    finally:
        os.close(handle)


@contextlib.contextmanager
def album_lock(
    locks_dir: Path,
    key: str,
    deadline: Deadline,
    *,
    folders: Iterable[Path] = (),
    wait_s: float = 10.0,
) -> Iterator[None]:
    """Hold the album's kernel lock, which only its holder's end releases.

    It names the folders in which its holder may leave copies if killed. CONFLICT if another process
    or thread still has it after `wait_s`, or at the deadline.
    """
    name = hashlib.sha256(key.encode()).hexdigest()[:32] + ".lock"
    with speaking_of(locks_dir):
        locks_dir.mkdir(parents=True, exist_ok=True)
    handle = _locked(locks_dir / name, key, time.monotonic() + deadline.limit(wait_s))
    try:
        with speaking_of(locks_dir / name):
            os.truncate(handle, 0)
            os.write(handle, b"\0".join(os.fsencode(folder) for folder in folders))
        yield
    finally:
        with contextlib.suppress(OSError):  # one that stays is swept with the next run's first
            (locks_dir / name).unlink()
        os.close(handle)


def _locked(path: Path, key: str, until: float) -> int:
    while True:
        with speaking_of(path):
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            if _take(handle) and _is_still(handle, path):
                return handle
        os.close(handle)
        left = until - time.monotonic()
        if left <= 0:
            raise HarmonyError(
                ErrorCode.CONFLICT,
                Reason.LOCKED,
                f"Another run is at work on album {key}; it comes with the next run.",
                album=key,
            )
        time.sleep(min(_POLL_S, left))


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(handle: int, path: Path) -> bool:
    """Whether the lock taken is the one that others see: its last holder removes the file."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _resolved(path: Path, roots: tuple[Path, ...]) -> Path:
    target = path.resolve(strict=True)
    if any(target.is_relative_to(root.resolve()) for root in roots):
        return target
    raise HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.OUTSIDE_LIBRARY,
        f"{shown(path)} was left alone: it leads to {shown(target)}, outside the library. If its "
        "folder is yours to change too, add it to HARMONY_PATH_MAP (/mnt/b=/mnt/b), then name this "
        "album in a run.",
        path=shown(path),
    )


def _check_may_be_replaced(target: Path, found: os.stat_result, options: WriteOptions) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise HarmonyError(
            ErrorCode.UNSUPPORTED_MEDIA,
            Reason.NOT_AUDIO,
            f"{shown(target)} was left alone: it is no regular file.",
            path=shown(target),
        )
    if found.st_nlink > 1 and not options.break_hard_links:
        raise HarmonyError(
            ErrorCode.CONFLICT,
            Reason.HARD_LINK,
            f"{shown(target)} was left alone: it has {found.st_nlink} names (hard links), and only "
            "this one would change. HARMONY_ARTWORK_HARDLINKS=break allows that.",
            path=shown(target),
        )
    if not found.st_mode & 0o222 or not os.access(target, os.W_OK):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))
    if shutil.disk_usage(target.parent).free < found.st_size + options.room:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@contextlib.contextmanager
def _copy_beside(target: Path) -> Iterator[Path]:
    """A hidden file in the same folder, still empty, locked while it is ours, gone afterwards."""
    copy = target.with_name(f".harmony-{secrets.token_hex(6)}{target.suffix[:_SUFFIX_SIGNS]}")
    handle = -1
    try:
        handle = os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with _tolerated(NO_SUCH_FEATURE):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield copy
    finally:
        if handle >= 0:
            with contextlib.suppress(OSError):  # it is gone by rename, or swept by the next run
                copy.unlink()
            with contextlib.suppress(OSError):  # what was to reach the disk has been synced
                os.close(handle)


def _keep_metadata(target: Path, before: os.stat_result, copy: Path) -> frozenset[str]:
    """Give the copy the file's owner, mode and extended attributes; what it could not take."""
    lost: set[str] = set()
    for owner in ((before.st_uid, before.st_gid), (-1, before.st_gid)):
        with _tolerated(_NOT_ALLOWED):
            os.chown(copy, *owner)
            break
    if not _attributes_copied(target, copy):
        lost.add("attributes")
    with _tolerated(_NOT_ALLOWED):
        copy.chmod(stat.S_IMODE(before.st_mode))
    after = copy.stat()
    if (after.st_uid, after.st_gid) != (before.st_uid, before.st_gid):
        lost.add("owner")
    if after.st_mode != before.st_mode:
        lost.add("mode")
    return frozenset(lost)


def _attributes_copied(target: Path, copy: Path) -> bool:
    kept = True
    with _tolerated(_NOT_ALLOWED):
        for name in os.listxattr(target):
            try:
                os.setxattr(copy, name, os.getxattr(target, name))
            except OSError as error:
                if error.errno not in _NOT_ALLOWED:
                    raise
                kept = False
    return kept


@contextlib.contextmanager
def _failing_as(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise file_error(path, error) from error


@contextlib.contextmanager
def _tolerated(numbers: Collection[int]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise


def _stamp(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_mtime_ns, found.st_size, found.st_ino


def _is_abandoned(litter: Path, before: float) -> bool:
    try:
        found = litter.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_mtime > before:
            return False
        handle = os.open(litter, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        return _take(handle)
    except OSError as error:
        return error.errno in NO_SUCH_FEATURE  # no locks here: age alone decides
    finally:
        os.close(handle)
