"""What the user is told of, and when: once as a problem begins, once as it ends, weekly between.

A message is bounded however much there is to say; text from outside is plain in it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from harmony_pipelines.domain.readable import counted

FAILURE, RECOVERY, NEWS, ARTWORK, REVIEW = (
    "failure",
    "recovery",
    "new_releases",
    "artwork",
    "review",
)
REMINDER = "reminder"
"""A failure that lasts: told of wherever failures are."""

HEARTBEAT = "heartbeat"
TEST = "test"

REMIND_AFTER = timedelta(days=7)
LINES_SHOWN = 20
ITEMS_SENT = 50
LONGEST_TEXT = 300

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong, known again by code and subject.

    Whoever looked at all of its scope, and did not find it, says that it has ended.
    """

    code: str
    subject: str
    message: str
    scope: str
    reason: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What makes it the same problem."""
        return self.code, self.subject


@dataclass(frozen=True, slots=True)
class Known:
    """A problem that has not ended, and when the user was last told of it."""

    problem: Problem
    told_at: datetime


@dataclass(frozen=True)
class Changes:
    """What to tell: which problems are new, which have ended, which still last."""

    began: tuple[Problem, ...] = ()
    ended: tuple[Problem, ...] = ()
    last: tuple[Problem, ...] = ()


def changes(
    known: Iterable[Known], found: Iterable[Problem], looked_at: Collection[str], now: datetime
) -> Changes:
    """What changed by what was found in the scopes that were looked at."""
    now_there = {problem.key: problem for problem in found}
    before = {each.problem.key: each for each in known}
    ended = {
        key
        for key, each in before.items()
        if each.problem.scope in looked_at and key not in now_there
    }
    return Changes(
        began=tuple(problem for key, problem in now_there.items() if key not in before),
        ended=tuple(before[key].problem for key in before if key in ended),
        last=tuple(
            now_there.get(key, each.problem)
            for key, each in before.items()
            if key not in ended and _is_reminder_due(each.told_at, now)
        ),
    )


def _is_reminder_due(told_at: datetime, now: datetime) -> bool:
    """A moment in the future is from a clock since set back."""
    return not now - REMIND_AFTER < told_at <= now + REMIND_AFTER


@dataclass(frozen=True)
class Message:
    """One message as every service gets it: text for people, and the same as data."""

    event: str
    title: str
    body: str
    code: str | None = None
    run_id: str | None = None
    counts: Mapping[str, int] | None = None
    items: Sequence[Item] = ()


def about_problems(event: str, problems: Sequence[Problem], run_id: str | None) -> list[Message]:
    """One message for each code: what began, ended or lasts."""
    titles = {FAILURE: "Wrong", RECOVERY: "Right again", REMINDER: "Still wrong"}
    was = " (what it was)" if event == RECOVERY else ""
    codes = dict.fromkeys(problem.code for problem in problems)
    return [
        _message(
            event,
            f"{titles[event]}: {code}",
            [(f"{each.subject}{was}: {each.message}", _as_item(each)) for each in problems
             if each.code == code],
            {"problems": sum(each.code == code for each in problems)},
            (code, run_id),
        )
        for code in codes
    ]  # fmt: skip


def about_news(rows: Sequence[Item], run_id: str | None) -> list[Message]:
    """What the watched artists released."""
    columns = ("artist_name", "name", "album_type", "release_date", "spotify_url")
    lines = [
        (
            f"{row['artist_name']}: {row['name']} ({row['album_type']}, {row['release_date']}) "
            f"{row['spotify_url'] or ''}",
            {column: row[column] for column in columns},
        )
        for row in rows
    ]
    title = f"New releases: {len(rows)}"
    counts = {"new_releases": len(rows)}
    return [_message(NEWS, title, lines, counts, (None, run_id))] if rows else []


def about_covers(
    counts: Mapping[str, int], albums: Sequence[Item], run_id: str | None
) -> list[Message]:
    """Into how many files of which albums a run put covers, or took them out again."""
    if not any(counts.get(status) for status in ("embedded", "restored")):
        return []
    said = ", ".join(f"{number} {status}" for status, number in counts.items() if number)
    lines = [
        (f"{row['albumartist']}: {row['album']} ({counted(row['files'], 'file')})", dict(row))
        for row in albums
    ]
    return [_message(ARTWORK, f"Covers: {said}", lines, counts, (None, run_id))]


def about_review(problems: Sequence[Problem], run_id: str | None) -> list[Message]:
    """What waits for the user's decision."""
    lines = [(f"{each.subject}: {each.message}", _as_item(each)) for each in problems]
    title, counts = f"To review: {len(problems)}", {"review": len(problems)}
    return [_message(REVIEW, title, lines, counts, (None, run_id))] if problems else []


def plain(text: object) -> str:
    """Text from outside as one short line that no service takes for more than text."""
    line = "".join(c if c.isprintable() else " " for c in str("" if text is None else text))
    line = line.replace("@", "@\u200b")  # else a title could call everybody of a chat together
    return _short(line)


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}…"


def _message(
    event: str,
    title: str,
    lines: Sequence[tuple[str, Item]],
    counts: Mapping[str, int],
    about: tuple[str | None, str | None],
) -> Message:
    shown = [f"- {plain(line)}" for line, _ in lines[:LINES_SHOWN]]
    if len(lines) > LINES_SHOWN:
        shown.append(f"… and {len(lines) - LINES_SHOWN} more")
    code, run_id = about
    items = [
        {name: _short(value) if isinstance(value, str) else value for name, value in item.items()}
        for _, item in lines[:ITEMS_SENT]
    ]
    return Message(event, plain(title), "\n".join(shown), code, run_id, dict(counts), items)


def _as_item(problem: Problem) -> Item:
    return {
        "subject": problem.subject,
        "code": problem.code,
        "reason": problem.reason,
        "message": problem.message,
    }
