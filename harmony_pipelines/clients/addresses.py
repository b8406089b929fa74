"""Where a download may go: which hosts are listed, and which addresses are public."""

import ipaddress
import re
from dataclasses import dataclass

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

DEFAULT_HOSTS = "scdn.co,spotifycdn.com,coverartarchive.org,archive.org"
"""Spotify's image networks, the Cover Art Archive and where it keeps its pictures."""

_LABEL = r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")
_NAME_AND_PORT = re.compile(rf"({_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:.]+\]):([0-9]{{1,5}})")

_GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_SPECIAL_IPV6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo among them
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, which carries any IPv4 address
        "3fff::/20",  # documentation
    )
)
_6TO4_RELAYS = ipaddress.IPv4Network("192.88.99.0/24")


def is_public(address: str) -> bool:
    """Whether the address belongs to the public internet and leads nowhere else.

    `ipaddress.is_global` alone is not enough: it is true of multicast and of the ranges that carry
    an IPv4 address inside an IPv6 one (NAT64, 6to4, Teredo), which a gateway may unwrap.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is None:
            return _is_public_ipv6(parsed)
        parsed = parsed.ipv4_mapped
    return parsed.is_global and not (
        parsed.is_multicast or parsed.is_reserved or parsed in _6TO4_RELAYS
    )


def _is_public_ipv6(address: ipaddress.IPv6Address) -> bool:
    return address in _GLOBAL_UNICAST and not any(address in each for each in _SPECIAL_IPV6)


@dataclass(frozen=True)
class AllowedHosts:
    """The hosts that may be asked: `names` with their subdomains, and the user's exceptions.

    An exception is one host and port that may be any address and may speak plain http.
    """

    names: frozenset[str]
    exceptions: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def parse(cls, text: str = DEFAULT_HOSTS) -> "AllowedHosts":
        """The hosts of a comma-separated list of `name` and `host:port`; all faults at once."""
        names: set[str] = set()
        exceptions: set[tuple[str, int]] = set()
        faults: list[str] = []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            plain = entry.lower().rstrip(".")
            found = _NAME_AND_PORT.fullmatch(plain)
            if _NAME.fullmatch(plain):
                names.add(plain)
            elif found and 0 < int(found[2]) < 65536:
                exceptions.add((found[1].strip("[]"), int(found[2])))
            else:
                faults.append(entry)
        if faults or not (names or exceptions):
            raise _not_hosts(faults)
        return cls(frozenset(names), frozenset(exceptions))

    def lists(self, host: str) -> bool:
        """Whether the host, or a domain it lies in, is named."""
        labels = host.split(".")
        return any(".".join(labels[start:]) in self.names for start in range(len(labels)))

    def excepts(self, host: str, port: int) -> bool:
        """Whether exactly this host and port is one of the user's exceptions."""
        return (host, port) in self.exceptions


def _not_hosts(faults: list[str]) -> HarmonyError:
    said = ", ".join(map(repr, faults)) if faults else "an empty list"
    return HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.SETTING,
        f"The allowed hosts may not hold {said}: write names with a dot (archive.org, which allows "
        "its subdomains too) or host:port (nas:8080, [::1]:8080), separated by commas, without "
        "https:// and without paths.",
        faults=faults,
    )
