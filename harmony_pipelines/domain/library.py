"""Where the library's files are on this machine, and whether it lost too much at once."""

from collections.abc import Iterable


class LibraryPaths:
    """Turns a path as the library stores it into the path on this machine."""

    def __init__(
        self, music_directory: bytes, path_map: Iterable[tuple[bytes, bytes]] = ()
    ) -> None:
        """`path_map` pairs folders as the library knows them with where they are here."""
        self.music_directory = music_directory.rstrip(b"/")
        pairs = [(stored.rstrip(b"/"), here.rstrip(b"/")) for stored, here in path_map]
        self.path_map = sorted(pairs, key=lambda pair: len(pair[0]), reverse=True)

    def here(self, stored: bytes) -> bytes:
        """The absolute path on this machine; a relative one hangs on the music directory."""
        path = stored if stored.startswith(b"/") else self.music_directory + b"/" + stored
        for prefix, place in self.path_map:
            if path == prefix or path.startswith(prefix + b"/"):
                return place + path[len(prefix) :] or b"/"
        return path


def shrank(before: int, now: int, share: float = 0.2) -> bool:
    """Whether more than `share` of what was there before is gone."""
    return before - now > before * share
