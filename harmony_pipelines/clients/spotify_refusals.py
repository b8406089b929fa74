"""What Spotify says when it refuses, in the words of our error vocabulary."""

import email.utils
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

TOKEN_ENDPOINT = "api/token"

_DEFAULT_PAUSE = 5.0
_DEFAULT_QUOTA_COOLDOWN = 3600.0
_EXCERPT = 200


@dataclass(frozen=True)
class Question:
    """One request: where it goes, what it is about and what its answer must hold."""

    family: str
    path: str
    about: str
    """What the request asks about, for messages: `artist 3AA28KZvwAUcZuOKwyblJQ`."""
    needs: tuple[str, ...] = ()
    unknown: Reason = Reason.HTTP_NOT_FOUND
    """Why the request fails where Spotify does not know what it is about."""
    is_batch: bool = False
    is_probe: bool = False
    """Whether only the refusal or its absence matters: asked once, counted apart."""

    @property
    def details(self) -> dict[str, object]:
        """What a failure of this request says of it."""
        return {"endpoint": self.path, "about": self.about}


TOKEN_QUESTION = Question("token", TOKEN_ENDPOINT, "an access token")


class Refusal(Exception):  # noqa: N818
    """An answer that is no 2xx; `hidden` are the secrets that its text may echo."""

    def __init__(
        self, status: int, headers: Mapping[str, str], body: bytes, hidden: Iterable[str] = ()
    ) -> None:
        super().__init__(f"status {status}")
        self.status = status
        self.retry_after = headers.get("Retry-After")
        self._hidden = [secret for secret in hidden if secret]
        self.word, self.message, self.reason = _error_in(body)

    @property
    def excerpt(self) -> str:
        """What the server says, short, on one line and without secrets; empty if nothing."""
        text = self.message or self.word
        for secret in self._hidden:
            text = text.replace(secret, "…")
        text = re.sub(r"[A-Za-z0-9+/=_.-]{40,}", "…", text)
        return "".join(c if c.isprintable() else " " for c in text)[:_EXCERPT].strip()


def explain(refusal: Refusal, question: Question, now: float) -> HarmonyError:
    """The refusal of a request as an error that says what to do."""
    if question is TOKEN_QUESTION and 400 <= refusal.status < 500 and refusal.status != 429:
        return _no_token(refusal)
    if refusal.status == 429:
        return _rate_limited(refusal, question, now)
    if refusal.status in (403, 410):
        return _forbidden(refusal, question)
    if refusal.status == 408 or refusal.status >= 500:
        return _server_error(refusal, question, now)
    return _refused(refusal, question)


def bad_answer(question: Question, what: str) -> HarmonyError:
    """The error for an answer that came but cannot be used."""
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.BAD_ANSWER,
        f"Spotify's answer about {question.about} ({question.path}) cannot be used: {what}. "
        "It is asked again with the next run.",
        **question.details,
    )


def retry_after_seconds(text: str | None, now: float) -> float | None:
    """The seconds that a `Retry-After` header asks for, as a number or as a date; else None."""
    if text is None:
        return None
    if re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,6})?", text.strip()):
        return float(text)
    try:
        moment = email.utils.parsedate_to_datetime(text.strip())
        return max(0.0, moment.timestamp() - now)
    except (ValueError, OverflowError, OSError):
        return None


def _error_in(body: bytes) -> tuple[str, str, str]:
    """The error's word, message and reason, empty where there is none; the body may be anything."""
    try:
        content: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", "", ""
    error = content.get("error") if isinstance(content, dict) else None
    if isinstance(error, dict):
        return "", _string(error.get("message")), _string(error.get("reason"))
    described = content.get("error_description") if isinstance(content, dict) else None
    return _string(error), _string(described), ""


def _string(value: object) -> str:
    return value if isinstance(value, str) else ""


def _said(refusal: Refusal) -> str:
    return f"{refusal.status}: {refusal.excerpt}" if refusal.excerpt else str(refusal.status)


