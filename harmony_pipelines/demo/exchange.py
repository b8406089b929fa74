"""A request and its answer, as the loopback server's parts hand them to each other."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum


class Delivery(Enum):
    """How the bytes of an answer leave the server."""

    WHOLE = "whole"
    CUT = "half the body under the whole body's length, then the end"
    DRIP = "a few bytes at a time"
    ENDLESS = "the body again and again"
    RESET = "a connection reset instead of an answer"
    HANG = "nothing at all, until the client or the server goes"


@dataclass(frozen=True)
class Answer:
    """A status, headers and a body, and how they are delivered."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    delivery: Delivery = Delivery.WHOLE


def json_answer(status: int, body: object) -> Answer:
    """An answer with a JSON body."""
    content = json.dumps(body, ensure_ascii=False).encode()
    return Answer(status, content, {"Content-Type": "application/json; charset=utf-8"})


def error_answer(status: int, message: str, **more: str) -> Answer:
    """The Web API's error body."""
    return json_answer(status, {"error": {"status": status, "message": message, **more}})


@dataclass(frozen=True)
class Query:
    """A request as the endpoints see it; `path` has no trailing slash."""

    method: str
    path: str
    parameters: Mapping[str, str]
    target: str
    headers: Mapping[str, str]
    posted: bytes = b""

    def header(self, name: str) -> str:
        """A header's value by its name in any case, or nothing."""
        return next((v for k, v in self.headers.items() if k.lower() == name.lower()), "")


class Refusal(Exception):  # noqa: N818
    """The request cannot be served; carries the answer that says so."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.answer = error_answer(status, message)
