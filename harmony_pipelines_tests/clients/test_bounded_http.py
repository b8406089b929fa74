import json
import shutil
import ssl
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpcore
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harmony_pipelines.clients.addresses import AllowedHosts
from harmony_pipelines.clients.bounded_http import BoundedHttp, Fetched, HttpLimits, Surroundings
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines_tests.clients.hostile_server import (
    HOSTILE,
    OK,
    Behaviour,
    Connection,
    HostileServer,
    answers,
    hostile_server,
    redirects,
    refuses,
    sends,
)

REPOSITORY = Path(__file__).parents[2]
QUICK = HttpLimits(
    connect_seconds=1, read_seconds=5, deadline_seconds=0.5, max_bytes=2**20, max_redirects=3
)
PUBLIC = "93.184.215.14"


class Detour(httpcore.NetworkBackend):
    """Notes which address was to be connected to, and connects to the loopback server instead."""

    def __init__(self, port: int, dead: frozenset[str] = frozenset()) -> None:
        self._port = port
        self._dead = dead
        self._system = httpcore.SyncBackend()
        self.connected: list[tuple[str, int]] = []

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        self.connected.append((host, port))
        if host in self._dead:
            raise httpcore.ConnectError("unreachable")
        return self._system.connect_tcp("127.0.0.1", self._port, timeout)


def client(server: HostileServer, limits: HttpLimits = QUICK) -> BoundedHttp:
    surroundings = Surroundings(sleep=lambda seconds: None)
    return BoundedHttp(limits, AllowedHosts.parse(f"{server.host},archive.org"), surroundings)


def failure(http: BoundedHttp, url: str, seconds: float = 20) -> HarmonyError:
    with pytest.raises(HarmonyError) as refused:
        http.get(url, Deadline.after(seconds))
    return refused.value


def answered(behaviour: Behaviour, limits: HttpLimits = QUICK) -> HarmonyError:
    with hostile_server({"/": behaviour}) as server:
        return failure(client(server, limits), server.url("/"))


@pytest.fixture(scope="module")
def hostile() -> Iterator[HostileServer]:
    with hostile_server({path: behaviour for path, (_, behaviour) in HOSTILE.items()}) as server:
        yield server


# What ends, and how


@pytest.mark.parametrize("path", HOSTILE)
def test_every_hostile_answer_ends_in_time_with_its_reason(
    hostile: HostileServer, path: str
) -> None:
    began = time.monotonic()
    error = failure(client(hostile), hostile.url(path))
    assert error.reason in HOSTILE[path][0].split()
    assert time.monotonic() - began < QUICK.deadline_seconds + 0.5
    assert error.details["url"]
    assert "secret" not in error.message + str(error.details)


MEASURE = """
import json, sys, time
from harmony_pipelines.clients.addresses import AllowedHosts
from harmony_pipelines.clients.bounded_http import BoundedHttp, HttpLimits
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines_tests.clients.peak_memory import peak_mib
host, path = sys.argv[1:]
http = BoundedHttp(HttpLimits(deadline_seconds=1), AllowedHosts.parse(host + ",archive.org"))
before, began = peak_mib(), time.monotonic()
try:
    http.get(f"http://{host}{path}", Deadline.after(60))
    reason = "none"
except HarmonyError as error:
    reason = str(error.reason)
seconds = time.monotonic() - began
print(json.dumps({"reason": reason, "seconds": seconds, "growth": peak_mib() - before}))
"""


@pytest.mark.slow
@pytest.mark.parametrize("path", HOSTILE)
def test_no_hostile_answer_takes_more_than_its_time_and_memory(
    hostile: HostileServer, path: str
) -> None:
    command = [sys.executable, "-c", MEASURE, hostile.host, path]
    run = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True, timeout=30)
    measured = json.loads(run.stdout)
    reason, seconds, growth = (measured[name] for name in ("reason", "seconds", "growth"))
    assert reason in HOSTILE[path][0].split()
    assert seconds < 1.5
    assert growth < 64
    print(f"| {path} | {reason} | {seconds:.2f} s | {growth:.1f} MiB |")  # `-s -n 0` shows it


def test_the_callers_deadline_counts_if_it_is_sooner(hostile: HostileServer) -> None:
    began = time.monotonic()
    error = failure(client(hostile, HttpLimits()), hostile.url("/drip-body"), seconds=0.2)
    assert error.code is ErrorCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 0.7


