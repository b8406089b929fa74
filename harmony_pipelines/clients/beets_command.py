"""The user's own `beet`, run as a command that always ends; it alone may write their library."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from harmony_pipelines.clients.beets_config import BeetsConfig
from harmony_pipelines.clients.beets_tables import schema
from harmony_pipelines.clients.folders import Found, look_at
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_ALBUMS_A_CALL = 50
_GRACE_SECONDS = 2.0
_MOST_OUTPUT = 64 << 20
_LAST_WORDS = 400
_NOT_FOR_BEETS = ("SPOTIPY_", "HARMONY_NOTIFY", "HARMONY_HEARTBEAT", "HARMONY_DATABASE")
_LISTED = re.compile(rb"(\d{1,18})\t(.+)")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Updated:
    """How many albums beets looked at anew, and which it was not asked to for a missing file."""

    albums: int
    left_out: tuple[int, ...] = ()


@dataclass(frozen=True)
class BeetsCommand:
    """The user's `beet` with the library that is meant; each call ends within `seconds`."""

    config: BeetsConfig
    beets_dir: Path | None = None
    seconds: float = 120.0
    program: Path | None = None

    def update(self, albums: Sequence[int], deadline: Deadline) -> Updated:
        """Let beets look at the files of the albums anew, without moving any.

        `beet update` removes from the library what it does not find. So albums of which beets
        would not find every file, be it for a missing disk or for paths of another machine, are
        left out.
        """
        done, left_out = 0, list[int]()
        for some in _batches(albums):
            whole = self._whole(some, deadline)
            left_out += [album for album in some if album not in whole]
            if whole:
                self._run(["update", "--nomove", *_query(whole)], deadline)
                done += len(whole)
        return Updated(done, tuple(left_out))

    def refuse_to_migrate(self, copy: Path, deadline: Deadline) -> None:
        """Refuse a `beet` of another version than the library's, as a private copy of it tells.

        Beets migrates whatever it opens, and older releases cannot read the library any more.
        """
        before = schema(copy)
        self._run(["ls", "id:0"], deadline, copy)
        if schema(copy) != before:
            raise _failed(
                f"was not run: {self.program or _find()} would migrate {self.config.database} to "
                "its own version. Put the `beet` that you use on the PATH, or let this one migrate "
                "the library by `beet ls`"
            )

    def _whole(self, albums: Sequence[int], deadline: Deadline) -> list[int]:
        """Those of the albums all of whose files are where beets itself looks for them."""
        asked = ["ls", "--format", "$album_id\t$path", *_query(albums)]
        listed = [
            (int(found[1]), found[2])
            for line in self._run(asked, deadline).splitlines()
            if (found := _LISTED.fullmatch(line))
        ]
        here = look_at([path for _, path in listed], deadline)
        lost = {
            album for (album, _), what in zip(listed, here, strict=True) if what is not Found.FILE
        }
        known = {album for album, _ in listed}
        return [album for album in albums if album in known - lost]

    def _run(
        self, arguments: Sequence[str], deadline: Deadline, database: Path | None = None
    ) -> bytes:
        """What the command prints; it gets no input, and is killed with its children in the end."""
        config, limit = self.config, deadline.limit(self.seconds)
        command = [str(self.program or _find()), "--library", str(database or config.database)]
        command += ["--directory", str(config.music_directory), *arguments]
        with tempfile.TemporaryFile() as said, tempfile.TemporaryFile() as logged:
            process = _started(command, self._environment(), said.fileno(), logged.fileno())
            try:
                code = process.wait(limit)
            except subprocess.TimeoutExpired as slow:
                deadline.check()
                raise _failed(f"did not end within {limit:g} s and was stopped") from slow
            finally:
                if process.poll() is None:
                    _end(process)
            if code != 0:
                raise _failed(f"ended with status {code}: {_end_of(logged.fileno())}")
            said.seek(0)
            return said.read(_MOST_OUTPUT)

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_BEETS)
        }
        return kept | ({"BEETSDIR": str(self.beets_dir)} if self.beets_dir else {})


def _find() -> Path:
    """The user's own `beet`; the one that was installed with us only where there is no other.

    Another version than the user's could migrate the library to what theirs cannot read.
    """
    ours = Path(sys.executable).parent
    elsewhere = [folder for folder in os.get_exec_path() if Path(folder) != ours]
    for folders in (os.pathsep.join(elsewhere), str(ours)):
        found = shutil.which("beet", path=folders)
        if found:
            return Path(found)
    raise _failed("was not found on the PATH")


def _batches(albums: Sequence[int]) -> Iterator[list[int]]:
    left = iter(albums)
    while some := list(islice(left, _ALBUMS_A_CALL)):
        yield some


def _query(albums: Sequence[int]) -> list[str]:
    """Any of the albums: in beets' query language a comma of its own means *or*."""
    return [word for album in albums for word in (f"album_id:{album}", ",")][:-1]


def _started(
    command: Sequence[str], environment: dict[str, str], said: int, logged: int
) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=logged,
            start_new_session=True,
        )
    except OSError as error:
        raise _failed(f"cannot be started: {error.strerror}") from error


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End the command with all that it started, by force where asking does not help."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(_GRACE_SECONDS)


def _end_of(logged: int) -> str:
    size = os.fstat(logged).st_size
    words = os.pread(logged, _LAST_WORDS, max(0, size - _LAST_WORDS))
    return _UNPRINTABLE.sub(" ", words.decode("utf-8", "replace")).strip() or "it said nothing"


def _failed(how: str) -> HarmonyError:
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.BEETS_UPDATE,
        f"`beet update` {how}. The files are as they should be, and nothing is lost: run it "
        "yourself, or switch HARMONY_BEETS_UPDATE off.",
    )
