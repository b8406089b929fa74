"""Requests over `requests` that can be ended from outside, whatever they wait for.

Importing this imports requests: import it where it is needed, not where definitions are loaded.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import wait
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.pool import beside

_NOTICE_SECONDS = 0.1


class Exchange:
    """One request of the thread that makes it, over at its patience's end."""

    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self._connection: _Http | None = None
        self._socket: Any = None
        self._is_cut = False

    def connects(self, connection: "_Http", connect: Callable[[], None]) -> None:
        """Connect in a thread of its own, which is left where it is once the exchange is over.

        Nothing interrupts the resolution of a name.
        """
        done = beside(connect, "connect")
        while not wait([done], _NOTICE_SECONDS).done:
            if self.patience.is_over:
                done.add_done_callback(lambda _: connection.close())
                self.patience.check()
        done.result()
        self.uses(connection)

    def uses(self, connection: "_Http") -> None:
        """Remember the socket that must be cut to end this exchange.

        A connection forgets its own once it has the head of an answer that ends with it.
        """
        self._connection, self._socket = connection, connection.sock
        connection.exchange = self

    def cut(self) -> None:
        """End what the thread waits for, unless its connection serves another by now."""
        self._is_cut = True
        if self._socket is not None and self._connection and self._connection.exchange is self:
            with contextlib.suppress(OSError):
                # Not SSLSocket.shutdown, which would drop the TLS state that the thread is using.
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def forget(self) -> None:
        """Let go of the connection, which knows this exchange until it is used again."""
        self._connection = self._socket = None

    def check(self) -> None:
        """Raise if it was cut: what came before may look like a whole answer."""
        if self._is_cut:
            self.patience.check()


class Watch:
    """Cuts the exchanges that are over, by one thread that is there while there are any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[Exchange] = set()
        self._is_kept = False

    @contextlib.contextmanager
    def kept_over(self, patience: Patience) -> Iterator[None]:
        """What this thread asks in this block is an exchange that ends with the patience."""
        exchange = _here.exchange = Exchange(patience)
        with self._lock:
            if not self._is_kept:
                threading.Thread(target=self._keep, name="exchanges", daemon=True).start()
                self._is_kept = True
            self._running.add(exchange)
        try:
            yield
        finally:
            with self._lock:
                self._running.remove(exchange)
            exchange.forget()
        exchange.check()

    def _keep(self) -> None:
        while True:
            time.sleep(_NOTICE_SECONDS)
            with self._lock:
                if not self._running:
                    self._is_kept = False
                    return
                for exchange in self._running:
                    if exchange.patience.is_over:
                        exchange.cut()


_here = threading.local()


class _Http(HTTPConnection):
    exchange: Exchange | None = None

    def connect(self) -> None:
        _here.exchange.connects(self, super().connect)

    def request(self, *args: Any, **options: Any) -> None:
        _here.exchange.uses(self)
        super().request(*args, **options)


class _Https(_Http, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http  # pyright: ignore[reportAssignmentType]


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https  # pyright: ignore[reportAssignmentType]


class Adapter(HTTPAdapter):
    """An adapter whose connections tell the exchange that uses them."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        """Make the pools that make such connections."""
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
