"""What names an artist, a recording or a release: Spotify's ids and links, our keys, ISRC, UPC."""

import re
import unicodedata

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

VARIOUS_ARTISTS = "0LyfQWJT6nXafLPZqxe9Of"
"""Spotify's stand-in artist of samplers: its discography is nobody's."""

VARIOUS_ARTISTS_IDS = frozenset({VARIOUS_ARTISTS, "0LyfQWJT6nXafLPZqxke9X"})
"""The stand-in, and another id that goes round for it."""

_ID = re.compile(r"[0-9A-Za-z]{22}")
_URI = re.compile(r"spotify:(?P<kind>[a-z]+):(?P<id>[^:\s]*)", re.IGNORECASE)
_LINK = re.compile(
    r"(?:https?://)?(?:open|play)\.spotify\.com/(?:intl-[a-z-]+/)?(?:embed/)?"
    r"(?P<kind>[a-z]+)(?:/(?P<id>[^/?#\s]*))?.*",
    re.IGNORECASE,
)
_LOOKS_LIKE_SPOTIFY = re.compile(r"spotify:|(?:https?:)?//|[a-z.]*spotify\.com/", re.IGNORECASE)
_KEY = re.compile(r"[0-9a-z-]+-(?P<id>[0-9A-Za-z]{22})")
_ISRC = re.compile(r"[A-Z]{2}[A-Z0-9]{3}[0-9]{7}")
_BETWEEN_SIGNS = re.compile(r"[\s-]")
_UPC_DIGITS = range(8, 15)
_SLUG_LENGTH = 60
_LETTERS = str.maketrans(
    {
        "ß": "ss",
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "\u0131": "i",
        "ħ": "h",
    }
)
"""Letters that Unicode does not decompose into an ASCII one and a mark."""


def artist_id_in(text: str) -> str | None:
    """The artist id that an id, URI or link names; None where the text is a name.

    What is meant as a Spotify reference but names no artist is refused, not searched for.
    """
    text = text.strip()
    found = _URI.fullmatch(text) or _LINK.fullmatch(text)
    if found:
        if found["kind"].lower() != "artist" or not _ID.fullmatch(found["id"] or ""):
            raise _not_an_artist(text)
        return _followable(found["id"])
    if _LOOKS_LIKE_SPOTIFY.match(text):
        raise _not_an_artist(text)
    return _followable(text) if _ID.fullmatch(text) else None


def artist_id_of(text: str) -> str:
    """The artist id that an id, URI or link names; anything else is refused."""
    artist_id = artist_id_in(text)
    if artist_id is None:
        raise _not_an_artist(text)
    return artist_id


def partition_key(name: str, artist_id: str) -> str:
    """The key of an artist's partition: a readable slug and the id that makes it unique."""
    return f"{slug(name)}-{artist_id}"


def artist_id_of_key(key: str) -> str | None:
    """The artist id at the end of a partition key; None where the text is no such key."""
    found = _KEY.fullmatch(key)
    return found["id"] if found else None


def slug(name: str) -> str:
    """The name in lower-case ASCII letters, digits and hyphens; `artist` if nothing is left."""
    plain = unicodedata.normalize("NFKD", name.lower().translate(_LETTERS))
    ascii_only = plain.encode("ascii", "ignore").decode("ascii").lower().replace("'", "")
    words = re.findall(r"[a-z0-9]+", ascii_only)
    return "-".join(words)[:_SLUG_LENGTH].strip("-") or "artist"


def normalise_isrc(text: str) -> str | None:
    """The ISRC in its comparable form, twelve characters; None where the text is no ISRC."""
    if not text or _ISRC.fullmatch(text):
        return text or None
    compact = _BETWEEN_SIGNS.sub("", text).upper().removeprefix("ISRC")
    return compact if _ISRC.fullmatch(compact) else None


def normalise_upc(text: str) -> str | None:
    """The UPC or EAN as digits without leading zeros; None where the text is neither."""
    compact = _BETWEEN_SIGNS.sub("", text)
    if not (compact.isascii() and compact.isdigit() and len(compact) in _UPC_DIGITS):
        return None
    return compact.lstrip("0") or None


def _followable(artist_id: str) -> str:
    if artist_id in VARIOUS_ARTISTS_IDS:
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.VARIOUS_ARTISTS,
            f"{artist_id} is Spotify's “Various Artists”, which nobody can follow; "
            "name the artists themselves.",
            artist=artist_id,
        )
    return artist_id


def _not_an_artist(text: str) -> HarmonyError:
    return HarmonyError(
        ErrorCode.VALIDATION_ERROR,
        Reason.INVALID_ID,
        f"“{text[:100]}” does not name a Spotify artist; give the artist's 22-character id, "
        "spotify:artist:… or https://open.spotify.com/artist/… .",
        artist=text[:100],
    )
