"""A loopback server whose every path misbehaves in its own way."""

import gzip
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

OK = b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n"


@dataclass
class Connection:
    """One accepted connection; `pause` ends early when the server is closed."""

    socket: socket.socket
    closing: threading.Event

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def pause(self, seconds: float) -> bool:
        return not self.closing.wait(seconds)

    def drip(self, data: bytes, every: float = 0.05) -> None:
        for byte in data:
            if not self.pause(every):
                return
            self.send(bytes([byte]))

    def for_ever(self, data: bytes, every: float = 0.0) -> None:
        while self.pause(every):
            self.send(data)


Behaviour = Callable[[Connection], None]


@dataclass
class HostileServer:
    port: int
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, path: str) -> str:
        return f"http://{self.host}{path}"

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.requests]


@contextmanager
def hostile_server(
    behaviours: Mapping[str, Behaviour], tls: ssl.SSLContext | None = None
) -> Iterator[HostileServer]:
    closing = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.05)
        server = HostileServer(listener.getsockname()[1])
        threads: list[threading.Thread] = []

        def serve(accepted: socket.socket) -> None:
            with suppress(OSError), accepted:
                accepted.settimeout(5)
                with tls.wrap_socket(accepted, server_side=True) if tls else accepted as plain:
                    path, headers = _request(plain)
                    server.requests.append((path, headers))
                    behaviours.get(path.partition("?")[0], _missing)(Connection(plain, closing))

        def accept() -> None:
            while not closing.is_set():
                with suppress(TimeoutError):
                    accepted, _ = listener.accept()
                    threads.append(threading.Thread(target=serve, args=(accepted,), daemon=True))
                    threads[-1].start()

        accepting = threading.Thread(target=accept, daemon=True)
        accepting.start()
        try:
            yield server
        finally:
            closing.set()
            for thread in [accepting, *threads]:
                thread.join(6)


def _request(plain: socket.socket) -> tuple[str, dict[str, str]]:
    received = b""
    while b"\r\n\r\n" not in received:
        more = plain.recv(65536)
        if not more:
            raise ConnectionResetError
        received += more
    first, *lines = received.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return first.split(" ")[1], {name.lower(): value for name, value in headers.items()}


def sends(data: bytes) -> Behaviour:
    return lambda connection: connection.send(data)


