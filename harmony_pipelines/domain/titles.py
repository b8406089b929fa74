"""Titles and artist names made comparable: one spelling of each, editions set apart.

Text of every script is kept: nothing here removes a letter or digit because it is not ASCII,
and a title that is all punctuation keeps its punctuation.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

_CACHED = 1 << 15
_TYPOGRAPHIC = {
    **dict.fromkeys(range(0x2018, 0x201C), "'"),
    **dict.fromkeys(range(0x201C, 0x2020), '"'),
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212), "-"),
    **dict.fromkeys((0x223C, 0x301C), "~"),
}
_SPACES = re.compile(r"\s+")
_APOSTROPHES = re.compile(r"['`]")
_AND = re.compile(r"(?<=\s)[&+](?=\s)")
_GUEST_IN_BRACKETS = re.compile(r"\s*[(\[](?:feat|ft|featuring)\b\.?\s[^)\]]*[)\]]")
_GUEST_AT_END = re.compile(r"\s+(?:feat|featuring)\b\.?\s.*$")
_ARTIST_GUEST_AT_END = re.compile(r"\s+[(\[]?(?:feat|ft|featuring)\b\.?\s.*$")
_SET_APART = re.compile(
    r"(?P<base>.*\S)\s*(?:[(\[](?P<bracketed>[^()\[\]]+)[)\]]|(?:\s-|:)\s+(?P<dashed>[^-:]+))"
)
_EDITION_AT_END = re.compile(
    r"(?P<base>.*?\S)\s+(?P<bare>(?:(?:super|deluxe|expanded|special|limited|anniversary|collector'?s"
    r"|bonus|legacy|remastered|\d+th)\s+)+edition)"
)
_ARTIST_SEPARATOR = re.compile(
    r"\s*[,;/・]\s*|\s+(?:&|\+|and|x|vs\.?|with|feat\.?|ft\.?|featuring)\s+"
)
_NUMBER = re.compile(r"\d+|\b(?=[ivx]{2})x{0,2}(?:ix|iv|v?i{0,3})\b|\b[ivx]$")

_EDITION_WORD = re.compile(
    "deluxe|expanded|remaster|remastered|remasterizado|remasterise|anniversary|edition|explicit"
    "|clean|bonus|reissue|reissued|limited|special|collectors?|edicion|edicao|edizione|ausgabe"
    "|デラックス|エディション|リマスター|限定盤|通常盤|初回盤|初回限定盤|初回生産限定盤"
    "|期間生産限定盤|完全生産限定盤"
)
_BESIDE_AN_EDITION_WORD = re.compile(
    r"the|super|digital|digitally|version|with|tracks?|disc|cd|original|album|years?|edited"
    r"|content|legacy|mono|stereo|盤|\d+(?:st|nd|rd|th)?"
)
_FORMAT = re.compile("ep|e p|single")
_ENDS_AN_EDITION = re.compile(
    r"(?:.*\s)?(?:edition|edicion|edicao|edizione)|.*(?:エディション|限定盤)"
)
_EDITION_LENGTH = 4
_VARIANT = re.compile(
    r"\b(?:live|acoustic|unplugged|instrumentals?|instrumentale|karaoke|demos?|remix|remixes"
    r"|remixed|mix|mixed|sessions?|dub|acapella|cappella|orchestral|symphonic|rerecorded|tribute"
    r"|soundtrack|score|covers?)\b|'s version\b|ライブ|ライヴ|リミックス|インスト|カラオケ"
)
_UNLIKE = 0.4
_OTHER_EDITION = 0.95

_VARIOUS_ARTISTS = "variousartists"
_VARIOUS_NAMES = frozenset(
    {
        _VARIOUS_ARTISTS,
        "various",
        "verschiedeneinterpreten",
        "artistivari",
        "variosartistas",
        "ヴァリアスアーティスト",
        "オムニバス",
    }
)


@lru_cache(_CACHED)
def normalised(text: str) -> str:
    """The text in one spelling: width, case, typographic signs and white space.

    Repeated until nothing changes, because folding case may leave text that Unicode composes anew.
    """
    if text.isascii():  # all of the rest is about other signs
        return _SPACES.sub(" ", text.casefold()).strip()
    while True:
        folded = unicodedata.normalize("NFKC", text).casefold().translate(_TYPOGRAPHIC)
        folded = "".join(sign for sign in folded if unicodedata.category(sign) != "Cf")
        folded = _SPACES.sub(" ", unicodedata.normalize("NFKC", folded)).strip()
        if folded == text:
            return text
        text = folded


@lru_cache(_CACHED)
def words(text: str) -> str:
    """The normalised text without punctuation and Latin accents; all of it if nothing else is left.

    "..." and "?" therefore stay different, and so do か and が. Repeated until nothing changes,
    because taking a sign out may leave a "+" that stands alone.
    """
    text = normalised(text)
    if _is_plain(text):
        return text
    while True:
        spelt = _APOSTROPHES.sub("", _AND.sub("and", text))
        kept = _without_punctuation(_without_accents(spelt))
        kept = _SPACES.sub(" ", kept).strip() or text
        if kept == text:
            return text
        text = kept


def _is_plain(text: str) -> bool:
    """Whether it is nothing but words, as most titles are."""
    return text.isascii() and text.replace(" ", "").isalnum()


def _without_punctuation(text: str) -> str:
    if text.isascii():
        return text.translate(_ASCII_PUNCTUATION)
    return "".join(" " if _is_punctuation(sign) else sign for sign in text)


def _is_punctuation(sign: str) -> bool:
    return sign == "~" or unicodedata.category(sign).startswith(("P", "C"))


_ASCII_PUNCTUATION = {code: " " for code in range(128) if _is_punctuation(chr(code))}


def _without_accents(text: str) -> str:
    if text.isascii():
        return text
    kept: list[str] = []
    for sign in unicodedata.normalize("NFD", text):
        accent = unicodedata.combining(sign) and kept and kept[-1].isascii()
        if not accent:
            kept.append(sign)
    return unicodedata.normalize("NFKC", "".join(kept))


@dataclass(frozen=True, slots=True)
class Title:
    """A title in words, without guests and edition; the edition apart.

    `variants` are the words that make it another recording (live, acoustic, remix …) and `numbers`
    the digits and Roman numerals: two titles that differ in one of these are two titles, however
    alike they look.
    """

    base: str
    edition: str
    variants: frozenset[str]
    numbers: tuple[str, ...]


@lru_cache(_CACHED)
def title_of(text: str) -> Title:
    """The parts of a title of an album or track."""
    rest, edition = _without_editions(_without_guests(normalised(text)))
    base = words(rest)
    # What opens a title names it: "Live Through This" is no live recording.
    _, _, others = rest.partition(" ")
    variants = frozenset(_VARIANT.findall(others))
    return Title(base, words(edition), variants, tuple(_NUMBER.findall(base)))


def _without_guests(text: str) -> str:
    if "feat" not in text and "ft" not in text:
        return text
    shorter = _GUEST_AT_END.sub("", _GUEST_IN_BRACKETS.sub("", text)).strip()
    return shorter if _says_something(shorter) else text


def _without_editions(text: str) -> tuple[str, str]:
    editions: list[str] = []
    while (found := _edition_at_end(text)) is not None:
        text, edition = found
        editions.append(edition)
    return text, " ".join(sorted(editions))


def _edition_at_end(text: str) -> tuple[str, str] | None:
    if text.endswith((")", "]")) or " - " in text or ": " in text:
        found = _SET_APART.fullmatch(text)
        if found is not None:
            edition = found["bracketed"] or found["dashed"]
            if _says_something(found["base"]) and _is_edition(edition):
                return found["base"], edition
    found = _EDITION_AT_END.fullmatch(text) if text.endswith("edition") else None
    if found is not None and _says_something(found["base"]):
        return found["base"], found["bare"]
    return None


def _says_something(text: str) -> bool:
    return any(sign.isalnum() for sign in text)


def _is_edition(text: str) -> bool:
    if _VARIANT.search(text):
        return False
    spelt = words(text)
    parts = spelt.split()
    if _FORMAT.fullmatch(spelt):
        return True
    if _ENDS_AN_EDITION.fullmatch(spelt) and len(parts) <= _EDITION_LENGTH:
        return True
    telling = [_EDITION_WORD.fullmatch(part) is not None for part in parts]
    return any(telling) and all(
        tells or _BESIDE_AN_EDITION_WORD.fullmatch(part)
        for tells, part in zip(telling, parts, strict=True)
    )


def title_similarity(one: Title, other: Title) -> float:
    """How alike two titles are, 0 to 1; 1 only if they are equal, the edition included."""
    if not one.base or not other.base:
        return 0.0
    if one.base == other.base:
        return 1.0 if one.edition == other.edition else _OTHER_EDITION
    from rapidfuzz import fuzz

    alike = fuzz.ratio(one.base, other.base) / 100
    return min(alike, _OTHER_EDITION if may_be_one(one, other) else _UNLIKE)


def may_be_one(one: Title, other: Title) -> bool:
    """Whether two titles may be one where they look alike."""
    if one.base == other.base:
        return True
    return one.variants == other.variants and one.numbers == other.numbers


@lru_cache(_CACHED)
def artist_key(name: str) -> str:
    """What two spellings of one artist have in common: no article, spaces, signs or guests."""
    text = normalised(name)
    alone = _ARTIST_GUEST_AT_END.sub("", text)
    spelt = words(alone if _says_something(alone) else text)
    spelt = spelt.removesuffix(" the") if text.endswith(", the") else spelt
    compact = (spelt.removeprefix("the ") or spelt).replace(" ", "")
    return _VARIOUS_ARTISTS if compact in _VARIOUS_NAMES else compact


@lru_cache(_CACHED)
def artist_keys(name: str) -> tuple[str, ...]:
    """The key of a name as a whole, then of each artist it seems to be made of."""
    parts = [artist_key(part) for part in _ARTIST_SEPARATOR.split(normalised(name))]
    return tuple(dict.fromkeys(key for key in (artist_key(name), *parts) if key))


def comparable_name(name: str) -> str:
    """The name without case, width and double spaces; all else is another name."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def is_various_artists(name: str) -> bool:
    """Whether the name stands for no artist in particular."""
    return artist_key(name) == _VARIOUS_ARTISTS
