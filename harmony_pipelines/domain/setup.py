"""What is found of a user's set-up, and what to do about it."""

from dataclasses import dataclass
from enum import StrEnum

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_USUAL_PAGES, _USUAL_ALBUMS = 4, 30
"""What the listings of an artist hold of whom nothing is known yet."""


class State(StrEnum):
    """Whether something must be done."""

    OK = "ok"
    NOTE = "note"
    """Nothing is wrong; it is good to know, or the user's to choose."""
    WRONG = "wrong"


@dataclass(frozen=True)
class Finding:
    """One thing of the set-up: how it is, and what to do if anything."""

    subject: str
    state: State
    found: str
    to_do: str = ""
    code: ErrorCode = ErrorCode.VALIDATION_ERROR
    reason: Reason = Reason.SETTING


def good(subject: str, found: str) -> Finding:
    """Something that is as it should be."""
    return Finding(subject, State.OK, found)


def noted(subject: str, found: str, to_do: str = "") -> Finding:
    """Something to know."""
    return Finding(subject, State.NOTE, found, to_do)


def wrong(subject: str, error: HarmonyError, found: str = "") -> Finding:
    """Something that does not work; the message of the error says what to do."""
    return Finding(subject, State.WRONG, found or "-", error.message, error.code, error.reason)


def requests_of_strangers(artists: int) -> dict[str, int]:
    """About what the first look at artists costs of whom nothing is known, by family."""
    return {
        "search": artists,
        "artists": artists,
        "artist_albums": artists * _USUAL_PAGES,
        "albums": artists * _USUAL_ALBUMS,
    }
