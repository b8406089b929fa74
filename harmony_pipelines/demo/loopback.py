"""A threaded HTTP server on the loopback address that can also answer badly, and stops at once."""

import contextlib
import os
import select
import socket
import socketserver
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from harmony_pipelines.demo.exchange import Answer, Delivery, Query

_STOP_WITHIN_SECONDS = 0.8
_POLL_SECONDS = 0.02
_DRIP_BYTES = 8
_DRIP_SECONDS = 0.1

Exchange = Callable[[Query], AbstractContextManager[Answer]]


class LoopbackServer(socketserver.ThreadingMixIn, HTTPServer):
    """Listens from the start and answers once started; `exchange` lasts as long as its answer."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int) -> None:
        self.stopping = threading.Event()
        self.exchange: Exchange | None = None
        self._connections: set[socket.socket] = set()
        self._changed = threading.Condition()
        super().__init__(("127.0.0.1", port), _Handler)

    def start(self, exchange: Exchange) -> None:
        """Answer in the background."""
        self.exchange = exchange
        threading.Thread(target=self.serve_forever, args=(_POLL_SECONDS,), daemon=True).start()

    def stop(self) -> None:
        """Stop listening and end every connection, also those that hang."""
        self.stopping.set()
        self.shutdown()
        self.server_close()
        with self._changed:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._changed.wait_for(lambda: not self._connections, _STOP_WITHIN_SECONDS)

    def server_bind(self) -> None:
        """Bind, without the resolver that HTTPServer asks for this machine's full name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection while its thread lives."""
        with self._changed:
            self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection at its end."""
        super().shutdown_request(request)
        with self._changed:
            self._connections.discard(request)
            self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Report our own mistakes only: clients may go whenever they like."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "loopback"
    sys_version = ""
    wbufsize = -1  # headers and body in one packet
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self._respond()

    def do_POST(self) -> None:
        self._respond()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the request log is for that."""

    @property
    def _owner(self) -> LoopbackServer:
        return cast(LoopbackServer, self.server)

    def _respond(self) -> None:
        if self._owner.exchange is None:
            raise RuntimeError("the server was not started")
        with self._owner.exchange(self._query()) as answer:
            if answer.delivery is not Delivery.WHOLE:
                _DELIVERIES[answer.delivery](self, answer)
                return
        # Only now: who has the answer may ask again before we could note that this one is over.
        self._send_head(answer, len(answer.body))
        self.wfile.write(answer.body)

    def _query(self) -> Query:
        parts = urlsplit(self.path)
        return Query(
            method=self.command,
            path=parts.path.rstrip("/"),
            parameters=dict(parse_qsl(parts.query, keep_blank_values=True)),
            target=self.path,
            headers=dict(self.headers),
            posted=self.rfile.read(int(self.headers.get("Content-Length") or 0)),
        )

    def _send_head(self, answer: Answer, length: int | None) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if length is None:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def _send_cut(self, answer: Answer) -> None:
        self._send_head(answer, len(answer.body))
        self.wfile.write(answer.body[: len(answer.body) // 2])
        self.close_connection = True

    def _send_drip(self, answer: Answer) -> None:
        self._send_head(answer, len(answer.body))
        for start in range(0, len(answer.body), _DRIP_BYTES):
            self.wfile.write(answer.body[start : start + _DRIP_BYTES])
            self.wfile.flush()
            if self._is_over(_DRIP_SECONDS):
                return

    def _send_endless(self, answer: Answer) -> None:
        self._send_head(answer, None)
        piece = (answer.body or b"\0") * (1 + 65_536 // max(1, len(answer.body)))
        while not self._is_over(0):
            self.wfile.write(piece)

    def _reset(self, _: Answer) -> None:
        # Closing with a linger of zero seconds sends RST; the server's own way sends FIN first.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(self.connection.detach())
        self.close_connection = True

    def _hang(self, _: Answer) -> None:
        while not self._is_over(1):
            pass

    def _is_over(self, seconds: float) -> bool:
        """Wait; whether the client has gone meanwhile or the server is stopping."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        has_gone = bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)
        is_over = has_gone or self._owner.stopping.is_set()
        self.close_connection = self.close_connection or is_over
        return is_over


_DELIVERIES = {
    Delivery.CUT: _Handler._send_cut,
    Delivery.DRIP: _Handler._send_drip,
    Delivery.ENDLESS: _Handler._send_endless,
    Delivery.RESET: _Handler._reset,
    Delivery.HANG: _Handler._hang,
}
