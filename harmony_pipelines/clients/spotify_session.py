"""The HTTP below spotipy: every exchange ends, nothing is retried, nothing secret is logged.

Importing this imports spotipy; whoever is imported by the definitions imports it when it is needed.
"""

import contextlib
import io
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import orjson
import requests
import urllib3
from requests.cookies import CookieConflictError
from spotipy import Spotify
from spotipy.cache_handler import MemoryCacheHandler
from spotipy.exceptions import SpotifyBaseException
from spotipy.oauth2 import SpotifyClientCredentials
from urllib3.exceptions import NameResolutionError, ReadTimeoutError
from urllib3.util import parse_url

from harmony_pipelines.clients.exchanges import Adapter, Watch
from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.spotify_config import SpotifyConfig
from harmony_pipelines.clients.spotify_refusals import (
    TOKEN_ENDPOINT,
    TOKEN_QUESTION,
    Question,
    Refusal,
)
from harmony_pipelines.clients.spotify_refusals import bad_answer as unusable
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_CHUNK_BYTES = 65_536
_LIBRARIES_RAISE = (
    requests.RequestException,
    CookieConflictError,
    urllib3.exceptions.HTTPError,
    urllib3.exceptions.ProxySchemeUnknown,
    OSError,
    ValueError,
)


def _is_no_secret(record: logging.LogRecord) -> bool:
    """At DEBUG spotipy logs the headers of every request, credentials and all."""
    return record.levelno > logging.DEBUG


class TokenStore:
    """The access token that all threads of a process share, and who may fetch it."""

    def __init__(self) -> None:
        self.cache = MemoryCacheHandler()
        self.lock = threading.Lock()

    def drop(self, token: str) -> None:
        """Forget the token, unless another thread has replaced it already."""
        with self.lock:
            stored = self.cache.get_cached_token()
            if stored and stored["access_token"] == token:
                self.cache.save_token_to_cache(None)


class ClientCredentials(SpotifyClientCredentials):
    """spotipy's client credentials with one fetch at a time and an answer that is looked at."""

    def __init__(
        self, session: "BoundedSession", store: TokenStore, before_fetch: Callable[[], None]
    ) -> None:
        config = session.config
        self.OAUTH_TOKEN_URL = f"{config.accounts_url.rstrip('/')}/{TOKEN_ENDPOINT}"
        super().__init__(
            client_id=config.client_id,
            client_secret=config.client_secret,
            requests_session=session,  # pyright: ignore[reportArgumentType]
            cache_handler=store.cache,
        )
        self._store = store
        self._patience = session.patience
        self._longest_wait = config.call_seconds
        self._before_fetch = before_fetch

    @property
    def has_token(self) -> bool:
        """Whether a token is there that has not expired."""
        token = self._store.cache.get_cached_token()
        return bool(token) and not self.is_token_expired(token)

    def get_access_token(self, as_dict: bool = False, check_cache: bool = True) -> str:
        """The token, fetched by the one thread that comes first."""
        seconds = self._patience.deadline.limit(self._longest_wait)
        if not self._store.lock.acquire(timeout=seconds):
            raise _too_slow("an access token", seconds)
        try:
            return super().get_access_token(as_dict=False, check_cache=check_cache)
        finally:
            self._store.lock.release()

    def _request_access_token(self) -> dict[str, Any]:
        self._before_fetch()
        try:
            answer: Any = super()._request_access_token()
        except (ValueError, RecursionError):
            answer = None
        token = answer.get("access_token") if isinstance(answer, dict) else None
        if not (isinstance(token, str) and token and token.isascii() and token.isprintable()):
            raise unusable(TOKEN_QUESTION, "it holds no access token")
        seconds = answer.get("expires_in")
        is_duration = isinstance(seconds, int) and 0 < seconds < 10**9
        return {"access_token": token, "expires_in": seconds if is_duration else 3600}