def test_a_server_that_falls_silent_ends_at_the_read_limit(hostile: HostileServer) -> None:
    limits = HttpLimits(read_seconds=0.2)
    error = failure(client(hostile, limits), hostile.url("/silent"))
    assert (error.code, error.reason) == (ErrorCode.DEADLINE_EXCEEDED, Reason.TIMEOUT)


def test_bytes_count_over_all_hops() -> None:
    def first(connection: Connection) -> None:
        connection.send(b"HTTP/1.1 302 Found\r\nX: " + b"x" * 60_000 + b"\r\nLocation: /b\r\n\r\n")

    half = answers(b"x" * 60_000)
    with hostile_server({"/a": first, "/b": half, "/c": redirects("/b")}) as server:
        limits = HttpLimits(max_bytes=100_000)
        assert client(server, limits).get(server.url("/c"), Deadline.after(5)).hops == 2
        assert failure(client(server, limits), server.url("/a")).reason is Reason.TOO_MANY_BYTES


def test_a_body_of_nearly_the_limit_is_fetched_whole() -> None:
    body = bytes(range(256)) * 4000
    with hostile_server({"/": answers(body)}) as server:
        fetched = client(server).get(server.url("/?size=big"), Deadline.after(5))
    assert fetched == Fetched(
        body, "image/jpeg", server.url("/?size=big"), 1, fetched.bytes_on_wire
    )
    assert len(body) < fetched.bytes_on_wire < len(body) + 200


def test_a_length_that_is_too_short_gives_only_that_much() -> None:
    with hostile_server({"/": sends(OK + b"Content-Length: 3\r\n\r\n" + bytes(99))}) as server:
        assert client(server).get(server.url("/"), Deadline.after(5)).body == bytes(3)


def test_every_redirect_and_every_retry_is_a_request_of_its_own_pace() -> None:
    begun: list[float] = []

    @contextmanager
    def pace(deadline: Deadline) -> Iterator[None]:
        begun.append(deadline.left())
        yield

    with hostile_server({"/a": redirects("/b"), "/b": failing(1, refuses(500))}) as server:
        client(server, HttpLimits()).get(server.url("/a"), Deadline.after(20), pace)
    assert server.paths == ["/a", "/b"] * 2
    assert len(begun) == 4


def test_redirects_are_followed_to_the_last_one_allowed() -> None:
    chain = {f"/{number}": redirects(f"{number + 1}?q=1") for number in range(3)}
    with hostile_server({**chain, "/3": answers(b"here")}) as server:
        fetched = client(server).get(server.url("/0"), Deadline.after(5))
    assert (fetched.body, fetched.hops, fetched.url) == (b"here", 4, server.url("/3?q=1"))


def test_the_request_declines_compression_and_carries_no_credentials(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password secret\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with hostile_server({"/": answers(b"x")}) as server:
        client(server).get(server.url("/"), Deadline.after(5))
    assert server.requests == [
        (
            "/",
            {
                "host": server.host,
                "user-agent": "harmony-pipelines",
                "accept": "*/*",
                "accept-encoding": "identity",
                "connection": "close",
            },
        )
    ]


# What the server says


@pytest.mark.parametrize(
    ("status", "headers", "code", "reason"),
    [
        (404, b"", ErrorCode.NOT_FOUND, Reason.HTTP_NOT_FOUND),
        (410, b"", ErrorCode.NOT_FOUND, Reason.HTTP_NOT_FOUND),
        (401, b"", ErrorCode.AUTH_REQUIRED, Reason.FORBIDDEN),
        (403, b"", ErrorCode.AUTH_REQUIRED, Reason.FORBIDDEN),
        (429, b"", ErrorCode.RATE_LIMITED, Reason.RATE_LIMIT),
        (503, b"Retry-After: 5\r\n", ErrorCode.RATE_LIMITED, Reason.RATE_LIMIT),
        (503, b"", ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR),
        (500, b"", ErrorCode.DEPENDENCY_ERROR, Reason.SERVER_ERROR),
        (206, b"", ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER),
        (400, b"", ErrorCode.DEPENDENCY_ERROR, Reason.BAD_ANSWER),
    ],
)
def test_a_status_is_told_in_the_vocabulary(
    status: int, headers: bytes, code: ErrorCode, reason: Reason
) -> None:
    error = answered(refuses(status, headers))
    assert (error.code, error.reason, error.details["status"]) == (code, reason, status)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("999999999", 86400.0), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0)]
    + [(odd, None) for odd in ("soon", "-5", "²", "9" * 5000, "Wed, 99 Oct 2015 99:28:00 GMT")],
)
def test_a_request_for_patience_carries_its_seconds(header: str, seconds: float | None) -> None:
    error = answered(refuses(429, f"Retry-After: {header}\r\n".encode("latin-1")))
    assert error.details.get("retry_after_s") == seconds


