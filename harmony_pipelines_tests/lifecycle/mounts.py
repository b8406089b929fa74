"""Small, read-only, vanished, silent and dead file systems: real ones, mounted for a test."""

import contextlib
import ctypes
import functools
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_LIBC = ctypes.CDLL(None, use_errno=True)
_DETACHED = 2


@functools.cache
def _may_mount() -> bool:
    command = ["unshare", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    with contextlib.suppress(OSError):
        return os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0
    return False


def need_mounts() -> None:
    if not _may_mount():
        pytest.skip("only root may mount file systems, and not in every container")


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


def unmount(folder: Path) -> None:
    """Take away what was mounted last, also while it is in use."""
    _LIBC.umount2(os.fsencode(folder), _DETACHED)


@contextlib.contextmanager
def disk(folder: Path, size: str) -> Iterator[Path]:
    """A disk of its own, in memory, that holds what the folder held."""
    need_mounts()
    folder.mkdir(parents=True, exist_ok=True)
    moved = folder.with_name(f"{folder.name}.before")
    folder.rename(moved)
    folder.mkdir(mode=0o700)
    _mount("-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder))
    subprocess.run(["cp", "-a", f"{moved}/.", str(folder)], check=True)
    try:
        yield folder
    finally:
        unmount(folder)


def fill(folder: Path, left: int = 0) -> Path:
    """Fill its disk but for `left` bytes; the file to remove for room."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\1" * 4096):
            pass
    os.truncate(ballast, max(0, ballast.stat().st_size - left))
    return ballast


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The same folder, which nobody may write to, root included."""
    need_mounts()
    _mount("--bind", str(folder), str(folder))
    _mount("-o", "remount,ro,bind", str(folder))
    try:
        yield
    finally:
        unmount(folder)


@contextlib.contextmanager
def unmounted(folder: Path) -> Iterator[None]:
    """The folder as its mount point is once the share is gone: empty."""
    need_mounts()
    _mount("-t", "tmpfs", "none", str(folder))
    try:
        yield
    finally:
        unmount(folder)


class Share:
    """A network share whose server is silent, and then dead."""

    def __init__(self, handle: int) -> None:
        self._handle: int | None = handle

    def die(self) -> None:
        """From now on every access fails, as that to a share whose connection broke."""
        if self._handle is not None:
            os.close(self._handle)
        self._handle = None


@contextlib.contextmanager
def silent_share(folder: Path) -> Iterator[Share]:
    """Over the folder, a share that lets whoever asks it wait for ever."""
    need_mounts()
    try:
        handle = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        pytest.skip("there is no FUSE here")
    options = f"fd={handle},rootmode=40000,user_id=0,group_id=0"
    made = _LIBC.mount(b"nas:/music", os.fsencode(folder), b"fuse.sshfs", 0, options.encode())
    if made:
        os.close(handle)
        pytest.skip(f"FUSE cannot be mounted here: {os.strerror(ctypes.get_errno())}")
    share = Share(handle)
    try:
        yield share
    finally:
        share.die()
        unmount(folder)
