"""Whether a file that somebody else writes gives cause for a run, as the sensors ask every minute.

What was seen is told from one tick to the next by a cursor. Files are compared by being different,
never by being newer: clocks jump, and backups bring old times back.
"""

import json
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, TypeVar

from harmony_pipelines.clients.beets_library import BeetsLibrary
from harmony_pipelines.clients.watchlist import read_watchlist
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError
from harmony_pipelines.settings import Settings

_LOOK_SECONDS = 20.0
"""The longest look at a library that has changed; one at a file that has not takes moments."""


class Look(NamedTuple):
    """What a tick found: why it waits, or that it starts a run, and with which key."""

    why_not: str | None
    cursor: str
    run_key: str | None = None
    fault: dict[str, str] | None = None
    """What the user must mend first: code, reason and message."""


@dataclass(frozen=True)
class _WatchlistSeen:
    """The file as it was when a run was started for it, and when it was last read."""

    done: str | None = None
    read: str | None = None
    fault: dict[str, str] | None = None


def look_at_watchlist(
    settings: Settings, cursor: str | None, is_news: bool, wait: str | None
) -> Look:
    """Whether the watchlist has changed into one that can be read; `wait` puts the run off.

    The first look ever starts a run only if it `is_news` that no refresh has seen yet.
    """
    path, seen = settings.watchlist_path, _told(_WatchlistSeen, cursor)
    now = _fingerprint(path)
    if now is None:
        return Look(f"There is no watchlist to be seen at {path}; everybody stays.", _text(seen))
    if not cursor and not is_news:
        seen = replace(seen, done=now)
    if now == seen.done:
        return Look("Watchlist unchanged.", _text(replace(seen, read=now, fault=None)))
    if now != seen.read:
        seen = _read_anew(path, now, seen)
        if _fingerprint(path) != now:
            return Look(f"{path} is being written just now.", _text(replace(seen, read=None)))
    if seen.fault:
        why = f"{seen.fault['code']}: {seen.fault['message']} Everybody stays."
        return Look(why, _text(seen), fault=seen.fault)
    if wait:
        return Look(f"{wait} The edit of the watchlist is taken up afterwards.", _text(seen))
    return Look(None, _text(replace(seen, done=now)), run_key=f"watchlist {now}")


def _read_anew(path: Path, now: str, seen: _WatchlistSeen) -> _WatchlistSeen:
    """What is wrong with the file; what may pass without an edit is read again by the next tick."""
    try:
        read_watchlist(path)
    except HarmonyError as error:
        lasts = error.code is ErrorCode.VALIDATION_ERROR
        fault = {"code": error.code, "reason": error.reason, "message": error.message}
        return replace(seen, read=now if lasts else None, fault=fault)
    return replace(seen, read=now, fault=None)


def was_edited(path: Path, last_attempt_at: str | None, now: datetime) -> bool:
    """Whether the watchlist is newer than what any run made of it.

    A time still to come is from a clock since set back: each run would be older than it.
    """
    if last_attempt_at is None:
        return True  # nobody was ever looked at: the run says what is missing, if anything is
    try:
        edited = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except OSError:
        return False
    return datetime.fromisoformat(last_attempt_at) < edited <= now


@dataclass(frozen=True)
class _LibrarySeen:
    """The library as it was last dealt with, and as it was when it was last seen changing."""

    done: str | None = None
    digest: str | None = None
    changing: str | None = None


def look_at_library(library: BeetsLibrary, cursor: str | None, wait: str | None) -> Look:
    """Whether the library has changed in what we look at, and stayed so since the last tick.

    What our covers make beets note, such as a file's new time of change, is not among that; so our
    own work starts no run, nor does bookkeeping of other plugins.
    """
    seen, database = _told(_LibrarySeen, cursor), library.config.database
    deadline = Deadline.after(_LOOK_SECONDS, f"the look at {database}")
    now = library.fingerprint(deadline)
    if now is None:
        return Look(f"There is no beets library at {database}.", _text(seen))
    if now == seen.done:
        return Look("Library unchanged.", _text(replace(seen, changing=None)))
    if seen.digest is not None and now != seen.changing:
        why = "The library has changed; waiting until nobody writes to it for a minute."
        return Look(why, _text(replace(seen, changing=now)))
    if seen.digest is not None and wait:
        return Look(f"{wait} The change of the library is taken up afterwards.", _text(seen))
    digest = library.digest(deadline)
    settled = _text(_LibrarySeen(done=now, digest=digest))
    if seen.digest is None:
        why = (
            "The library as it is now was noted; the next change starts a run. For what is there "
            "already, start embed_artwork once."
        )
        return Look(why, settled)
    if digest == seen.digest:
        why = "Library unchanged, but for what our own work or beets' bookkeeping noted there."
        return Look(why, settled)
    return Look(None, settled, run_key=f"library {now}")


@dataclass(frozen=True)
class _Retried:
    """How often in a row a run was started for retries without any of them being made."""

    attempts: int = 0
    in_vain: int = 0
    at: float = 0.0


_FIRST_GAP_SECONDS, _LONGEST_GAP_SECONDS = 120.0, 6 * 3600.0


def look_at_retries(attempts: int, cursor: str | None, wait: str | None, now: float) -> Look:
    """Whether to start a run for the artists that are due for another try.

    `attempts` grows with each artist that is tried. A run that ended before it tried any is
    started again after growing gaps.
    """
    seen = _told(_Retried, cursor)
    if wait:
        return Look(wait, _text(seen))
    if attempts == seen.attempts:
        gap = min(_FIRST_GAP_SECONDS * 2 ** min(seen.in_vain, 10), _LONGEST_GAP_SECONDS)
        left = seen.at + gap - now
        if 0 < left <= gap:  # a longer time is from a clock since set back
            at = datetime.fromtimestamp(now + left, UTC)
            why = f"The last run tried none of them; another is started at {at:%H:%M} UTC."
            return Look(why, _text(seen))
        seen = replace(seen, in_vain=seen.in_vain + 1, at=now)
    else:
        seen = _Retried(attempts, 0, now)
    return Look(None, _text(seen))


def _fingerprint(path: Path) -> str | None:
    try:
        told = path.stat()
    except OSError:
        return None
    return f"{told.st_ino} {told.st_size} {told.st_mtime_ns}"


_Seen = TypeVar("_Seen", _WatchlistSeen, _LibrarySeen, _Retried)


def _told(kind: type[_Seen], cursor: str | None) -> _Seen:
    """What the last tick noted; of a cursor of another version, what is known of it."""
    try:
        found = json.loads(cursor or "{}")
    except ValueError:
        return kind()
    known = found if isinstance(found, dict) else {}
    return kind(**{each.name: known[each.name] for each in fields(kind) if each.name in known})


def _text(seen: _WatchlistSeen | _LibrarySeen | _Retried) -> str:
    return json.dumps(asdict(seen))
