"""Paths as text that can be stored, shown and turned back into the same bytes."""

import re

_ESCAPE = re.compile(r"%(?=[0-9A-Fa-f]{2})")
_ESCAPED = re.compile(rb"%([0-9A-Fa-f]{2})")
_UNSHOWABLE = re.compile("[\x00-\x1f\x7f\udc80-\udcff]")


def path_text(path: bytes) -> str:
    """The path as UTF-8 text; bytes that are not UTF-8, and control characters, as `%XX`.

    A literal `%` that two hexadecimal digits follow becomes `%25`, so that `path_bytes` is exact.
    """
    text = path.decode("utf-8", "surrogateescape")
    if text.isprintable() and "%" not in text:  # so are most
        return text
    text = _ESCAPE.sub("%25", text)
    return _UNSHOWABLE.sub(lambda found: f"%{ord(found[0]) & 0xFF:02X}", text)


def path_bytes(text: str) -> bytes:
    """The bytes that `path_text` was given."""
    return _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode("utf-8"))
