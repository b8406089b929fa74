"""A cover as a file beside the tracks: made where there is none, changed only while it is ours."""

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from harmony_pipelines.clients.file_errors import NO_SUCH_FEATURE, file_error, shown, speaking_of
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_SUFFIX_OF = {"image/jpeg": ".jpg", "image/png": ".png"}
_USUAL_NAMES = ("cover", "folder", "front")
_PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp")
_MAX_BYTES = 256 << 20
_NO_LINKS = {errno.EPERM, errno.EMLINK, *NO_SUCH_FEATURE}
_NOT_ALLOWED = {errno.EPERM, errno.EACCES, *NO_SUCH_FEATURE}


@dataclass(frozen=True)
class NewFile:
    """What goes into a folder; `like` is a file there whose mode and owner it gets.

    `guard` is called right before the file appears and raises if the run is over.
    """

    data: bytes
    like: Path
    guard: Callable[[], None]


def name_for(mime: str, folder: Path) -> str:
    """The name of a cover file of that kind."""
    if mime in _SUFFIX_OF:
        return f"cover{_SUFFIX_OF[mime]}"
    raise HarmonyError(
        ErrorCode.UNSUPPORTED_MEDIA,
        Reason.IMAGE_FORMAT,
        f"{shown(folder)} got no cover file: the cover in its tracks is neither JPEG nor PNG.",
        path=shown(folder),
    )


def covers_in(folder: Path) -> list[Path]:
    """The pictures that players take for the folder's cover, by their names."""
    with speaking_of(folder):
        return sorted(
            file
            for file in folder.iterdir()
            if file.stem.lower() in _USUAL_NAMES and file.suffix.lower() in _PICTURE_SUFFIXES
        )


def refuse_outside(folder: Path, roots: tuple[Path, ...]) -> None:
    """VALIDATION_ERROR if links lead the folder out of the library's."""
    with speaking_of(folder):
        target = folder.resolve(strict=True)
        if any(target.is_relative_to(root.resolve()) for root in roots):
            return
    raise HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.OUTSIDE_LIBRARY,
        f"{shown(folder)} got no cover file: it leads to {shown(target)}, outside the library.",
        path=shown(folder),
    )


def sha256_in(path: Path) -> str | None:
    """The SHA-256 of a regular file that may be a cover; None if there is nothing."""
    with speaking_of(path):
        try:
            told = path.lstat()
        except FileNotFoundError:
            return None
        if not stat.S_ISREG(told.st_mode) or told.st_size > _MAX_BYTES:
            return ""  # nothing that we make
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


def place(path: Path, new: NewFile) -> None:
    """Make the file, whole or not at all; CONFLICT if something is there by then."""
    try:
        with _made_beside(path, new) as made:
            new.guard()
            _link(made, path)
        _sync_folder(path.parent)
    except FileExistsError as error:
        raise not_ours(path) from error
    except OSError as error:
        raise file_error(path, error) from error


def put_over(path: Path, sha256: str, new: NewFile) -> None:
    """Rename a new file over ours, which has that SHA-256; CONFLICT if it is not ours any more."""
    try:
        _refuse_if_not_ours(path, sha256)
        with _made_beside(path, new) as made:
            new.guard()
            _refuse_if_not_ours(path, sha256)
            made.replace(path)
        _sync_folder(path.parent)
    except OSError as error:
        raise file_error(path, error) from error


def remove(path: Path, sha256: str, guard: Callable[[], None]) -> bool:
    """Remove our file, which has that SHA-256; whether there was one.

    CONFLICT if what is there is not ours any more.
    """
    with speaking_of(path):
        if sha256_in(path) is None:
            return False
        _refuse_if_not_ours(path, sha256)
        guard()
        path.unlink()
        _sync_folder(path.parent)
        return True


def not_ours(path: Path) -> HarmonyError:
    """The failure of a folder in which somebody else's cover file lies."""
    return HarmonyError(
        ErrorCode.CONFLICT,
        Reason.NOT_OURS,
        f"{shown(path)} was left alone: it is not what we put there. Delete it, and the folder "
        "gets the cover of its tracks.",
        path=shown(path),
    )


def _refuse_if_not_ours(path: Path, sha256: str) -> None:
    if sha256_in(path) != sha256:
        raise not_ours(path)


@contextlib.contextmanager
def _made_beside(path: Path, new: NewFile) -> Iterator[Path]:
    """A whole, synced file under a hidden name in the same folder; gone afterwards.

    Its name and its lock are those of `safe_write`'s copies, so that the same sweep finds it.
    """
    made = path.with_name(f".harmony-{secrets.token_hex(6)}{path.suffix}")
    like = new.like.stat()
    handle = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with _tolerated(NO_SUCH_FEATURE):
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _write_whole(handle, new.data)
        for owner in ((like.st_uid, like.st_gid), (-1, like.st_gid)):
            with _tolerated(_NOT_ALLOWED):
                os.fchown(handle, *owner)
                break
        with _tolerated(_NOT_ALLOWED):
            os.fchmod(handle, stat.S_IMODE(like.st_mode) & 0o666)
        os.fsync(handle)
        yield made
    finally:
        made.unlink(missing_ok=True)
        os.close(handle)


def _write_whole(handle: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(handle, left) :]


def _link(made: Path, path: Path) -> None:
    """Give the made file its name; unlike a rename, this never replaces what is there."""
    try:
        path.hardlink_to(made)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        raise HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.NO_LINKS,
            f"{shown(path)} was not written: its file system knows no hard links, and without "
            "them a file that somebody puts there meanwhile could be lost. Covers are embedded "
            "all the same.",
            path=shown(path),
        ) from error


def _sync_folder(folder: Path) -> None:
    with _tolerated(_NOT_ALLOWED):  # some network file systems sync no folders
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextlib.contextmanager
def _tolerated(numbers: Collection[int]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in numbers:
            raise