class BoundedSession(requests.Session):
    """A session whose every request is over in time, read whole and within a size.

    requests' own time limits are per read, so that a server that drips is never late. Each exchange
    is therefore watched, and cut at the limit, at the deadline, or because the run is over, also
    during name resolution. One made `like` another shares its connections.
    """

    def __init__(
        self, config: SpotifyConfig, patience: Patience, like: "BoundedSession | None" = None
    ) -> None:
        super().__init__()
        self.config = config
        self.patience = patience
        self.trust_env = False
        self._shares = like is not None
        for scheme in ("https://", "http://"):
            self.mount(scheme, like.adapters[scheme] if like else Adapter(max_retries=0))
        self._watch: Watch = like._watch if like else Watch()

    def close(self) -> None:
        """Give the connections back, unless they are another's: spotipy closes what it drops."""
        if not self._shares:
            super().close()

    def request(self, method: Any, url: Any, *_: Any, **options: Any) -> requests.Response:
        """The whole answer; raises Refusal for what is no 2xx and HarmonyError for no answer."""
        self.patience.check()
        seconds = self.patience.deadline.limit(self.config.call_seconds)
        options["timeout"] = (
            min(self.config.connect_seconds, seconds),
            min(self.config.read_seconds, seconds),
        )
        response = self._in_time(method, str(url), options, seconds)
        if not 200 <= response.status_code < 300:
            hidden = _credentials(options.get("headers"), self.config.client_secret)
            raise Refusal(response.status_code, response.headers, response.content, hidden)
        return response

    def _in_time(self, method: str, url: str, options: Any, seconds: float) -> requests.Response:
        limit = self.patience.deadline.sooner(seconds, "a call")
        try:
            with self._watch.kept_over(self.patience.within(limit)):
                return self._whole_answer(method, url, options)
        except Exception as error:
            self.patience.check()
            if limit.passed:
                raise _too_slow(_endpoint(url), seconds) from error
            if not isinstance(error, _LIBRARIES_RAISE):
                raise  # in our vocabulary already, or a fault of ours, which keeps its own name
            raise _failed(error, _endpoint(url)) from error

    def _whole_answer(self, method: str, url: str, options: Any) -> requests.Response:
        """Read the body within its size, so that nobody waits for it outside the limits."""
        body = bytearray()
        with self._sent(method, url, options) as response:
            for chunk in response.iter_content(_CHUNK_BYTES):
                body += chunk
                if len(body) > self.config.most_bytes:
                    raise HarmonyError(
                        ErrorCode.PAYLOAD_TOO_LARGE,
                        Reason.TOO_MANY_BYTES,
                        f"Spotify's answer to {_endpoint(url)} is larger than "
                        f"{self.config.most_bytes} bytes; it was left unread.",
                        endpoint=_endpoint(url),
                    )
        whole = _WholeResponse()
        whole.status_code = response.status_code
        whole.headers = response.headers
        whole.url = response.url
        whole.encoding = "utf-8"
        whole.raw = io.BytesIO(bytes(body))
        return whole

    def _sent(self, method: str, url: str, options: Any) -> requests.Response:
        """The head of the answer, without what a session adds to each request; ours needs none."""
        request = requests.PreparedRequest()
        headers = {**self.headers, **(options.get("headers") or {})}
        given = {name: options.get(name) for name in ("data", "params")}
        request.prepare(method, url, headers, **given)
        adapter = self.get_adapter(url)  # a session would keep cookies, and look for redirects
        return adapter.send(request, stream=True, timeout=options["timeout"], verify=True)


class _WholeResponse(requests.Response):
    """What was read; spotipy makes a text of all of its JSON for its log, kept or not."""

    def json(self, **_: Any) -> Any:
        try:
            answer = orjson.loads(self.content)
        except ValueError:  # broken text, or one of the things that only Python's own reads
            answer = json.loads(self.content.decode(errors="replace"))
        return _Unspoken(answer) if isinstance(answer, dict) else answer


class _Unspoken(dict[str, Any]):
    """A JSON object of which nothing is told, which takes no time either."""

    def __repr__(self) -> str:
        return "{…}"


def open_spotify(session: BoundedSession, credentials: ClientCredentials) -> Spotify:
    """The library on our session: it builds requests and headers, we do the rest."""
    for name in ("spotipy.client", "spotipy.oauth2"):
        logging.getLogger(name).addFilter(_is_no_secret)
    spotify = Spotify(auth_manager=credentials, requests_session=session, retries=0)  # pyright: ignore[reportArgumentType]
    spotify.prefix = session.config.api_url.rstrip("/") + "/"
    return spotify


@contextlib.contextmanager
def speaking_of(question: Question) -> Iterator[None]:
    """Turn what spotipy raises of its own into a HarmonyError; its text may quote the answer."""
    try:
        yield
    except SpotifyBaseException as error:
        raise unusable(question, f"spotipy says {type(error).__name__}") from None


def _credentials(headers: Any, secret: str) -> list[str]:
    sent = str((headers or {}).get("Authorization", "")).partition(" ")[2]
    return [form for each in (secret, sent) for form in (each, quote(each, safe=""))]


def _endpoint(url: str) -> str:
    """The URL's host and path, without what is asked."""
    parts = parse_url(url)
    return f"{parts.host}{parts.path or ''}"


def _too_slow(endpoint: str, seconds: float) -> HarmonyError:
    return HarmonyError(
        ErrorCode.DEADLINE_EXCEEDED,
        Reason.TIMEOUT,
        f"Spotify did not answer {endpoint} within {seconds:.0f} s.",
        endpoint=endpoint,
    )


def _failed(error: Exception, endpoint: str) -> HarmonyError:
    """What requests and urllib3 raise, in our vocabulary."""
    cause = error.args[0] if error.args else None
    if isinstance(error, requests.Timeout) or isinstance(cause, ReadTimeoutError):
        return HarmonyError(
            ErrorCode.DEADLINE_EXCEEDED,
            Reason.TIMEOUT,
            f"Spotify kept silent too long over {endpoint}.",
            endpoint=endpoint,
        )
    reason, what = _failure(error, cause)
    return HarmonyError(
        ErrorCode.DEPENDENCY_ERROR,
        reason,
        f"{what} ({endpoint}). It is asked again with the next run.",
        endpoint=endpoint,
    )


def _failure(error: Exception, cause: object) -> tuple[Reason, str]:
    if isinstance(getattr(cause, "reason", None), NameResolutionError):
        return Reason.NAME_RESOLUTION, "Spotify's host name could not be resolved"
    broken = (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError)
    if isinstance(error, broken):
        return Reason.BAD_ANSWER, "Spotify's answer ended early or is garbled"
    return Reason.CONNECTION_FAILED, "The connection to Spotify failed"
