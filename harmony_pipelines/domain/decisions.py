"""What the user has decided, which beats every heuristic."""

from collections.abc import Mapping
from dataclasses import dataclass, field


def _nothing() -> dict[str, str]:
    return {}


@dataclass(frozen=True)
class Decisions:
    """The contents of `decisions.yaml`; the keys of `match` and `cover` name a library album.

    A library album is named by its beets id or its `mb_albumid`, an artist of
    `ignored_groups` by id or name.
    """

    match: Mapping[str, str] = field(default_factory=_nothing)
    cover: Mapping[str, str] = field(default_factory=_nothing)
    ignored_albums: frozenset[str] = frozenset()
    ignored_groups: frozenset[tuple[str, str]] = frozenset()
