"""A folder of files named by their own SHA-256, each there whole or not at all."""

import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from harmony_pipelines.clients.file_errors import shown, speaking_of
from harmony_pipelines.clients.whole_files import (
    TEMPORARY,
    sweep_temporary,
    sync_folder,
    write_all_whole,
)
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_OWNER_ONLY_FOLDER = 0o700
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ContentStore:
    """Keeps bytes by their SHA-256; several processes may use one folder at once.

    Readable by its owner only. What was put survives the power failing right after.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def put(self, data: bytes) -> str:
        """Keep the bytes and return their SHA-256; what is there already is not written again."""
        [sha256] = self.put_all([data])
        return sha256

    def put_all(self, contents: Sequence[bytes]) -> list[str]:
        """Keep each of these, and wait for the disk once; returns their SHA-256."""
        hashes = [hashlib.sha256(data).hexdigest() for data in contents]
        paths = [self._path(sha256) for sha256 in hashes]
        with speaking_of(paths[0] if len(paths) == 1 else self._folder):
            found = zip(paths, contents, strict=True)
            new = {path: data for path, data in found if _content(path) != data}
            if new:
                self._folder.mkdir(_OWNER_ONLY_FOLDER, parents=True, exist_ok=True)
                for path in new:
                    path.parent.mkdir(_OWNER_ONLY_FOLDER, exist_ok=True)
                write_all_whole(new)
                sync_folder(self._folder)
        return hashes

    def get(self, sha256: str) -> bytes:
        """The bytes of that SHA-256; NOT_FOUND if they are not there, or no longer what they were.

        A damaged file is removed, so that the next `put` brings it back.
        """
        path = self._path(sha256)
        with speaking_of(path):
            data = _content(path)
            if data is not None and hashlib.sha256(data).hexdigest() == sha256:
                return data
            path.unlink(missing_ok=True)
        what = "is not there" if data is None else "was damaged and has been removed"
        raise HarmonyError(
            ErrorCode.NOT_FOUND,
            Reason.FILE_MISSING,
            f"{shown(path)} {what}; it must be fetched again.",
            path=shown(path),
            sha256=sha256,
        )

    def sweep(self, older_than_seconds: float = 3600.0) -> int:
        """Remove what writers that were killed left behind; how many files that was."""
        with speaking_of(self._folder):
            return sweep_temporary(self._folder.glob(f"??/{TEMPORARY}*"), older_than_seconds)

    def forget(self, before: float) -> int:
        """Remove the files last written before a moment (seconds since 1970); how many."""
        removed = 0
        with speaking_of(self._folder):
            for path in self._folder.glob("??/*"):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()
                        removed += 1
        return removed

    def _path(self, sha256: str) -> Path:
        if not _SHA256.fullmatch(sha256):
            raise HarmonyError(
                ErrorCode.VALIDATION_ERROR,
                Reason.INVALID_ID,
                f"{sha256!r} is no SHA-256 of 64 lower-case hexadecimal digits.",
            )
        return self._folder / sha256[:2] / sha256


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
