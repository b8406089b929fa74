"""How the text of a setting becomes a value, and how its valid range is said to the user."""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

T = TypeVar("T")


@dataclass(frozen=True)
class Kind(Generic[T]):
    """What a setting may hold: `read` gives its value or raises ValueError."""

    read: Callable[[str], T]
    must_be: str


def whole(low: int, high: int) -> Kind[int]:
    """A whole number within a range."""
    return Kind(
        lambda text: _within(_whole_number(text), low, high),
        f"a whole number from {low} to {high}",
    )


def decimal(low: float, high: float) -> Kind[float]:
    """A number within a range, fractions allowed."""
    return Kind(lambda text: _within(float(text), low, high), f"a number from {low:g} to {high:g}")


_SIZE = re.compile(r"(\d{1,16})\s*(B|[KMGT]B|[KMGT]iB)?", re.ASCII | re.IGNORECASE)
_UNITS = {"": 1, "b": 1} | {
    f"{letter}{suffix}": base**power
    for power, letter in enumerate("kmgt", start=1)
    for suffix, base in (("b", 1000), ("ib", 1024))
}


def size(low: str, high: str) -> Kind[int]:
    """A number of bytes, plain or with a unit."""

    def read(text: str) -> int:
        return _within(_bytes(text), _bytes(low), _bytes(high))

    return Kind(read, f"a size from {low} to {high}, for example 10MiB or 20GiB")


def _bytes(text: str) -> int:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


_SWITCH = {"on": True, "true": True, "1": True, "yes": True} | {
    "off": False,
    "false": False,
    "0": False,
    "no": False,
}


def switch() -> Kind[bool]:
    """On or off."""
    return Kind(lambda text: _one_of(_SWITCH, text.lower()), "on or off")


def choice(*words: str) -> Kind[str]:
    """One of a few words."""
    known = {word: word for word in words}
    return Kind(lambda text: _one_of(known, text.lower()), f"one of {', '.join(words)}")


def choices(*words: str) -> Kind[tuple[str, ...]]:
    """Some of a few words, each once, in the order given."""
    known = {word: word for word in words}
    return Kind(
        lambda text: _listed(text, lambda item: _one_of(known, item.lower())),
        f"a comma-separated list of {', '.join(words)}",
    )


def plain_text() -> Kind[str]:
    """Any printable text."""

    def read(text: str) -> str:
        if not text.isprintable():
            raise ValueError(text)
        return text

    return Kind(read, "printable text")


def path_map() -> Kind[tuple[tuple[Path, Path], ...]]:
    """Folders as the library knows them, and where they are on this machine."""

    def pair(item: str) -> tuple[Path, Path]:
        stored, here = (Path(side.strip()) for side in item.split("="))
        if not (stored.is_absolute() and here.is_absolute()):
            raise ValueError(item)
        return stored, here

    def read(text: str) -> tuple[tuple[Path, Path], ...]:
        pairs = _listed(text, pair)
        if len({stored for stored, _ in pairs}) < len(pairs):
            raise ValueError(text)
        return pairs

    return Kind(read, "comma-separated pairs of absolute paths, for example /music=/mnt/nas/music")


def web_url() -> Kind[str]:
    """An http or https address of a server, without credentials."""

    def read(text: str) -> str:
        parts = _url_parts(text)
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError(text)
        return text.rstrip("/")

    return Kind(read, "an http:// or https:// address with a host and without credentials")


def secret_url() -> Kind[str]:
    """An http or https address that may carry a token."""

    def read(text: str) -> str:
        _url_parts(text)
        return text

    return Kind(read, "an http:// or https:// address with a host")