def answers(body: bytes, headers: bytes = b"") -> Behaviour:
    return sends(OK + headers + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def refuses(status: int, headers: bytes = b"") -> Behaviour:
    return sends(b"HTTP/1.1 %d No\r\n" % status + headers + b"Content-Length: 0\r\n\r\n")


def redirects(location: str, after: float = 0.0) -> Behaviour:
    def behave(connection: Connection) -> None:
        connection.pause(after)
        head = f"HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
        connection.send(head.encode("latin-1"))

    return behave


_missing = refuses(404)


def _gzip(mebibytes: int, layers: int) -> bytes:
    data = gzip.compress(bytes(mebibytes * 2**20))
    for _ in range(layers - 1):
        data = gzip.compress(data)
    return data


def _then_drip(data: bytes) -> Behaviour:
    def behave(connection: Connection) -> None:
        connection.send(data)
        connection.for_ever(b"x", every=0.05)

    return behave


def _endless(head: bytes, data: bytes) -> Behaviour:
    def behave(connection: Connection) -> None:
        connection.send(head)
        connection.for_ever(data)

    return behave


_EITHER = "deadline too_many_bytes"  # whichever comes first on this machine

HOSTILE: dict[str, tuple[str, Behaviour]] = {
    # path: (the reason it must end with, what the server does)
    "/silent": ("deadline", lambda connection: connection.for_ever(b"", every=0.1)),
    "/drip-status": ("deadline", lambda connection: connection.drip(b"HTTP/1.1 200 " + b"O" * 999)),
    "/drip-headers": ("deadline", _then_drip(b"HTTP/1.1 200 OK\r\nX: ")),
    "/drip-body": ("deadline", _then_drip(OK + b"Content-Length: 100000\r\n\r\n")),
    "/drip-chunks": (
        "deadline",
        lambda connection: (
            connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n"),
            connection.for_ever(b"1\r\nx\r\n", every=0.05),
        )[1],
    ),
    "/slow-1xx": (
        "deadline",
        lambda connection: connection.for_ever(b"HTTP/1.1 103 Early Hints\r\n\r\n", every=0.05),
    ),
    "/slow-redirects": ("deadline", redirects("/slow-redirects", after=0.4)),
    "/endless-1xx": (_EITHER, _endless(b"", b"HTTP/1.1 103 Early\r\n\r\n" * 500)),
    "/endless-body": ("too_many_bytes", _endless(OK + b"\r\n", bytes(65536))),
    "/endless-chunks": (
        "too_many_bytes",
        _endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65536) + b"\r\n"),
    ),
    "/tiny-chunks": (
        _EITHER,
        _endless(OK + b"Transfer-Encoding: chunked\r\n\r\n", b"2\r\nxy\r\n" * 8000),
    ),
    "/declared-endless": (
        "too_many_bytes",
        _endless(OK + b"Content-Length: 99999999999\r\n\r\n", bytes(65536)),
    ),
    "/header-flood": ("bad_answer", _endless(b"HTTP/1.1 200 OK\r\n", b"X-Y: z\r\n" * 999)),
    "/one-long-header": ("bad_answer", _endless(b"HTTP/1.1 200 OK\r\nX: ", b"y" * 65536)),
    "/trailer-flood": (
        "bad_answer",
        _endless(OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X-Y: z\r\n" * 999),
    ),
    "/chunk-line-flood": (
        "bad_answer",
        _endless(OK + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 65536),
    ),
    "/redirect-endless-body": (
        "too_many_redirects",
        _endless(b"HTTP/1.1 302 \r\nLocation: /redirect-endless-body\r\n\r\n", bytes(65536)),
    ),
    "/gzip": ("content_encoding", answers(_gzip(64, 1), b"Content-Encoding: gzip\r\n")),
    "/gzip-gzip": ("content_encoding", answers(_gzip(64, 2), b"Content-Encoding: gzip, gzip\r\n")),
    "/gzip-five-times": (
        "content_encoding",
        answers(_gzip(64, 5), b"Content-Encoding: gzip, gzip, gzip, gzip, gzip\r\n"),
    ),
    "/deflate": ("content_encoding", answers(b"x", b"Content-Encoding: deflate\r\n")),
    "/gzip-transfer": (
        "bad_answer",
        sends(OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    ),
    "/too-long-length": ("bad_answer", sends(OK + b"Content-Length: 999\r\n\r\nshort")),
    "/odd-length": ("bad_answer", sends(OK + b"Content-Length: -1\r\n\r\n")),
    "/huge-length": ("bad_answer", sends(OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n")),
    "/two-lengths": ("bad_answer", sends(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx")),
    "/garbage": ("bad_answer", sends(b"\x16\x03\x01 what is this?\r\n\r\n")),
    "/redirect-loop": ("too_many_redirects", redirects("/redirect-loop")),
    "/redirect-file": ("url_not_allowed", redirects("file:///etc/passwd")),
    "/redirect-user": ("url_not_allowed", redirects("https://user:secret@archive.org/x")),
    "/redirect-port": ("url_not_allowed", redirects("https://archive.org:8443/x")),
    "/redirect-plain": ("url_not_allowed", redirects("http://archive.org/x")),
    "/redirect-host": ("host_not_allowed", redirects("https://example.org/x")),
    "/redirect-lookalike": ("host_not_allowed", redirects("https://notarchive.org/x")),
    "/redirect-loopback": ("url_not_allowed", redirects("http://127.0.0.1:1/x")),
    "/redirect-metadata": ("url_not_allowed", redirects("http://169.254.169.254/latest/meta-data")),
    "/redirect-address": ("host_not_allowed", redirects("https://10.0.0.1/x")),
    "/redirect-mapped": ("host_not_allowed", redirects("https://[::ffff:10.0.0.1]/x")),
    "/redirect-nat64": ("host_not_allowed", redirects("https://[64:ff9b::a00:1]/x")),
    "/redirect-odd": ("url_not_allowed", redirects("https://archive.org:99999/")),
    "/redirect-nowhere": ("bad_answer", refuses(302)),
    "/switching": ("bad_answer", sends(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")),
    "/no-content": ("bad_answer", refuses(204)),
}
