"""Artists, albums, tracks and pictures of the invented catalogue, and their made-up ids."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

ALBUM_GROUPS = ("album", "single", "compilation", "appears_on")
_BASE62 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


@dataclass(frozen=True)
class Image:
    """One size of a picture; `image_id` is the last part of its address."""

    image_id: str
    width: int
    height: int


@dataclass(frozen=True)
class Picture:
    """What to answer for an image id: a cover to draw, or bytes as they are."""

    title: str = ""
    byline: str = ""
    width: int = 640
    height: int = 640
    image_format: str = "JPEG"
    data: bytes | None = None


@dataclass
class Artist:
    """An artist as Spotify has it; portraits left out are invented."""

    artist_id: str
    name: str
    genres: Sequence[str] = ()
    popularity: int = 40
    followers: int = 1000
    images: list[Image] | None = None


@dataclass
class Track:
    """A track of one album; what is left out is invented, no ISRC at all is None."""

    name: str
    duration_ms: int | None = None
    isrc: str | None = ""
    explicit: bool = False
    artist_ids: Sequence[str] = ()
    disc_number: int = 1
    track_number: int = 0
    popularity: int = 20
    track_id: str = ""


@dataclass
class Album:
    """An album; `groups` says how it relates to each artist who lists it.

    What is left out is invented; no barcode at all is None, no cover an empty list.
    """

    album_id: str
    name: str
    artist_ids: Sequence[str]
    album_type: str = "album"
    release_date: str = "2020-01-01"
    tracks: list[Track] = field(default_factory=list)
    groups: dict[str, str] = field(default_factory=dict)
    upc: str | None = ""
    label: str = "Kittiwake Recordings"
    popularity: int = 20
    images: list[Image] | None = None
    image_format: str = "JPEG"
    copyrights: Sequence[Mapping[str, str]] | None = None
    markets: Sequence[str] | None = None
    total_tracks: int | None = None
    mb_albumid: str = ""
    mb_releasegroupid: str = ""

    @property
    def release_date_precision(self) -> str:
        """`year`, `month` or `day`, by the length of the date."""
        return {7: "month", 10: "day"}.get(len(self.release_date), "year")


def spotify_id(kind: str, seed: str) -> str:
    """A 22-character base62 id, the same for the same kind and seed."""
    number = int.from_bytes(hashlib.sha256(f"{kind}:{seed}".encode()).digest()[:16], "big")
    digits = ""
    for _ in range(22):
        number, digit = divmod(number, 62)
        digits = _BASE62[digit] + digits
    return digits


def picture_seed(owner_id: str) -> str:
    """What an artist's or album's picture is drawn from; its image ids end with it."""
    return hashlib.sha256(owner_id.encode()).hexdigest()[:24]


def isrc_of(artist: str, title: str) -> str:
    """The invented ISRC of a recording: equal for the same artist's equal titles."""
    return f"XXHRM{number_of(f'isrc:{artist}:{title}', 10_000_000):07d}"


def upc_of(seed: str) -> str:
    """An invented barcode of thirteen digits."""
    return f"4{number_of(f'upc:{seed}', 10**12):012d}"


def number_of(seed: str, below: int) -> int:
    """A number from 0 up to but not `below`, the same for the same seed."""
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "big") % below
