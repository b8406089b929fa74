"""What can go wrong with an answer, scripted: each fault turns the true answer into a bad one."""

import email.utils
import fnmatch
import gzip
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from harmony_pipelines.demo.exchange import Answer, Delivery, error_answer, json_answer

Fault = Callable[[Answer], Answer]


def always(answer: Answer) -> Fault:
    """This answer, whatever the true one is."""
    return lambda _: answer


def rate_limited(retry_after: float | str | datetime | None = 1, *, quota: bool = False) -> Fault:
    """A 429; `retry_after` is in seconds, a moment (sent as an HTTP date), raw text or absent."""
    reason = {"reason": "QUOTA_EXCEEDED"} if quota else {}
    answer = error_answer(429, "API rate limit exceeded", **reason)
    if retry_after is None:
        return always(answer)
    if isinstance(retry_after, datetime):
        retry_after = email.utils.format_datetime(retry_after, usegmt=True)
    return always(replace(answer, headers={**answer.headers, "Retry-After": str(retry_after)}))


def token_expired() -> Fault:
    """A 401 as for a token past its hour."""
    return always(error_answer(401, "The access token expired"))


def premium_lapsed() -> Fault:
    """A 403 because the app's owner pays for Premium no more."""
    message = "Active premium subscription required for the owner of the app"
    return always(error_answer(403, message))


def forbidden() -> Fault:
    """A 403 as for an endpoint that the app may not use."""
    return always(error_answer(403, "Forbidden"))


def string_error(status: int = 403) -> Fault:
    """An error body whose `error` is a text and not an object."""
    return always(json_answer(status, {"error": "forbidden"}))


def empty_not_found() -> Fault:
    """A 404 without a body."""
    return always(Answer(404))


def server_error(status: int = 503, message: str = "Service unavailable") -> Fault:
    """A 5xx with Spotify's error body."""
    return always(error_answer(status, message))


def html_page(status: int = 200) -> Fault:
    """A page as captive portals and proxies send it."""
    page = b"<!doctype html><title>Please sign in</title><p>Welcome to the hotel's network.</p>"
    return always(Answer(status, page, {"Content-Type": "text/html"}))


def null_body() -> Fault:
    """JSON, but `null`."""
    return always(json_answer(200, None))


def body(data: bytes, content_type: str = "application/json", status: int = 200) -> Fault:
    """These very bytes."""
    return always(Answer(status, data, {"Content-Type": content_type}))


def edited(change: Callable[[Any], Any]) -> Fault:
    """The true JSON after `change`, which may edit it in place or return another."""

    def fault(answer: Answer) -> Answer:
        content = json.loads(answer.body)
        changed = change(content)
        return replace(answer, body=json.dumps(content if changed is None else changed).encode())

    return fault


def half_body() -> Fault:
    """The first half, honestly measured: JSON that ends early, a picture that stops midway."""
    return lambda answer: replace(answer, body=answer.body[: len(answer.body) // 2])


def gzipped() -> Fault:
    """A compressed body, though nobody asked for one."""
    return lambda answer: replace(
        answer,
        body=gzip.compress(answer.body),
        headers={**answer.headers, "Content-Encoding": "gzip"},
    )


def cut_off() -> Fault:
    """The connection ends before the announced length is reached."""
    return _delivered(Delivery.CUT)


def slow_drip() -> Fault:
    """The true answer in tiny pieces with pauses between them."""
    return _delivered(Delivery.DRIP)


def endless() -> Fault:
    """A body without a length and without an end."""
    return _delivered(Delivery.ENDLESS)


def connection_reset() -> Fault:
    """The connection is reset instead of an answer."""
    return _delivered(Delivery.RESET)


def hang() -> Fault:
    """The request is taken and never answered."""
    return _delivered(Delivery.HANG)


def _delivered(delivery: Delivery) -> Fault:
    return lambda answer: replace(answer, delivery=delivery)


@dataclass
class Rule:
    """A fault for the requests that match; `times` None means for ever."""

    match: str
    fault: Fault
    times: int | None
    after: int

    def takes(self, family: str, target: str) -> bool:
        """Whether this request is one of ours; counts it if so."""
        if not self._matches(family, target) or self.times == 0:
            return False
        if self.after:
            self.after -= 1
            return False
        self.times = None if self.times is None else self.times - 1
        return True

    def _matches(self, family: str, target: str) -> bool:
        return (
            self.match == family
            or target.startswith(self.match)
            or fnmatch.fnmatchcase(target, self.match)
        )


class Faults:
    """The script: the first rule that takes a request spoils its answer."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []

    def add(self, match: str, fault: Fault, times: int | None = 1, after: int = 0) -> None:
        """Spoil `times` matching requests (None: all) once `after` of them went well.

        `match` is a family (`artist_albums`), the beginning of path and query, or an fnmatch
        pattern over them (`/v1/artists/*/albums*offset=10*`).
        """
        with self._lock:
            self._rules.append(Rule(match, fault, times, after))

    def clear(self) -> None:
        """From now on nothing goes wrong."""
        with self._lock:
            self._rules.clear()

    def spoil(self, answer: Answer, family: str, target: str) -> Answer:
        """The answer after the first rule that takes the request, or as it is."""
        with self._lock:
            taking = next((rule for rule in self._rules if rule.takes(family, target)), None)
        return taking.fault(answer) if taking else answer
