"""What the user has decided, which beats every heuristic."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from harmony_pipelines.domain.rows import Row, text_in


def _nothing() -> dict[str, str]:
    return {}


def _no_lines() -> dict[tuple[str, str], int]:
    return {}


@dataclass(frozen=True)
class Decisions:
    """The contents of `decisions.yaml`; the keys of `match` and `cover` name a library album.

    A library album is named by its beets id or its `mb_albumid`, an artist of
    `ignored_groups` by id or name. `lines` says where in the file each decision about an album is,
    by `match` or `cover` and its key.
    """

    match: Mapping[str, str] = field(default_factory=_nothing)
    cover: Mapping[str, str] = field(default_factory=_nothing)
    ignored_albums: frozenset[str] = frozenset()
    ignored_groups: frozenset[tuple[str, str]] = frozenset()
    lines: Mapping[tuple[str, str], int] = field(default_factory=_no_lines, compare=False)

    def strangers(self, part: str, albums: Iterable[Row]) -> list[tuple[int, str]]:
        """The lines of `match` or `cover` whose key names no album of the library, with the key."""
        known = {text_in(album, "beets_album_id") for album in albums}
        known |= {text_in(album, "mb_albumid").lower() for album in albums}
        strange = ((key, line) for (of, key), line in self.lines.items() if of == part)
        return sorted((line, key) for key, line in strange if key not in known)
