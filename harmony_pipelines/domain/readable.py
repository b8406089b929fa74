"""Names and titles as other programs and any screen may take them; Spotify's may hold anything."""

import re
import unicodedata

_FORMULA_STARTS = tuple("=+-@\t\r\uff1d\uff0b\uff0d\uff20")
_BIDI_CONTROLS = re.compile("[\u202a-\u202e\u2066-\u2069]")
_NO_CHARACTER = re.compile("[\ufdd0-\ufdef\ufffe\uffff]")
_IMAGE_CODE = re.compile(r"(https?://[^/]+/image/)(ab67616d0000b273|ab6761610000e5eb)")
_SMALLER = {"ab67616d0000b273": "ab67616d00001e02", "ab6761610000e5eb": "ab6761610000f178"}


def readable(text: object) -> str:
    """The text on one line, without what XML forbids or what turns the text around it.

    Marks that letters need (joiners, directional marks) stay.
    """
    whole = "" if text is None else str(text)
    if whole.isprintable():  # so is most text, and nothing has to go but spaces
        return " ".join(whole.split()) if " " in whole else whole
    plain = _NO_CHARACTER.sub("", _BIDI_CONTROLS.sub("", whole))
    shown = (" " if unicodedata.category(each) in _UNSHOWN else each for each in plain)
    return " ".join("".join(shown).split())


_UNSHOWN = {"Cc", "Cs", "Zl", "Zp"}


def counted(number: int, what: str) -> str:
    """The number and what it counts, in the plural but for one."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def no_formula(text: str) -> str:
    """The text as a cell that no spreadsheet computes: an apostrophe before what may be one.

    As OWASP advises: https://owasp.org/www-community/attacks/CSV_Injection
    """
    return f"'{text}" if text.startswith(_FORMULA_STARTS) else text


def web_link(url: object, otherwise: str) -> str:
    """The address if it is one that a browser opens as a page, else the other."""
    text = readable(url)
    return text if text.startswith("https://") and " " not in text else otherwise


def smaller_image(url: str) -> str:
    """The address of a smaller rendering, where it is one of Spotify's images; else the same.

    Spotify, and servers like it, list images in three sizes whose addresses differ in this code
    only.
    """
    return _IMAGE_CODE.sub(lambda found: found[1] + _SMALLER[found[2]], url)
