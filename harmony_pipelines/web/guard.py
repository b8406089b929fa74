"""What stands before Dagster's UI, which has no login: only its own pages may change anything."""

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

from graphql import GraphQLSyntaxError, OperationDefinitionNode, OperationType, parse
from starlette.datastructures import Headers, MutableHeaders, QueryParams
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ANY_ADDRESS = ("0.0.0.0", "::")  # what a server listens on, never what a browser calls
_DEFAULT_PORTS = ("80", "443")
_READING = ("GET", "HEAD")
_OWN_SITES = {"same-origin", "none"}
_MOST_TOKENS = 10_000
_FRAMED_BY_NOBODY_ELSE = "SAMEORIGIN"


def allowed_authorities(host: str, port: int, more: Iterable[str]) -> frozenset[str]:
    """What the Host header may say: our names with our port, and what the user allows.

    A name of the user's without a port also stands for the default ports, as behind a proxy.
    """
    ours = {_in_url(name) for name in (*_LOOPBACK, host) if _in_url(name) not in _never_called()}
    allowed = {f"{name}:{port}" for name in ours}
    if str(port) in _DEFAULT_PORTS:
        allowed |= ours
    for item in more:
        name, colon, own_port = item.rpartition(":")
        if colon and own_port.isdecimal() and not own_port.endswith("]"):
            allowed.add(f"{_in_url(name)}:{own_port}")
        else:
            allowed |= {_in_url(item), f"{_in_url(item)}:{port}"}
    return frozenset(allowed)


def _in_url(name: str) -> str:
    bare = name.lower().strip("[]")
    try:
        address = ipaddress.ip_address(bare)
    except ValueError:
        return bare
    return f"[{address}]" if address.version == 6 else str(address)


def _never_called() -> set[str]:
    return {_in_url(name) for name in _ANY_ADDRESS}


@dataclass(frozen=True)
class WebGuard:
    """An ASGI application in front of another one: refuses what another web page could send.

    A browser sends `Host` as the page named it, and `Origin` or `Sec-Fetch-Site` with all that a
    foreign page can make it send; programs such as curl send neither of the latter.
    """

    app: ASGIApp
    allowed: frozenset[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with the reason why not."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
        except HarmonyError as error:
            refused = JSONResponse({"error": error.as_dict()}, status_code=403)
            await refused(scope, receive, send)
            return

        async def framed_by_nobody_else(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Frame-Options"] = _FRAMED_BY_NOBODY_ELSE
            await send(message)

        await self.app(scope, receive, framed_by_nobody_else)

    def _check(self, scope: Scope) -> None:
        headers = Headers(scope=scope)
        method = scope.get("method", "GET")
        authority = self._authority(headers)
        _check_origin(headers, authority)
        _check_site(headers, is_link=scope["type"] == "http" and method in _READING)
        if method in _READING and scope["path"].rstrip("/").endswith("graphql"):
            for query in QueryParams(scope["query_string"]).getlist("query"):
                _check_only_asks(query)

    def _authority(self, headers: Headers) -> str:
        named = headers.getlist("host")
        authority = named[0].lower() if len(named) == 1 else ""
        if authority in self.allowed:
            return authority
        raise HarmonyError(
            ErrorCode.BLOCKED_HOST,
            Reason.HOST_NOT_ALLOWED,
            f"This UI is not called {', '.join(named) or 'by no name'!r}. If it is yours, add the "
            "name to HARMONY_UI_ALLOWED_HOSTS and start `make dev` again.",
        )


def _check_origin(headers: Headers, authority: str) -> None:
    origins = headers.getlist("origin")
    ours = {f"http://{authority}", f"https://{authority}"}
    if any(origin.lower() not in ours for origin in origins):
        raise _foreign(", ".join(origins))


def _check_site(headers: Headers, *, is_link: bool) -> None:
    """Another page may link to ours; it may neither fetch nor frame nor send to it."""
    if set(headers.getlist("sec-fetch-site")) <= _OWN_SITES:
        return
    seen = (headers.getlist("sec-fetch-mode"), headers.getlist("sec-fetch-dest"))
    if not (is_link and seen == (["navigate"], ["document"])):
        raise _foreign("another page")


def _foreign(origin: str) -> HarmonyError:
    return HarmonyError(
        ErrorCode.BLOCKED_HOST,
        Reason.ORIGIN_NOT_ALLOWED,
        f"Only the UI's own pages may do this, not {origin!r}. A proxy in front of it must pass "
        "the Host header on as the browser sent it.",
    )


def _check_only_asks(query: str) -> None:
    try:
        document = parse(query, no_location=True, max_tokens=_MOST_TOKENS)
    except (GraphQLSyntaxError, RecursionError) as error:
        raise _change_by_get() from error
    for definition in document.definitions:
        is_operation = isinstance(definition, OperationDefinitionNode)
        if is_operation and definition.operation is not OperationType.QUERY:
            raise _change_by_get()


def _change_by_get() -> HarmonyError:
    return HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.CHANGE_BY_GET,
        "A GET request may only carry a GraphQL query that parses; send changes by POST.",
    )
