"""HARMONY_HOME as a folder: made for its owner only, on a disk of this machine."""

import errno
import os
from pathlib import Path

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_OWNER_ONLY = 0o700
_MOUNTS = Path("/proc/mounts")
_NETWORK_FILE_SYSTEMS = frozenset(
    {"afs", "beegfs", "ceph", "cifs", "davfs", "fuse.davfs", "fuse.glusterfs", "fuse.rclone"}
    | {"fuse.s3fs", "fuse.sshfs", "glusterfs", "lustre", "ncpfs", "nfs", "nfs4", "smb3", "smbfs"}
)
_NO_WRITING = (ErrorCode.DEPENDENCY_ERROR, Reason.READ_ONLY)
_NO_ROOM = (ErrorCode.DEPENDENCY_ERROR, Reason.DISK_FULL)
_BAD_SETTING = (ErrorCode.VALIDATION_ERROR, Reason.SETTING)
_OTHER = (ErrorCode.DEPENDENCY_ERROR, Reason.IO_ERROR)
_MEANING = {
    errno.EACCES: _NO_WRITING,
    errno.EPERM: _NO_WRITING,
    errno.EROFS: _NO_WRITING,
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EEXIST: _BAD_SETTING,
    errno.ENOTDIR: _BAD_SETTING,
    errno.ELOOP: _BAD_SETTING,
    errno.ENAMETOOLONG: _BAD_SETTING,
}


def prepare_home(home: Path, mounts: Path = _MOUNTS) -> None:
    """Create the folder for its owner only, or say why it cannot be used."""
    kind = network_file_system(home, mounts)
    if kind:
        raise HarmonyError(
            *_BAD_SETTING,
            f"HARMONY_HOME {home} is on a network file system ({kind}), where the database's "
            "locks do not hold. Name a folder on a disk of this machine.",
            path=str(home),
        )
    try:
        home.mkdir(_OWNER_ONLY, parents=True, exist_ok=True)
    except OSError as error:
        raise _unusable(home, error) from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise _unusable(home, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def network_file_system(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The kind of network file system that holds the path, None if it is local or unknown."""
    try:
        listed = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None  # only Linux has the list
    mounted = [line.split(" ") for line in listed]
    folders = [(Path(_unescaped(point)), kind) for _, point, kind, *_ in mounted]
    # As it is written first: one that is mounted right there may not answer who looks at it.
    written = _kind_at(Path(os.path.abspath(path)), folders)  # noqa: PTH100
    return written or _kind_at(Path(os.path.realpath(path)), folders)


def _kind_at(place: Path, folders: list[tuple[Path, str]]) -> str | None:
    nearest, kind = Path("/"), ""
    for folder, this_kind in folders:
        if place.is_relative_to(folder) and folder.is_relative_to(nearest):
            nearest, kind = folder, this_kind
    return kind if kind in _NETWORK_FILE_SYSTEMS else None


def _unescaped(point: str) -> str:
    for escape, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(escape, character)
    return point


def _unusable(home: Path, error: OSError) -> HarmonyError:
    code, reason = _MEANING.get(error.errno or 0, _OTHER)
    return HarmonyError(
        code,
        reason,
        f"HARMONY_HOME {home} cannot be used: {error.strerror}. Name a folder that this user may "
        "write to, with room on its disk.",
        path=str(home),
    )