def test_errors_name_host_and_url_without_query() -> None:
    with hostile_server({}) as server:
        error = failure(client(server), server.url("/cover.jpg?token=secret#secret"))
    assert (error.details["host"], error.details["url"]) == ("127.0.0.1", server.url("/cover.jpg"))
    assert "secret" not in error.message


# Retries


def failing(times: int, behaviour: Behaviour) -> Behaviour:
    left = iter(range(times))
    return lambda connection: (
        behaviour(connection) if next(left, None) is not None else answers(b"at last")(connection)
    )


def test_a_server_that_fails_twice_is_asked_a_third_time() -> None:
    pauses: list[float] = []
    with hostile_server({"/": failing(2, refuses(502))}) as server:
        surroundings = Surroundings(sleep=pauses.append)
        http = BoundedHttp(hosts=AllowedHosts.parse(server.host), surroundings=surroundings)
        assert http.get(server.url("/"), Deadline.after(20)).body == b"at last"
    first, second = pauses
    assert 0.25 <= first <= 0.5
    assert 1 <= second <= 2


def test_a_server_that_keeps_failing_is_asked_three_times() -> None:
    with hostile_server({"/": refuses(500)}) as server:
        http = client(server, HttpLimits())
        assert failure(http, server.url("/")).reason is Reason.SERVER_ERROR
    assert server.paths == ["/"] * 3


def test_no_retry_is_begun_that_the_deadline_would_cut() -> None:
    with hostile_server({"/": refuses(500)}) as server:
        limits = HttpLimits(deadline_seconds=0.2)
        assert failure(client(server, limits), server.url("/")).reason is Reason.SERVER_ERROR
    assert server.paths == ["/"]


def test_a_missing_picture_is_asked_for_once() -> None:
    with hostile_server({}) as server:
        failure(client(server, HttpLimits()), server.url("/"))
    assert server.paths == ["/"]


def test_nobody_listening_is_a_failed_connection() -> None:
    with hostile_server({}) as server:
        pass
    error = failure(client(server), server.url("/"))
    assert (error.code, error.reason) == (ErrorCode.DEPENDENCY_ERROR, Reason.CONNECTION_FAILED)


# Where it may go


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://archive.org/x", Reason.URL_NOT_ALLOWED),
        ("https://archive.org:444/x", Reason.URL_NOT_ALLOWED),
        ("https://archive.org:0/x", Reason.URL_NOT_ALLOWED),
        ("ftp://archive.org/x", Reason.URL_NOT_ALLOWED),
        ("https://user@archive.org/x", Reason.URL_NOT_ALLOWED),
        ("https://user:secret@archive.org/x", Reason.URL_NOT_ALLOWED),
        ("file:///etc/passwd", Reason.URL_NOT_ALLOWED),
        ("https:///x", Reason.URL_NOT_ALLOWED),
        ("https://archive.org/" + "x" * 5000, Reason.URL_NOT_ALLOWED),
        ("https://archive.org/\0", Reason.URL_NOT_ALLOWED),
        ("https://[::1", Reason.URL_NOT_ALLOWED),
        ("", Reason.URL_NOT_ALLOWED),
        ("cover.jpg", Reason.URL_NOT_ALLOWED),
        ("https://example.org/x", Reason.HOST_NOT_ALLOWED),
        ("https://archive.org.example.org/x", Reason.HOST_NOT_ALLOWED),
        ("https://archive.org\uff0eexample.org/x", Reason.HOST_NOT_ALLOWED),
        ("https://127.0.0.1/x", Reason.HOST_NOT_ALLOWED),
    ],
)
def test_a_url_that_is_not_allowed_asks_nobody(url: str, reason: Reason) -> None:
    network = Detour(1)
    asked: list[str] = []
    surroundings = Surroundings(lambda host, port: asked.append(host) or [PUBLIC], network)
    error = failure(BoundedHttp(surroundings=surroundings), url)
    assert (error.code, error.reason) == (ErrorCode.BLOCKED_HOST, reason)
    assert "secret" not in error.message + str(error.details)
    assert (asked, network.connected) == ([], [])


