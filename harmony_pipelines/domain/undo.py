"""Which picture a file goes back to, told from what we did to it."""

from collections.abc import Sequence
from dataclasses import dataclass, field

EMBEDDED, RESTORED = "embedded", "restored"


@dataclass(frozen=True)
class Change:
    """One run's change of a file: the front cover it got, and the one it had (None: none).

    `delta` is what leads back to the whole file as it was, where that was kept.
    """

    run_id: str
    status: str
    sha256: str | None
    old_sha256: str | None
    delta: str | None = None


@dataclass(frozen=True)
class Before:
    """The front cover that a file goes back to (None: none), and the changes to undo for it."""

    sha256: str | None
    undone: tuple[Change, ...] = field(default=(), compare=False)


def picture_before(
    history: Sequence[Change], current: str | None, run_id: str | None = None
) -> Before | None:
    """What the file had before our first change, or before one run's; None: ours is gone from it.

    `history` begins with the newest change. A change may be there that a kill kept from being
    made, so each counts only where it led to the picture that was found.
    """
    embedded = [
        change
        for change in history
        if change.status == EMBEDDED and run_id in (None, change.run_id)
    ]
    if all(change.sha256 != current for change in embedded):
        is_back = any(change.old_sha256 == current for change in embedded)
        return Before(current) if is_back or history[0].status == RESTORED else None
    undone: list[Change] = []
    for change in embedded:
        if change.sha256 == current:
            undone.append(change)
            current = change.old_sha256
    return Before(current, tuple(undone))
