"""Reads what the user writes: `watchlist.yaml` and `decisions.yaml`."""

import re
from collections.abc import Mapping
from pathlib import Path

import yaml

from harmony_pipelines.clients.marked_yaml import UserFile
from harmony_pipelines.domain.decisions import Decisions
from harmony_pipelines.domain.errors import HarmonyError, Reason
from harmony_pipelines.domain.identifiers import artist_id_in
from harmony_pipelines.domain.watchlist import ALBUM_GROUPS, FromBeets, Watchlist, WatchlistEntry

_MAX_NAME = 300
_MAX_MIN_ALBUMS = 1000
_MAX_LIMIT = 100_000
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_LIBRARY_ALBUM = re.compile(
    r"[1-9][0-9]{0,17}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE
)
_SPOTIFY_ALBUM = re.compile(
    r"(?:spotify:album:|(?:https?://)?open\.spotify\.com/(?:intl-[a-z-]+/)?album/)?"
    r"(?P<id>[0-9A-Za-z]{22})(?:[?#].*)?"
)
_NAMES_NOBODY = (
    "names no artist. Write names, ids or links below `artists:` (watchlist.example.yaml shows "
    "how); until then everybody stays"
)


def read_watchlist(path: Path) -> Watchlist:
    """The watchlist; raises VALIDATION_ERROR with every fault's line and column.

    A file that is missing or names nobody is an error too, so that it can drop nobody.
    """
    file = UserFile(path, Reason.WATCHLIST)
    try:
        root = file.root()
    except FileNotFoundError as error:
        raise file.refusal(
            "does not exist. Copy watchlist.example.yaml there and name your artists"
        ) from error
    if root is None or _is_empty(root):
        raise file.refusal(_NAMES_NOBODY)
    watchlist = _watchlist(file, root)
    file.refuse_if_faulty()
    if not watchlist.entries and watchlist.from_beets is None:
        raise file.refusal(_NAMES_NOBODY)
    return watchlist


def read_decisions(path: Path) -> Decisions:
    """What the user decided; no file is no decisions."""
    file = UserFile(path, Reason.DECISIONS)
    try:
        root = file.root()
    except FileNotFoundError:
        return Decisions()
    if root is None or _is_empty(root):
        return Decisions()
    decisions = _decisions(file, root, path.parent)
    file.refuse_if_faulty()
    return decisions


def _watchlist(file: UserFile, root: yaml.Node) -> Watchlist:
    parts = _filled(file.mapping(root, ("artists", "defaults", "from_beets")))
    defaults = _filled(file.mapping(parts["defaults"], ("groups",))) if "defaults" in parts else {}
    return Watchlist(
        entries=_entries(file, parts["artists"]) if "artists" in parts else (),
        default_groups=_groups(file, defaults["groups"]) if "groups" in defaults else None,
        from_beets=_from_beets(file, parts["from_beets"]) if "from_beets" in parts else None,
    )


def _entries(file: UserFile, node: yaml.Node) -> tuple[WatchlistEntry, ...]:
    lines: set[int] = set()
    entries: list[WatchlistEntry] = []
    for item in file.items(node, "a list, each artist on a line of its own after `- `"):
        line = item.start_mark.line + 1
        if line in lines:
            file.fault(item, "each artist needs a line of its own")
        lines.add(line)
        entry = _entry(file, item, line)
        if entry:
            entries.append(entry)
    return tuple(entries)


def _entry(file: UserFile, item: yaml.Node, line: int) -> WatchlistEntry | None:
    if not isinstance(item, yaml.MappingNode):
        text = _name(file, item)
        return None if text is None else _identified(WatchlistEntry(text, line))
    keys = file.mapping(item, ("artist", "groups", "paused"))
    if "artist" not in keys:
        file.fault(item, "names no artist; a name with a colon must be in quotes")
        return None
    text = _name(file, keys["artist"])
    groups = _groups(file, keys["groups"]) if "groups" in keys else None
    paused = _switch(file, keys["paused"]) if "paused" in keys else False
    return None if text is None else _identified(WatchlistEntry(text, line, groups, paused))


def _name(file: UserFile, node: yaml.Node) -> str | None:
    text = file.text(node, "an artist")
    if text is None:
        return None
    if not text:
        file.fault(node, "names no artist; a name that begins with # must be in quotes")
        return None
    if node.end_mark.line > node.start_mark.line or len(text) > _MAX_NAME:
        file.fault(node, "an artist must fit on one line; begin each line with `- `")
        return None
    if _CONTROL_CHARACTER.search(text):
        file.fault(node, "holds a control character; write the name as Spotify shows it")
        return None
    return text


def _identified(entry: WatchlistEntry) -> WatchlistEntry:
    """The entry with its artist id, or with what is wrong about what looks like one."""
    artist_id, problem = None, None
    try:
        artist_id = artist_id_in(entry.text)
    except HarmonyError as error:
        problem = error
    return WatchlistEntry(entry.text, entry.line, entry.groups, entry.paused, artist_id, problem)


