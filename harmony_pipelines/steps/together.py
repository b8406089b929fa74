"""Changes of files that are made together: journalled in one commit, then renamed one by one."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from harmony_pipelines.clients.catalogue import Row
from harmony_pipelines.clients.embedding import WayBack
from harmony_pipelines.clients.safe_write import Prepared, sync_folder
from harmony_pipelines.clients.whole_files import at_once
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.steps.file_work import FileWork

_MOST_FILES = 16
_MOST_BYTES = 128 << 20
"""Of copies that lie beside their files, and of what leads back, which is held in memory."""


@dataclass(frozen=True)
class Change:
    """A prepared copy, its row of results and the file's id in the library, and who is told."""

    row: Row
    item: int
    copy: Prepared[WayBack]
    made: Callable[[], None]
    refused: Callable[[HarmonyError], None]

    @property
    def bytes(self) -> int:
        """What it holds until it is made."""
        delta = self.copy.found.delta
        return self.copy.found.size + (2 * len(delta.differences) if delta else 0)


@dataclass
class Together:
    """The changes that wait to be made; what is not made at the end leaves no copy."""

    work: FileWork
    _waiting: list[Change] = field(default_factory=list, init=False)
    _held: contextlib.ExitStack = field(default_factory=contextlib.ExitStack, init=False)

    def add(self, change: Change) -> None:
        """Let a change wait for others; all are made once they are many or large."""
        self._held.callback(change.copy.close)
        self._waiting.append(change)
        held = sum(each.bytes for each in self._waiting)
        if len(self._waiting) >= _MOST_FILES or held >= _MOST_BYTES:
            self.make()

    def close(self) -> None:
        """Remove the copies of the changes that still wait."""
        self._held.close()

    def make(self) -> bool:
        """Make what waits: sync, journal, rename; whether there was anything."""
        changes, self._waiting = self._waiting, []
        with self._held.pop_all():
            if synced := _synced(changes):
                self._make(synced)
        return bool(changes)

    def _make(self, changes: list[Change]) -> None:
        self.work.journal_all([(each.row, each.item, each.copy.found) for each in changes])
        made: list[Change] = []
        try:
            for change in changes:
                with self.work.ours():
                    self.work.guard()
                try:
                    change.copy.put()
                except HarmonyError as error:
                    change.refused(error)
                else:
                    made.append(change)
        except BaseException:
            unmade = [each for each in changes if each.copy.is_waiting]
            self.work.withdraw([each.row["path"] for each in unmade if self._is_told(each)])
            raise
        finally:
            self._made(made)

    def _is_told(self, change: Change) -> bool:
        """Whether the row is still the one that was journalled: no refusal took its place."""
        return self.work.rows.get(change.row["path"]) is change.row

    def _made(self, changes: list[Change]) -> None:
        folders = {each.copy.target.parent for each in changes}
        at_once(self._sync, folders)
        for change in changes:
            self.work.not_kept |= change.copy.not_kept
            change.made()

    def _sync(self, folder: Path) -> None:
        self.work.not_kept |= sync_folder(folder)


def _synced(changes: list[Change]) -> list[Change]:
    """The changes whose copies the disk has; the others are refused."""
    failed: dict[int, HarmonyError] = {}

    def sync(number: int) -> None:
        try:
            changes[number].copy.sync()
        except HarmonyError as error:
            failed[number] = error

    at_once(sync, range(len(changes)))
    for number, error in failed.items():
        changes[number].refused(error)
    return [change for number, change in enumerate(changes) if number not in failed]
