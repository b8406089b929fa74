"""One call to Spotify: booked, counted, tried again where that can help, its answer looked at.

This is the only place that retries.
"""

import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.quota import LONGEST_PAUSE, PROBE, TOKEN, Quota
from harmony_pipelines.clients.spotify_config import SpotifyConfig
from harmony_pipelines.clients.spotify_refusals import (
    TOKEN_QUESTION,
    Question,
    Refusal,
    bad_answer,
    explain,
)
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.discography import Json
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_LONGEST_BACKOFF = 8.0
_MAY_PASS = frozenset(
    {
        Reason.SERVER_ERROR,
        Reason.TIMEOUT,
        Reason.CONNECTION_FAILED,
        Reason.NAME_RESOLUTION,
        Reason.BAD_ANSWER,
    }
)


@dataclass
class Total:
    """The calls of all deadlines together, by family."""

    requests: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)


class SpotifyCalls:
    """Makes calls for one deadline; several of them share a token and connections."""

    def __init__(
        self,
        config: SpotifyConfig,
        quota: Quota,
        patience: Patience,
        like: "SpotifyCalls | None" = None,
    ) -> None:
        from harmony_pipelines.clients.spotify_session import (
            BoundedSession,
            ClientCredentials,
            TokenStore,
            open_spotify,
        )

        if not (config.client_id and config.client_secret):
            raise HarmonyError(
                ErrorCode.AUTH_REQUIRED,
                Reason.MISSING_CREDENTIALS,
                "Spotify needs an app: set SPOTIPY_CLIENT_ID and SPOTIPY_CLIENT_SECRET.",
            )
        self._config = config
        self._quota = quota
        self._patience = patience
        self._store = like._store if like else TokenStore()
        self.requests: Counter[str] = Counter()
        self.total = like.total if like else Total()
        self._session = BoundedSession(config, patience, like._session if like else None)
        self._credentials = ClientCredentials(self._session, self._store, self._book_token)
        self._spotify = open_spotify(self._session, self._credentials)

    def within(self, deadline: Deadline) -> "SpotifyCalls":
        """Calls for another deadline, counted anew, with the same token and connections."""
        patience = self._patience.within(deadline)
        return SpotifyCalls(self._config, self._quota, patience, self)

    def why_not(self, family: str) -> HarmonyError | None:
        """What keeps a call of the family from being made now: a spent budget, a cooldown."""
        return self._quota.why_not(family)

    def ask(self, question: Question, **parameters: object) -> Json:
        """The answer's JSON object, which has all that the question needs."""
        has_new_token = False
        for attempt in range(1, self._config.tries + 1):
            try:
                return self._answer(question, parameters)
            except HarmonyError as error:
                is_old_token = error.reason is Reason.TOKEN_REFUSED and not has_new_token
                has_new_token = has_new_token or is_old_token
                wait = 0.0 if is_old_token else self._wait_after(error, attempt, question)
                if wait is None or attempt == self._config.tries or question.is_probe:
                    raise
                if wait:
                    self._patience.wait(wait)
                self._count("retries")
        raise AssertionError("the last try returns or raises")

    def _answer(self, question: Question, parameters: dict[str, object]) -> Json:
        from harmony_pipelines.clients.spotify_session import speaking_of

        token = self._token(question)
        self._quota.acquire(question.family, self._patience.deadline, self._patience.wait)
        self._count(PROBE if question.is_probe else question.family)
        try:
            with speaking_of(question):
                answer = self._spotify._get(question.path, **parameters, market=self._config.market)
        except Refusal as refusal:
            if refusal.status == 401:
                self._store.drop(token)
            raise explain(refusal, question, self._quota.clock()) from None
        except RecursionError:
            answer = None
        return _checked(answer, question)

    def _token(self, question: Question) -> str:
        """The token, fetched before the call is booked: without one there is no call."""
        from harmony_pipelines.clients.spotify_session import speaking_of

        if not self._credentials.has_token:
            self._quota.check(question.family)
        try:
            with speaking_of(TOKEN_QUESTION):
                return self._credentials.get_access_token()
        except Refusal as refusal:
            raise explain(refusal, TOKEN_QUESTION, self._quota.clock()) from None

    def _book_token(self) -> None:
        self._quota.acquire(TOKEN, self._patience.deadline, self._patience.wait)
        self._count(TOKEN)

    def _count(self, family: str) -> None:
        with self.total.lock:
            self.requests[family] += 1
            self.total.requests[family] += 1

    def _wait_after(self, error: HarmonyError, attempt: int, question: Question) -> float | None:
        """The seconds to wait before another try; None where none can help."""
        asked = error.details.get("retry_after_s")
        wait = asked if isinstance(asked, float) else None
        if error.reason in (Reason.RATE_LIMIT, Reason.QUOTA_EXCEEDED):
            return self._rest(error, wait or 0.0, question)
        if error.reason not in _MAY_PASS:
            return None
        if wait is None:
            wait = random.uniform(0.5, 1.0) * min(_LONGEST_BACKOFF, 2.0 ** (attempt - 1))
        fits = wait <= LONGEST_PAUSE and wait < self._patience.deadline.left()
        return wait if fits else None

    def _rest(self, error: HarmonyError, wait: float, question: Question) -> float | None:
        """Give Spotify the rest it asks for: a short one is waited for by all, a long one stored.

        The short rest moves everybody's next slot, so the next booking does the waiting.
        """
        fits = wait <= LONGEST_PAUSE and wait < self._patience.deadline.left()
        if fits and error.reason is Reason.RATE_LIMIT:
            self._quota.pause(wait)
            return 0.0
        until = self._quota.clock() + wait
        lowered = self._quota.cool_down(until, str(error.reason), question.family)
        if lowered is not None:
            error.message += (
                f" The budget for {question.family} is now {lowered} requests a day; it grows "
                "again by 5 % each day without a refusal."
            )
        return None


def _checked(answer: Any, question: Question) -> Json:
    if not isinstance(answer, dict):
        raise bad_answer(question, "it is no JSON object")
    for path in question.needs:
        value: Any = answer
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        if value is None:
            raise bad_answer(question, f"it has no `{path}`")
    return answer
