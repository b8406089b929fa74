import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from harmony_pipelines.web.guard import WebGuard, allowed_authorities

HOST = ("host", "127.0.0.1:3000")
OWN = ("origin", "http://127.0.0.1:3000")
EVIL = ("origin", "http://evil.example")
PATHS = [
    "/",
    "/graphql",
    "/server_info",
    "/report_asset_materialization/spotify_albums",
    "/report_asset_check/spotify_albums",
    "/logs/run/compute_logs/x/err",
    "/download_debug/run",
    "/favicon.png",
    "//graphql",
]
MUTATION = "mutation { launchRun { __typename } }"


async def _here(request: Request) -> PlainTextResponse:
    return PlainTextResponse("through")


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.close()


_APP = Starlette(
    routes=[
        WebSocketRoute("/graphql", _socket),
        Route("/{path:path}", _here, methods=["GET", "POST", "PUT", "DELETE"]),
    ]
)


@dataclass
class _Answer:
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    accepted: bool = False

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.body)["error"]


def _ask(
    *headers: tuple[str, str],
    method: str = "GET",
    path: str = "/",
    query: bytes = b"",
    kind: str = "http",
    more_hosts: tuple[str, ...] = (),
) -> _Answer:
    guard = WebGuard(_APP, allowed_authorities("127.0.0.1", 3000, more_hosts))
    scope: dict[str, Any] = {
        "type": kind,
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query,
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "extensions": {"websocket.http.response": {}},
        "http_version": "1.1",
        "scheme": "http",
        "subprotocols": [],
    }
    if kind == "http":
        scope["method"] = method
    answer = _Answer()

    async def receive() -> dict[str, Any]:
        first = {"type": "http.request", "body": b""}
        return first if kind == "http" else {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        answer.accepted |= message["type"] == "websocket.accept"
        if message["type"].endswith("response.start"):
            answer.status = message["status"]
            answer.headers = {
                name.decode(): value.decode() for name, value in message.get("headers", [])
            }
        answer.body += message.get("body", b"")

    asyncio.run(guard(scope, receive, send))
    return answer


@pytest.mark.parametrize("path", PATHS)
def test_our_own_page_and_curl_get_through(path: str) -> None:
    own_page = (HOST, OWN, ("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors"))
    assert _ask(HOST, path=path).body == b"through"
    assert _ask(HOST, path=path, method="POST").body == b"through"
    assert _ask(*own_page, path=path, method="POST").body == b"through"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:3000", "localhost:3000", "LocalHost:3000", "[::1]:3000"],
)
def test_every_name_of_this_machine_is_allowed_in_any_case(host: str) -> None:
    assert _ask(("host", host)).status == 200
    assert _ask(("host", host), ("origin", f"http://{host}"), method="POST").status == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:3000",
        "127.0.0.1",
        "127.0.0.1:3001",
        "127.0.0.1:03000",
        "127.0.0.1:3000.",
        "localhost.:3000",
        "127.0.0.1.evil.example:3000",
        "evil.example@127.0.0.1:3000",
        "127.0.0.1:3000, evil.example",
        "0.0.0.0:3000",
        "2130706433:3000",
        "[::]:3000",
        "[::ffff:127.0.0.1]:3000",
        "l\xf6calhost:3000",
        "",
    ],
)
def test_a_host_of_another_name_or_port_is_refused_on_every_route(host: str, path: str) -> None:
    refused = _ask(("host", host), path=path)
    assert refused.status == 403
    assert refused.error["code"] == "BLOCKED_HOST"
    assert refused.error["details"]["reason"] == "host_not_allowed"
    assert "HARMONY_UI_ALLOWED_HOSTS" in refused.error["message"]


def test_no_host_two_hosts_and_a_forwarded_host_do_not_help() -> None:
    evil = ("host", "evil.example")
    assert _ask().status == 403
    assert _ask(HOST, evil).status == 403
    assert _ask(HOST, HOST).status == 403
    assert _ask(evil, ("x-forwarded-host", "127.0.0.1:3000")).status == 403
    assert _ask(HOST, ("x-forwarded-host", "evil.example")).status == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "",
        "http://127.0.0.1:3001",
        "http://127.0.0.1",
        "http://localhost:3000",
        "http://127.0.0.1:3000.evil.example",
        "http://127.0.0.1:3000/",
        "file://",
        "127.0.0.1:3000",
    ],
)
def test_a_foreign_origin_is_refused_by_every_method_on_every_route(
    origin: str, path: str, method: str
) -> None:
    refused = _ask(HOST, ("origin", origin), method=method, path=path)
    assert refused.status == 403
    assert refused.error["details"]["reason"] == "origin_not_allowed"


def test_two_origins_are_refused_if_one_is_foreign() -> None:
    assert _ask(HOST, OWN, EVIL, method="POST").status == 403


