"""A Spotify on this machine: the Web API, its token endpoint, its image host and a cover archive.

It serves an invented catalogue in the recorded API's very shapes, logs what it is asked and fails
on demand, so that both the demo and the tests run without the network.
"""

import argparse
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import KW_ONLY, dataclass

from harmony_pipelines.demo.catalogue_data import CATALOGUE_FILE, Catalogue
from harmony_pipelines.demo.exchange import Answer, Delivery, Query
from harmony_pipelines.demo.faults import Faults
from harmony_pipelines.demo.loopback import LoopbackServer
from harmony_pipelines.demo.spotify_endpoints import App, Endpoints, Tokens, family_of


@dataclass
class Request:
    """One request as it came in; `status` is None until it was answered, 0 if it never is."""

    method: str
    path: str
    query: Mapping[str, str]
    family: str
    at: float
    status: int | None = None


@dataclass(eq=False, repr=False)
class SpotifyServer:
    """The server as a context manager; addresses are known once it is entered.

    Stopped and started again it keeps its port.
    """

    catalogue: Catalogue
    _: KW_ONLY
    profile: str = "development"
    client_id: str = "demo-client"
    client_secret: str = "demo-secret"
    port: int = 0
    latency_s: float = 0
    """How long an answer takes, the making of it included."""
    clock: Callable[[], float] = time.monotonic
    """What the log tells the time by; asked once for each request, before it is answered."""

    def __post_init__(self) -> None:
        """Nothing listens yet."""
        self.faults = Faults()
        self.max_in_flight = 0
        self._lock = threading.Lock()
        self._requests: list[Request] = []
        self._in_flight = 0
        self._tokens = Tokens()
        self._http: LoopbackServer | None = None

    def __enter__(self) -> "SpotifyServer":
        """The server, listening."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop, whatever happened."""
        self.stop()

    def start(self) -> None:
        """Listen and answer in the background."""
        self._http = http = LoopbackServer(self.port)
        self.port = http.server_port
        app = App(self.client_id, self.client_secret, self.profile)
        endpoints = Endpoints(self.catalogue, self.url, app, self._tokens)

        @contextmanager
        def exchange(query: Query) -> Iterator[Answer]:
            with self._logged(query) as request:
                began = time.monotonic()
                answer = endpoints.answer(query)
                http.stopping.wait(self.latency_s - (time.monotonic() - began))
                answer = self.faults.spoil(answer, request.family, query.target)
                is_silent = answer.delivery in (Delivery.RESET, Delivery.HANG)
                request.status = 0 if is_silent else answer.status
                yield answer

        http.start(exchange)

    def stop(self) -> None:
        """End every connection, also those that hang, and stop listening."""
        http, self._http = self._http, None
        if http:
            http.stop()

    @property
    def image_host(self) -> str:
        """`127.0.0.1:PORT`, as a list of allowed artwork hosts wants it."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        """The server's own address."""
        return f"http://{self.image_host}"

    @property
    def api_url(self) -> str:
        """Stands for https://api.spotify.com/v1."""
        return f"{self.url}/v1"

    @property
    def accounts_url(self) -> str:
        """Stands for https://accounts.spotify.com; the token endpoint is `/api/token` below it."""
        return self.url

    @property
    def coverartarchive_url(self) -> str:
        """Stands for https://coverartarchive.org."""
        return f"{self.url}/coverart"

    @property
    def requests(self) -> list[Request]:
        """What was asked so far, in order."""
        with self._lock:
            return list(self._requests)

    def count(self, family: str | None = None) -> int:
        """How many requests of a family, or of any, came in, answered or not."""
        return sum(family in (None, request.family) for request in self.requests)

    def forget_requests(self) -> None:
        """Start counting anew."""
        with self._lock:
            self._requests.clear()
            self.max_in_flight = self._in_flight

    def expire_tokens(self) -> None:
        """Every token given out so far is expired."""
        self._tokens.expire()

    @contextmanager
    def _logged(self, query: Query) -> Iterator[Request]:
        family = family_of(query.path)
        request = Request(query.method, query.path, query.parameters, family, self.clock())
        with self._lock:
            self._requests.append(request)
            self._in_flight += 1
            self.max_in_flight = max(self.max_in_flight, self._in_flight)
        try:
            yield request
        finally:
            with self._lock:
                self._in_flight -= 1


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve the demo's catalogue until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m harmony_pipelines.demo.spotify_server")
    parser.add_argument("--port", type=int, default=0, help="0: any free port")
    parser.add_argument("--profile", choices=["development", "extended"], default="development")
    chosen = parser.parse_args(arguments)
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    catalogue = Catalogue.load(CATALOGUE_FILE)
    with SpotifyServer(catalogue, port=chosen.port, profile=chosen.profile) as server:
        print(server.url, flush=True)
        done.wait()


if __name__ == "__main__":
    main()