_BETWEEN_SERVICES = re.compile(r"[,\s]+(?=[a-z][a-z0-9+.-]*://)", re.IGNORECASE)
_SERVICE = re.compile(r"[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)


def service_urls() -> Kind[tuple[str, ...]]:
    """Addresses of notification services; commas within one of them are its own."""

    def read(text: str) -> tuple[str, ...]:
        urls = _BETWEEN_SERVICES.split(text)
        if not all(_SERVICE.fullmatch(url) for url in urls):
            raise ValueError(text)
        return tuple(url.rstrip(",") for url in urls)

    return Kind(read, "comma-separated Apprise addresses such as ntfy://host/topic")


_LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_HOST = re.compile(
    rf"(?P<host>{_LABEL}(\.{_LABEL})*|\[[0-9a-f:]+\])(:(?P<port>[1-9]\d{{0,4}}))?", re.ASCII
)
_ADDRESS = re.compile(r"[0-9a-f]*:[0-9a-f:]+", re.ASCII)


def host() -> Kind[str]:
    """A host name or address without a port."""

    def read(text: str) -> str:
        found = _HOST.fullmatch(text.lower())
        if not (found and found["port"] is None) and not _ADDRESS.fullmatch(text.lower()):
            raise ValueError(text)
        return text.lower()

    return Kind(read, "a host name or an IP address")


def hosts() -> Kind[tuple[str, ...]]:
    """Host names, each perhaps with a port."""

    def item(text: str) -> str:
        found = _HOST.fullmatch(text.lower())
        if found is None or int(found["port"] or 1) > 65535:
            raise ValueError(text)
        return text.lower()

    return Kind(
        lambda text: _listed(text, item),
        "comma-separated host names or host:port, without https://",
    )


# XK is not ISO's, but Spotify sells there.
_COUNTRIES = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR
BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ
EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW
GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY
KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV
MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY
QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG
TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA
ZM ZW
"""


def country() -> Kind[str]:
    """A country, in any case."""
    known = frozenset(_COUNTRIES.split())

    def read(text: str) -> str:
        if text.upper() not in known:
            raise ValueError(text)
        return text.upper()

    return Kind(read, "a two-letter ISO 3166-1 country code such as DE, GB or US")


@dataclass(frozen=True)
class _CronField:
    low: int
    high: int
    names: str = ""

    def values(self, text: str) -> set[int]:
        return {value for part in text.split(",") for value in self._span(part)}

    def _span(self, part: str) -> range:
        span, _, step = part.partition("/")
        first, _, last = span.partition("-")
        if "/" in part and span != "*" and "-" not in span:
            raise ValueError(part)  # 5/10: cron programs do not agree on what that is
        low, high = (self.low, self.high) if span == "*" else (self._number(first),) * 2
        high = self._number(last) if "-" in span else high
        every = _within(_whole_number(step), 1, self.high) if "/" in part else 1
        if low > high:
            raise ValueError(part)
        return range(low, high + 1, every)

    def _number(self, text: str) -> int:
        names = self.names.split()
        if text.lower() in names:
            return names.index(text.lower()) + self.low
        return _within(_whole_number(text), self.low, self.high)


_CRON = (
    _CronField(0, 59),
    _CronField(0, 23),
    _CronField(1, 31),
    _CronField(1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
    _CronField(0, 7, "sun mon tue wed thu fri sat"),
)
_LONGEST_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)


def cron() -> Kind[str]:
    """A cron line of five fields that is due on some day."""

    def read(text: str) -> str:
        fields = text.split()
        _, _, days, months, _ = (
            field.values(part) for field, part in zip(_CRON, fields, strict=True)
        )
        if min(days) > max(_LONGEST_MONTH[month - 1] for month in months) and fields[4] == "*":
            raise ValueError(text)
        return " ".join(fields)

    return Kind(read, "a cron line of five fields, for example 12 * * * *")


N = TypeVar("N", int, float)


def _within(number: N, low: float, high: float) -> N:
    if math.isnan(number) or not low <= number <= high:
        raise ValueError(number)
    return number


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"\d{1,18}", text, re.ASCII):
        raise ValueError(text)
    return int(text)


def _one_of(known: dict[str, T], word: str) -> T:
    if word not in known:
        raise ValueError(word)
    return known[word]


def _listed(text: str, read: Callable[[str], T]) -> tuple[T, ...]:
    items = [item.strip() for item in text.split(",")]
    if not any(items):
        raise ValueError(text)
    return tuple(dict.fromkeys(read(item) for item in items if item))


def _url_parts(text: str) -> SplitResult:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"\s", text):
        raise ValueError(text)
    _within(parts.port or 1, 1, 65535)
    return parts
