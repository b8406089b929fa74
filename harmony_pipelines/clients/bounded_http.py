"""One GET that always ends: within its time, its bytes, its redirects and its hosts.

Imports httpx and httpcore: import this module where it is needed, not where definitions are loaded.
"""

import functools
import random
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpcore
import httpx

from harmony_pipelines.clients.addresses import AllowedHosts
from harmony_pipelines.clients.bounded_network import Allowance, BoundedNetwork
from harmony_pipelines.clients.resolver import LookUp, Resolver, system_look_up
from harmony_pipelines.clients.turns import Pace
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_URL_MAX_CHARACTERS = 4096
_SHOWN_CHARACTERS = 200
_RETRY_AFTER_MAX_SECONDS = 24 * 3600.0
_WORTH_A_RETRY = frozenset({Reason.CONNECTION_FAILED, Reason.SERVER_ERROR})
_PAUSES_BEFORE_RETRIES = (0.5, 2.0)

_BAD_ANSWER = (ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER)
_NEVER_CONNECTED = (
    httpcore.ConnectionNotAvailable,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
_CONNECTION_FAILED = (ErrorCode.DEPENDENCY_ERROR, Reason.CONNECTION_FAILED)
_URL_NOT_ALLOWED = (ErrorCode.BLOCKED_HOST, Reason.URL_NOT_ALLOWED)


@dataclass(frozen=True)
class HttpLimits:
    """What one GET may take; seconds and bytes over everything it does, redirects and retries too.

    `connect_seconds` holds for the look-up, for each address tried and for TLS, `read_seconds` for
    each wait for a byte, and `deadline_seconds` for the whole.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 10.0
    deadline_seconds: float = 30.0
    max_bytes: int = 10 * 2**20
    max_redirects: int = 3


@dataclass(frozen=True)
class Fetched:
    """What a GET brought: the body, what the server called it, and how it came."""

    body: bytes = field(repr=False)
    content_type: str | None
    url: str
    hops: int
    bytes_on_wire: int


@dataclass(frozen=True)
class Surroundings:
    """What the client stands on; tests put their own in its place."""

    look_up: LookUp = system_look_up
    network: httpcore.NetworkBackend = field(default_factory=httpcore.SyncBackend)
    ssl_context: ssl.SSLContext | None = None
    sleep: Callable[[float], None] = time.sleep


_system_trust = functools.cache(httpcore.default_ssl_context)  # 20 to 50 ms each time


class BoundedHttp:
    """Fetches one URL at a time per caller; may be shared by threads.

    Nothing of the environment counts (no proxies, no netrc), nothing is kept between calls (no
    cookies, no open connections), and compressed answers are refused rather than unpacked.
    """

    def __init__(
        self,
        limits: HttpLimits | None = None,
        hosts: AllowedHosts | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self._limits = limits or HttpLimits()
        self._hosts = hosts or AllowedHosts.parse()
        self._surroundings = surroundings or Surroundings()
        self._resolver = Resolver(self._surroundings.look_up)

    def get(self, url: str, deadline: Deadline, pace: Pace = lambda _: nullcontext()) -> Fetched:
        """The body behind the URL, tried at most three times within the same allowance.

        `pace` goes around every single request: redirects and retries are requests too.
        """
        hop = self._admitted(url)
        allowance = self._allowance(hop, deadline)
        for longest_pause in _PAUSES_BEFORE_RETRIES:
            pause = random.uniform(longest_pause / 2, longest_pause)
            try:
                return self._follow(hop, allowance, pace)
            except HarmonyError as error:
                if error.reason not in _WORTH_A_RETRY or allowance.deadline.left() <= pause:
                    raise
            self._surroundings.sleep(pause)
        return self._follow(hop, allowance, pace)

    def _allowance(self, hop: "_Hop", deadline: Deadline) -> Allowance:
        limits = self._limits
        return Allowance(
            deadline.sooner(limits.deadline_seconds, f"fetching {hop.shown}"),
            limits.connect_seconds,
            limits.read_seconds,
            limits.max_bytes,
        )

    def _follow(self, hop: "_Hop", allowance: Allowance, pace: Pace) -> Fetched:
        for hops in range(1, self._limits.max_redirects + 2):
            with pace(allowance.deadline), self._answer(hop, allowance) as answer:
                headers = _by_name(answer)
                if answer.status not in _REDIRECTS:
                    _refuse_unusable(hop, answer.status, headers)
                    _refuse_announced_excess(headers, allowance)
                    body = _body(answer)
                    kind = headers.get("content-type")
                    return Fetched(body, kind, str(hop.url), hops, allowance.bytes_read)
            hop = self._redirected(hop, headers.get("location"))
        raise hop.error(
            (ErrorCode.DEPENDENCY_ERROR, Reason.TOO_MANY_REDIRECTS),
            f"is the end of more than {self._limits.max_redirects} redirects",
        )

    @contextmanager
    def _answer(self, hop: "_Hop", allowance: Allowance) -> Iterator[httpcore.Response]:
        network = BoundedNetwork(
            allowance, self._resolver, self._surroundings.network, self._hosts.excepts
        )
        secure = hop.url.scheme == "https"
        context = (self._surroundings.ssl_context or _system_trust()) if secure else None
        with (
            _speaking_of(hop, allowance),
            httpcore.HTTPConnection(hop.origin, context, network_backend=network) as connection,
            connection.stream("GET", hop.address, headers=hop.headers) as answer,
        ):
            yield answer

    def _redirected(self, hop: "_Hop", location: str | None) -> "_Hop":
        if location is None:
            raise hop.error(_BAD_ANSWER, "redirects without saying where")
        try:
            target = hop.url.join(location)
        except (httpx.InvalidURL, ValueError) as error:
            raise hop.error(_URL_NOT_ALLOWED, f"redirects to what is no URL ({error})") from error
        return self._admitted(str(target))

    def _admitted(self, text: str) -> "_Hop":
        hop = _hop(text)
        url, host, port = hop.url, hop.host, hop.port
        if url.userinfo or not host:
            raise hop.error(_URL_NOT_ALLOWED, "must have a host and neither user nor password")
        if self._hosts.excepts(host, port) and url.scheme in _PORTS:
            return hop
        if url.scheme != "https" or port != _PORTS["https"]:
            raise hop.error(
                _URL_NOT_ALLOWED,
                "is not https on port 443; a server of your own must be listed as host:port in "
                "HARMONY_ARTWORK_HOSTS",
            )
        if not self._hosts.lists(host):
            raise hop.error(
                (ErrorCode.BLOCKED_HOST, Reason.HOST_NOT_ALLOWED),
                f"lies on {host}, which HARMONY_ARTWORK_HOSTS does not list; add it if you trust "
                "it",
            )
        return hop


@dataclass(frozen=True)
class _Hop:
    """One URL on the way, and the host and port that are checked, looked up and connected to."""

    url: httpx.URL
    host: str
    port: int

    @property
    def origin(self) -> httpcore.Origin:
        return self.address.origin

    @property
    def address(self) -> httpcore.URL:
        return httpcore.URL(
            scheme=self.url.scheme, host=self.host, port=self.port, target=self.url.raw_path
        )

    @property
    def headers(self) -> list[tuple[str, str]]:
        return [
            ("Host", self.url.netloc.decode("ascii")),
            ("User-Agent", "harmony-pipelines"),
            ("Accept", "*/*"),
            ("Accept-Encoding", "identity"),
            ("Connection", "close"),
        ]

    @property
    def shown(self) -> str:
        """The URL without what may be secret in it."""
        plain = self.url.copy_with(userinfo=b"", query=None, fragment=None)
        return str(plain)[:_SHOWN_CHARACTERS]

    def error(self, kind: tuple[ErrorCode, Reason], what: str, **details: object) -> HarmonyError:
        return HarmonyError(
            *kind, f"{self.shown} {what}.", host=self.host, url=self.shown, **details
        )


def _hop(text: str) -> _Hop:
    if len(text) > _URL_MAX_CHARACTERS:
        raise HarmonyError(
            *_URL_NOT_ALLOWED, f"A URL of {len(text)} characters is not followed; is it one?"
        )
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise HarmonyError(*_URL_NOT_ALLOWED, f"This is no URL ({error}); correct it.") from error
    host = url.raw_host.decode("ascii").lower().rstrip(".")
    return _Hop(url, host, _PORTS.get(url.scheme, 0) if url.port is None else url.port)


@contextmanager
def _speaking_of(hop: _Hop, allowance: Allowance) -> Iterator[None]:
    """Turn what goes wrong with a hop into a HarmonyError that names it."""
    try:
        yield
    except HarmonyError as error:
        told = error.message if hop.host in error.message else f"{hop.shown}: {error.message}"
        details = {"host": hop.host, "url": hop.shown} | error.details
        raise HarmonyError(error.code, error.reason, told, **details) from error
    except httpcore.TimeoutException as error:
        raise _timed_out(hop, allowance, error) from error
    except (httpcore.NetworkError, *_NEVER_CONNECTED) as error:
        raise hop.error(_CONNECTION_FAILED, f"could not be fetched: {error}") from error
    except httpcore.ProtocolError as error:
        raise hop.error(_BAD_ANSWER, f"answers in broken HTTP: {error}") from error


def _timed_out(hop: _Hop, allowance: Allowance, error: httpcore.TimeoutException) -> HarmonyError:
    if allowance.deadline.passed:
        kind = (ErrorCode.DEADLINE_EXCEEDED, Reason.DEADLINE)
        return hop.error(kind, "was not there within its time limit; it is tried again later")
    if isinstance(error, httpcore.ConnectTimeout):
        waited = f"{allowance.connect_seconds:g} s"
        return hop.error(_CONNECTION_FAILED, f"could not be fetched: no connection in {waited}")
    kind = (ErrorCode.DEADLINE_EXCEEDED, Reason.TIMEOUT)
    return hop.error(kind, f"sent nothing for {allowance.read_seconds:g} s; try again later")


def _body(answer: httpcore.Response) -> bytes:
    """The body in one buffer: a list of its pieces, if they are tiny, costs 50 times its size."""
    body = bytearray()
    for piece in answer.iter_stream():
        body += piece
    return bytes(body)


def _by_name(answer: httpcore.Response) -> dict[str, str]:
    return {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in reversed(answer.headers)  # the first of a name counts
    }


def _refuse_unusable(hop: _Hop, status: int, headers: Mapping[str, str]) -> None:
    if status in (404, 410):
        kind = (ErrorCode.NOT_FOUND, Reason.HTTP_NOT_FOUND)
        raise hop.error(kind, f"is not there ({status})", status=status)
    if status in (401, 403):
        kind = (ErrorCode.AUTH_REQUIRED, Reason.FORBIDDEN)
        raise hop.error(kind, f"may not be fetched ({status})", status=status)
    wait = _retry_after(headers.get("retry-after", ""))
    if status == 429 or (status == 503 and wait is not None):
        kind = (ErrorCode.RATE_LIMITED, Reason.RATE_LIMIT)
        known = {} if wait is None else {"retry_after_s": wait}
        raise hop.error(kind, f"asks for patience ({status})", status=status, **known)
    if status == 408 or status >= 500:
        kind = (ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR)
        raise hop.error(kind, f"failed on the server's side ({status})", status=status)
    if status != 200:
        raise hop.error(_BAD_ANSWER, f"answered {status}, not 200", status=status)
    encoding = headers.get("content-encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        kind = (ErrorCode.UNSUPPORTED_MEDIA, Reason.CONTENT_ENCODING)
        raise hop.error(kind, "came compressed although that was declined")


def _refuse_announced_excess(headers: Mapping[str, str], allowance: Allowance) -> None:
    announced = headers.get("content-length", "")
    if re.fullmatch(r"[0-9]{1,20}", announced):
        allowance.refuse(int(announced))


def _retry_after(text: str) -> float | None:
    """The seconds that a Retry-After header asks for, at most a day; None if it says nothing."""
    if re.fullmatch(r"[0-9]{1,9}", text):
        return min(float(text), _RETRY_AFTER_MAX_SECONDS)
    try:
        seconds = parsedate_to_datetime(text).astimezone(UTC) - datetime.now(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return min(max(0.0, seconds.total_seconds()), _RETRY_AFTER_MAX_SECONDS)