NOT_PUBLIC = """
    127.0.0.1 127.1 0x7f000001 2130706433 localhost 169.254.169.254 100.64.0.1 0.0.0.0
    [::1] [::ffff:127.0.0.1] [64:ff9b::7f00:1] [2002:7f00:1::]
"""


@pytest.mark.parametrize(
    "host",
    NOT_PUBLIC.split(),
)
def test_an_address_that_is_not_public_is_not_connected_to(host: str) -> None:
    network = Detour(1)
    hosts = AllowedHosts(frozenset({host.strip("[]")}))
    http = BoundedHttp(hosts=hosts, surroundings=Surroundings(network=network))
    error = failure(http, f"https://{host}/latest/meta-data")
    assert (error.code, error.reason) == (ErrorCode.BLOCKED_HOST, Reason.ADDRESS_NOT_PUBLIC)
    assert error.details["url"] == f"https://{host}/latest/meta-data"
    assert network.connected == []


def test_one_private_address_among_public_ones_blocks_the_host() -> None:
    network = Detour(1)
    surroundings = Surroundings(lambda host, port: [PUBLIC, "10.0.0.1"], network)
    error = failure(BoundedHttp(surroundings=surroundings), "https://archive.org/x")
    assert error.reason is Reason.ADDRESS_NOT_PUBLIC
    assert network.connected == []


def test_an_exception_holds_for_its_own_port_only() -> None:
    with hostile_server({"/": answers(b"inside")}) as inner:
        target = inner.url("/")
        with hostile_server({"/": redirects(target)}) as outer:
            error = failure(client(outer), outer.url("/"))
    assert error.reason is Reason.URL_NOT_ALLOWED
    assert inner.requests == []


def test_a_look_up_that_hangs_ends_at_the_deadline(hostile: HostileServer) -> None:
    def hanging(host: str, port: int) -> Sequence[str]:
        time.sleep(3)
        return [PUBLIC]

    http = BoundedHttp(QUICK, surroundings=Surroundings(hanging, Detour(hostile.port)))
    began = time.monotonic()
    assert failure(http, "https://archive.org/x").code is ErrorCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < QUICK.deadline_seconds + 0.5


# Over TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("needs the openssl command to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    key, made = folder / "key.pem", folder / "certificate.pem"
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=test", "-keyout", key, "-out", made]
    command += ["-addext", "subjectAltName=DNS:archive.org,DNS:ia800.us.archive.org"]
    subprocess.run(command, check=True, capture_output=True, timeout=30)
    return made, key


