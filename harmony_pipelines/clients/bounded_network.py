"""The network below one GET: public addresses only, and no byte or second past its allowance.

Imports httpcore: import this module where it is needed, not where definitions are loaded.
"""

import ssl
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain, islice, zip_longest
from typing import Any

import httpcore

from harmony_pipelines.clients.addresses import is_public
from harmony_pipelines.clients.resolver import Resolver
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

_ADDRESSES_TRIED = 4


@dataclass
class Allowance:
    """What one GET may take over all its hops and tries."""

    deadline: Deadline
    connect_seconds: float
    read_seconds: float
    max_bytes: int
    bytes_read: int = field(default=0, init=False)

    def count(self, taken: int) -> None:
        """Add what was read, and fail once it is too much."""
        self.bytes_read += taken
        self.refuse(self.bytes_read)

    def refuse(self, size: int) -> None:
        """Fail if `size` bytes are too much."""
        if size > self.max_bytes:
            raise HarmonyError(
                ErrorCode.PAYLOAD_TOO_LARGE,
                Reason.TOO_MANY_BYTES,
                f"The answer is larger than the {self.max_bytes} bytes allowed. "
                "HARMONY_ARTWORK_MAX_BYTES sets the limit.",
                max_bytes=self.max_bytes,
            )


class BoundedNetwork(httpcore.NetworkBackend):
    """Connects to the very addresses it has checked and holds every operation to the allowance.

    The time limits that httpcore passes are per operation and unused: a server that sends a byte
    now and then never meets one, and httpcore reads headers where a caller cannot look at a clock.
    """

    def __init__(
        self,
        allowance: Allowance,
        resolver: Resolver,
        below: httpcore.NetworkBackend,
        any_address: Callable[[str, int], bool],
    ) -> None:
        self._allowance = allowance
        self._resolver = resolver
        self._below = below
        self._any_address = any_address

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Resolve once, refuse the host if any address is not public, connect to one of them."""
        allowed = self._allowance
        addresses = self._resolver.addresses(host, port, allowed.connect_seconds, allowed.deadline)
        if not self._any_address(host, port):
            _refuse_non_public(host, addresses)
        failure: httpcore.ConnectError | httpcore.ConnectTimeout | None = None
        for address in islice(_alternating(addresses), _ADDRESSES_TRIED):
            limit = allowed.deadline.limit(allowed.connect_seconds)
            try:
                stream = self._below.connect_tcp(
                    address, port, limit, local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _BoundedStream(stream, allowed)
        raise failure or httpcore.ConnectError("no address")


class _BoundedStream(httpcore.NetworkStream):
    def __init__(self, below: httpcore.NetworkStream, allowance: Allowance) -> None:
        self._below = below
        self._allowance = allowance

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        allowed = self._allowance
        one_too_many = allowed.max_bytes - allowed.bytes_read + 1
        limit = allowed.deadline.limit(allowed.read_seconds)
        data = self._below.read(min(max_bytes, one_too_many), limit)
        allowed.count(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        allowed = self._allowance
        self._below.write(buffer, allowed.deadline.limit(allowed.read_seconds))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        allowed = self._allowance
        limit = allowed.deadline.limit(allowed.connect_seconds)
        return _BoundedStream(self._below.start_tls(ssl_context, server_hostname, limit), allowed)

    def close(self) -> None:
        self._below.close()

    def get_extra_info(self, info: str) -> Any:
        return self._below.get_extra_info(info)


def _refuse_non_public(host: str, addresses: Sequence[str]) -> None:
    refused = [address for address in addresses if not is_public(address)]
    if refused:
        raise HarmonyError(
            ErrorCode.BLOCKED_HOST,
            Reason.ADDRESS_NOT_PUBLIC,
            f"{host} leads to {refused[0]}, which is not a public address. If it is a server of "
            "yours, list it as host:port in HARMONY_ARTWORK_HOSTS.",
            host=host,
            address=refused[0],
        )


def _alternating(addresses: Sequence[str]) -> Iterable[str]:
    """The addresses with their families in turn, so that a dead IPv6 route does not take all tries.

    The resolver's preference decides which family comes first.
    """
    leads = ":" in addresses[0]
    first = [address for address in addresses if (":" in address) == leads]
    other = [address for address in addresses if (":" in address) != leads]
    return filter(None, chain.from_iterable(zip_longest(first, other)))