def test_a_link_from_another_page_works_but_a_frame_a_fetch_an_image_and_a_form_do_not() -> None:
    other = (HOST, ("sec-fetch-site", "cross-site"))
    near = (HOST, ("sec-fetch-site", "same-site"))
    navigate = ("sec-fetch-mode", "navigate")
    link = (navigate, ("sec-fetch-dest", "document"))
    assert _ask(*other, *link).status == 200
    assert _ask(*near, *link).status == 200
    assert _ask(*other, *link, method="POST").status == 403
    assert _ask(*other, navigate, ("sec-fetch-dest", "iframe")).status == 403
    assert _ask(*other, ("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")).status == 403
    assert _ask(*near, ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")).status == 403
    assert _ask(*other).status == 403
    assert _ask(HOST, ("sec-fetch-site", "none"), *link).status == 200


def test_no_other_site_may_frame_the_ui() -> None:
    assert _ask(HOST).headers["x-frame-options"] == "SAMEORIGIN"


@pytest.mark.parametrize("path", ["/graphql", "/graphql/", "//graphql"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "query",
    [
        MUTATION,
        "subscription { capturedLogs { stdout } }",
        "query A { version } mutation B { launchRun { __typename } }",
        "# {\nmutation{launchRun{__typename}}",
        "\ufeffmutation { launchRun { __typename } }",
        "fragment F on M { x } mutation { ...F }",
        "{ unclosed",
        "mutation",
        "",
        "{a" * 5000,
        "{ a " * 20_000,
    ],
)
def test_a_get_that_does_more_than_ask_is_refused(query: str, method: str, path: str) -> None:
    from urllib.parse import urlencode

    sent = urlencode({"query": query, "operationName": "A"}).encode()
    refused = _ask(HOST, method=method, path=path, query=sent)
    assert refused.status == 403
    assert refused.error["details"]["reason"] == "change_by_get"


def test_a_mutation_hidden_behind_a_query_of_the_same_name_is_refused() -> None:
    hidden = b"query=mutation%7Ba%7D"
    assert _ask(HOST, path="/graphql", query=b"query=%7Bversion%7D&" + hidden).status == 403
    assert _ask(HOST, path="/graphql", query=hidden + b"&query=%7Bversion%7D").status == 403


def test_a_query_by_get_and_a_word_in_the_address_of_a_page_get_through() -> None:
    assert _ask(HOST, path="/graphql", query=b"query=%7Bversion%7D").status == 200
    assert _ask(HOST, path="/graphql").status == 200
    assert _ask(HOST, path="/runs", query=b"query=mutation").status == 200


def test_a_websocket_is_accepted_from_our_page_and_refused_from_any_other() -> None:
    own = _ask(HOST, OWN, path="/graphql", kind="websocket")
    foreign = _ask(HOST, EVIL, path="/graphql", kind="websocket")
    other_host = _ask(("host", "evil.example:3000"), path="/graphql", kind="websocket")
    assert own.accepted
    for refused in (foreign, other_host):
        assert not refused.accepted
        assert refused.status == 403
        assert refused.error["code"] == "BLOCKED_HOST"


def test_the_application_still_starts_and_ends() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    async def nothing(*_: Any) -> Any:
        return None

    asyncio.run(WebGuard(app, frozenset())({"type": "lifespan"}, nothing, nothing))
    assert seen == ["lifespan"]


@pytest.mark.parametrize(
    ("item", "host", "allowed"),
    [
        ("music.example", "music.example", True),
        ("music.example", "music.example:3000", True),
        ("music.example", "music.example:8443", False),
        ("music.example", "sub.music.example", False),
        ("music.example:8443", "music.example:8443", True),
        ("music.example:8443", "music.example", False),
        ("[fd00::1]", "[fd00::1]:3000", True),
        ("[fd00::1]:8443", "[fd00::1]:8443", True),
    ],
)
def test_the_users_own_names_are_allowed_as_written(item: str, host: str, allowed: bool) -> None:
    assert (_ask(("host", host), more_hosts=(item,)).status == 200) is allowed


def test_another_server_on_an_allowed_name_is_still_foreign() -> None:
    nas = ("host", "nas:3000")
    assert _ask(nas, ("origin", "http://nas"), method="POST", more_hosts=("nas",)).status == 403
    assert (
        _ask(nas, ("origin", "http://nas:3000"), method="POST", more_hosts=("nas",)).status == 200
    )


def test_the_address_listened_on_is_a_name_but_any_address_is_not() -> None:
    assert "192.168.1.5:3000" in allowed_authorities("192.168.1.5", 3000, ())
    assert "[fd00::1]:3000" in allowed_authorities("fd00:0::1", 3000, ())
    assert not any("0.0.0.0" in name for name in allowed_authorities("0.0.0.0", 3000, ()))
    assert "localhost" in allowed_authorities("127.0.0.1", 80, ())
    assert "localhost" not in allowed_authorities("127.0.0.1", 3000, ())