@pytest.fixture(scope="module")
def server_side(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


@pytest.fixture(scope="module")
def trust(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=str(certificate[0]))


def no_sleep(seconds: float) -> None: ...


def test_the_checked_address_is_the_connected_one_and_the_name_stays(
    server_side: ssl.SSLContext, trust: ssl.SSLContext
) -> None:
    rebinding = iter([[PUBLIC], ["127.0.0.1"]])
    with hostile_server({"/x": answers(b"cover")}, server_side) as server:
        network = Detour(server.port)
        surroundings = Surroundings(lambda host, port: next(rebinding), network, trust)
        http = BoundedHttp(surroundings=surroundings)
        assert http.get("https://archive.org/x", Deadline.after(5)).body == b"cover"
        again = failure(http, "https://archive.org/x")
    assert network.connected == [(PUBLIC, 443)]
    assert server.requests[0][1]["host"] == "archive.org"
    assert again.reason is Reason.ADDRESS_NOT_PUBLIC


NOT_FOR_A_HOP = """
    192.168.1.1 127.0.0.1 169.254.169.254 100.64.0.1 224.0.0.1 0.0.0.0
    ::1 fe80::1%1 fd00::1 ::ffff:10.0.0.1 64:ff9b::a00:1 2002:a00:1::
"""


@pytest.mark.parametrize("address", NOT_FOR_A_HOP.split())
def test_every_hop_is_looked_up_and_checked_by_itself(
    server_side: ssl.SSLContext, trust: ssl.SSLContext, address: str
) -> None:
    addresses = {"archive.org": [PUBLIC], "ia800.us.archive.org": [address]}
    with hostile_server({"/x": redirects("//ia800.us.archive.org/y")}, server_side) as server:
        network = Detour(server.port)
        surroundings = Surroundings(lambda host, port: addresses[host], network, trust)
        error = failure(BoundedHttp(surroundings=surroundings), "https://archive.org/x")
    assert error.reason is Reason.ADDRESS_NOT_PUBLIC
    assert error.details["host"] == "ia800.us.archive.org"
    assert network.connected == [(PUBLIC, 443)]


def test_a_dead_address_family_leaves_tries_for_the_other(
    server_side: ssl.SSLContext, trust: ssl.SSLContext
) -> None:
    dead = [f"2606:4700::{number}" for number in range(1, 6)]
    with hostile_server({"/x": answers(b"cover")}, server_side) as server:
        network = Detour(server.port, frozenset(dead))
        surroundings = Surroundings(lambda host, port: [*dead, PUBLIC], network, trust)
        BoundedHttp(surroundings=surroundings).get("https://archive.org/x", Deadline.after(5))
    assert network.connected == [(dead[0], 443), (PUBLIC, 443)]


@pytest.mark.parametrize("host", ["archive.org", "coverartarchive.org"])
def test_a_certificate_that_is_not_trusted_or_not_the_hosts_is_refused(
    server_side: ssl.SSLContext, trust: ssl.SSLContext, host: str
) -> None:
    context = None if host == "archive.org" else trust
    with hostile_server({"/x": answers(b"cover")}, server_side) as server:
        surroundings = Surroundings(
            lambda host, port: [PUBLIC], Detour(server.port), context, no_sleep
        )
        error = failure(BoundedHttp(surroundings=surroundings), f"https://{host}/x")
    assert error.reason is Reason.CONNECTION_FAILED
    assert "certificate" in error.message.lower()
    assert server.requests == []


def test_a_tls_handshake_that_never_ends_is_cut(hostile: HostileServer) -> None:
    surroundings = Surroundings(lambda host, port: [PUBLIC], Detour(hostile.port))
    began = time.monotonic()
    failure(BoundedHttp(QUICK, surroundings=surroundings), "https://archive.org/x")
    assert time.monotonic() - began < QUICK.deadline_seconds + 0.5


# Anything at all

WILD = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
def said() -> list[bytes]:
    return []


@pytest.fixture(scope="module")
def parrot(said: list[bytes]) -> Iterator[HostileServer]:
    with hostile_server({"/": lambda connection: connection.send(said[-1])}) as server:
        yield server


@WILD
@given(
    st.one_of(
        st.binary(max_size=200),
        st.lists(
            st.sampled_from(
                [
                    b"HTTP/1.1 200 OK\r\n",
                    b"HTTP/1.1 302 \r\n",
                    b"HTTP/1.1 100 \r\n",
                    b"Content-Length: 3\r\n",
                    b"Content-Length: x\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Location: /x\r\n",
                    b"X: \x80\xff\r\n",
                    b"\r\n",
                    b"abc",
                    b"3\r\nabc\r\n0\r\n",
                ]
            ),
            max_size=8,
        ).map(b"".join),
    )
)
def test_whatever_a_server_sends_is_a_body_or_a_harmony_error(
    parrot: HostileServer, said: list[bytes], data: bytes
) -> None:
    said.append(data)
    try:
        client(parrot).get(parrot.url("/"), Deadline.after(5))
    except HarmonyError as error:
        assert error.details["url"]


@WILD
@given(st.text(st.characters(max_codepoint=255, exclude_characters="\r\n\0"), max_size=60))
def test_wherever_a_server_redirects_it_ends_in_a_harmony_error(
    parrot: HostileServer, said: list[bytes], location: str
) -> None:
    head = "HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
    said.append(f"{head}{location}\r\n\r\n".encode("latin-1"))
    failure(client(parrot), parrot.url("/"))


@given(st.text(max_size=60))
def test_whatever_is_given_as_a_url_is_refused_with_a_harmony_error(url: str) -> None:
    surroundings = Surroundings(lambda host, port: [], Detour(1))
    failure(BoundedHttp(surroundings=surroundings), url)
