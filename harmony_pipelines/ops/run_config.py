"""What the ops on artwork may be told to work on; what is out of bounds is refused by name.

pydantic's own bounds would fail the step with a traceback and without a code.
"""

import re
from collections.abc import Sequence

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

MOST_ALBUMS = 10_000
"""The most albums that one run may name; without names it works on all."""

_LONGEST_RUN_ID = 100
_LONGEST_SHOWN = 60
_BEETS_ID = re.compile("[1-9][0-9]{0,17}")


def check_albums(op: str, albums: Sequence[str]) -> None:
    """Raise VALIDATION_ERROR unless `albums` can be beets ids, and not too many."""
    if len(albums) > MOST_ALBUMS:
        raise _refused(op, "albums", f"hold at most {MOST_ALBUMS} ids", str(len(albums)))
    for album in albums:
        if not _BEETS_ID.fullmatch(album):
            raise _refused(op, "albums", "hold beets ids, which are whole numbers", album)


def check_run_id(op: str, run_id: str | None) -> None:
    """Raise VALIDATION_ERROR unless `run_id` can be one."""
    if run_id and (len(run_id) > _LONGEST_RUN_ID or not run_id.isprintable()):
        raise _refused(op, "run_id", "be the whole id of a run", run_id)


def _refused(op: str, name: str, must: str, given: str) -> HarmonyError:
    shown = given if len(given) <= _LONGEST_SHOWN else f"{given[:_LONGEST_SHOWN]}…"
    return HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.RUN_CONFIG,
        f"`{name}` of {op} must {must}, not {shown!r}. Correct it in the run's configuration.",
        field=name,
    )