def _no_token(refusal: Refusal) -> HarmonyError:
    is_client = refusal.word == "invalid_client" or refusal.status == 401
    return HarmonyError(
        ErrorCode.AUTH_REQUIRED,
        Reason.INVALID_CLIENT if is_client else Reason.FORBIDDEN,
        f"Spotify gives this app no access token ({_said(refusal)}). Check SPOTIPY_CLIENT_ID and "
        "SPOTIPY_CLIENT_SECRET against the app's page in Spotify's developer dashboard.",
        status=refusal.status,
        **TOKEN_QUESTION.details,
    )


def _rate_limited(refusal: Refusal, question: Question, now: float) -> HarmonyError:
    is_quota = refusal.reason == "QUOTA_EXCEEDED"
    wait = retry_after_seconds(refusal.retry_after, now)
    if wait is None:
        wait = _DEFAULT_QUOTA_COOLDOWN if is_quota else _DEFAULT_PAUSE
    why = "The app's daily quota is spent" if is_quota else "Spotify's rate limit is reached"
    return HarmonyError(
        ErrorCode.RATE_LIMITED,
        Reason.QUOTA_EXCEEDED if is_quota else Reason.RATE_LIMIT,
        f"{why} ({question.family}, asking about {question.about}): Spotify wants no request "
        f"for {wait:.0f} s. What is left undone is done by a later run.",
        status=429,
        family=question.family,
        retry_after_s=round(wait, 1),
        **question.details,
    )


def _forbidden(refusal: Refusal, question: Question) -> HarmonyError:
    details = {"status": refusal.status, **question.details}
    if "premium" in refusal.message.lower():
        return HarmonyError(
            ErrorCode.AUTH_REQUIRED,
            Reason.PREMIUM_LAPSED,
            f"Spotify refuses to answer about {question.about} because the app owner's Premium "
            f"subscription is not active ({_said(refusal)}). Renew it; it may take hours until "
            "Spotify notices.",
            **details,
        )
    if question.is_batch or refusal.status == 410:
        return HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.ENDPOINT_REMOVED,
            f"This app may not ask {question.path} about {question.about} ({_said(refusal)}). "
            "Set HARMONY_SPOTIFY_PROFILE=development.",
            **details,
        )
    return HarmonyError(
        ErrorCode.AUTH_REQUIRED,
        Reason.FORBIDDEN,
        f"Spotify forbids the app to read {question.about} ({_said(refusal)}). "
        "Look at the app in Spotify's developer dashboard.",
        **details,
    )


def _server_error(refusal: Refusal, question: Question, now: float) -> HarmonyError:
    wait = retry_after_seconds(refusal.retry_after, now)
    asked = {} if wait is None else {"retry_after_s": round(wait, 1)}
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.SERVER_ERROR,
        f"Spotify failed to answer about {question.about} ({_said(refusal)}). "
        "It is asked again with the next run.",
        status=refusal.status,
        **asked,
        **question.details,
    )


def _refused(refusal: Refusal, question: Question) -> HarmonyError:
    details = {"status": refusal.status, **question.details}
    is_bad_id = refusal.status == 400 and "id" in refusal.message.lower().split()
    if refusal.status == 404 or is_bad_id:
        return HarmonyError(
            ErrorCode.NOT_FOUND,
            question.unknown,
            f"Spotify does not know {question.about}. "
            "It may have been withdrawn; check the id on open.spotify.com.",
            **details,
        )
    if refusal.status == 401:
        return HarmonyError(
            ErrorCode.AUTH_REQUIRED,
            Reason.TOKEN_REFUSED,
            f"Spotify refuses a new access token when asked about {question.about} "
            f"({_said(refusal)}). Check the app in Spotify's developer dashboard.",
            **details,
        )
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        Reason.REQUEST_REFUSED,
        f"Spotify refused {question.path} about {question.about} ({_said(refusal)}). Check "
        "HARMONY_SPOTIFY_MARKET and HARMONY_SPOTIFY_PROFILE; `development` fits every app.",
        **details,
    )