def _groups(file: UserFile, node: yaml.Node) -> tuple[str, ...]:
    must_be = f"a list of {', '.join(ALBUM_GROUPS)}, for example [album, single]"
    items = file.items(node, must_be)
    if isinstance(node, yaml.SequenceNode) and not items:
        file.fault(node, f"must be {must_be}")
    return tuple(dict.fromkeys(_group(file, item) for item in items))


def _group(file: UserFile, node: yaml.Node) -> str:
    text = file.text(node, "an album group") or ""
    if text not in ALBUM_GROUPS:
        file.fault(node, f"{text[:60]!r} is no album group; known: {', '.join(ALBUM_GROUPS)}")
    return text


def _switch(file: UserFile, node: yaml.Node) -> bool:
    text = (file.text(node, "this") or "").lower()
    if text not in _SWITCH:
        file.fault(node, "must be true or false")
    return _SWITCH.get(text, False)


def _from_beets(file: UserFile, node: yaml.Node) -> FromBeets:
    keys = file.mapping(node, ("query", "min_albums", "limit"))
    usual = FromBeets()
    query = file.text(keys["query"], "a beets query") if "query" in keys else None
    least = file.whole(keys["min_albums"], 1, _MAX_MIN_ALBUMS) if "min_albums" in keys else None
    limit = file.whole(keys["limit"], 1, _MAX_LIMIT) if "limit" in keys else None
    return FromBeets(query or usual.query, least or usual.min_albums, limit or usual.limit)


def _decisions(file: UserFile, root: yaml.Node, folder: Path) -> Decisions:
    parts = _filled(file.mapping(root, ("match", "cover", "ignore_missing")))
    match = _by_album(file, parts["match"]) if "match" in parts else {}
    cover = _by_album(file, parts["cover"]) if "cover" in parts else {}
    ignored = (
        file.items(parts["ignore_missing"], "a list of album ids and {artist, group}")
        if "ignore_missing" in parts
        else []
    )
    groups = [node for node in ignored if isinstance(node, yaml.MappingNode)]
    albums = [node for node in ignored if not isinstance(node, yaml.MappingNode)]
    return Decisions(
        match={album: _match(file, node) for album, node in match.items()},
        cover={album: _cover(file, node, folder) for album, node in cover.items()},
        ignored_albums=frozenset(_spotify_album(file, node) for node in albums),
        ignored_groups=frozenset(_ignored_group(file, node) for node in groups),
        lines={**_lines("match", match), **_lines("cover", cover)},
    )


def _lines(part: str, albums: Mapping[str, yaml.Node]) -> dict[tuple[str, str], int]:
    return {(part, album): node.start_mark.line + 1 for album, node in albums.items()}


def _by_album(file: UserFile, node: yaml.Node) -> dict[str, yaml.Node]:
    """The values by library album: a beets id, or an `mb_albumid` in lower case."""
    albums: dict[str, yaml.Node] = {}
    for key, key_node, value in file.pairs(node, "a mapping of library albums"):
        if not _LIBRARY_ALBUM.fullmatch(key):
            file.fault(key_node, f"{key[:60]!r} is neither a beets album id nor an mb_albumid")
        elif key.lower() in albums:
            file.fault(key_node, f"{key!r} is given twice")
        else:
            albums[key.lower()] = value
    return albums


def _match(file: UserFile, node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode) and node.value.strip() == "never":
        return "never"
    return _spotify_album(file, node, " or never")


def _spotify_album(file: UserFile, node: yaml.Node, otherwise: str = "") -> str:
    text = node.value.strip() if isinstance(node, yaml.ScalarNode) else ""
    found = _SPOTIFY_ALBUM.fullmatch(text)
    if found is None:
        file.fault(node, f"must be a Spotify album id, spotify:album:… or link{otherwise}")
        return ""
    return found["id"]


def _cover(file: UserFile, node: yaml.Node, folder: Path) -> str:
    text = file.text(node, "a cover")
    if not text:
        file.fault(node, "must be the path of a picture, or never")
        return ""
    return "never" if text == "never" else _absolute(file, node, folder)


def _absolute(file: UserFile, node: yaml.Node, folder: Path) -> str:
    try:
        return str(folder / Path(node.value.strip()).expanduser())
    except RuntimeError:  # ~somebody who is not a user of this machine
        file.fault(node, "names the home folder of an unknown user")
        return ""


def _ignored_group(file: UserFile, node: yaml.Node) -> tuple[str, str]:
    keys = file.mapping(node, ("artist", "group"))
    if len(keys) < 2:
        file.fault(node, "must name an artist and a group: {artist: …, group: appears_on}")
        return "", ""
    artist = _name(file, keys["artist"]) or ""
    try:
        artist = artist_id_in(artist) or artist
    except HarmonyError as error:
        file.fault(keys["artist"], error.message)
    return artist, _group(file, keys["group"])


def _filled(parts: dict[str, yaml.Node]) -> dict[str, yaml.Node]:
    return {key: node for key, node in parts.items() if not _is_empty(node)}


def _is_empty(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.value and not node.style
