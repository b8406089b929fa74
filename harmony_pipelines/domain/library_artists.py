"""Which Spotify artists the library knows by name, from the ids that beets keeps with its music."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from harmony_pipelines.domain.identifiers import VARIOUS_ARTISTS_IDS
from harmony_pipelines.domain.library_rows import Raw, text_of
from harmony_pipelines.domain.titles import comparable_name

_SPOTIFY_ID = re.compile(r"[0-9A-Za-z]{22}")
_MUSICBRAINZ_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)


@dataclass(frozen=True)
class Credit:
    """An artist as an album or a track names them; ids are None where unknown."""

    name: str
    spotify_id: str | None = None
    musicbrainz_id: str | None = None

    @classmethod
    def of(cls, name: Raw, *ids: Raw) -> "Credit":
        """The credit in columns of beets; each id is whatever it looks like.

        Older releases of beets put the id of whatever source they imported from into
        `mb_albumartistid`.
        """
        texts = [text for one in ids if (text := text_of(one))]
        spotify = [text for text in texts if _SPOTIFY_ID.fullmatch(text)]
        musicbrainz = [text.lower() for text in texts if _MUSICBRAINZ_ID.fullmatch(text)]
        return cls(text_of(name) or "", next(iter(spotify), None), next(iter(musicbrainz), None))


@dataclass(frozen=True)
class Known:
    """What the library knows of a name."""

    artist_ids: tuple[str, ...] = ()
    """The Spotify artists that go by it, those with the most credits first."""
    names: frozenset[str] = frozenset()
    """All names of theirs in the library, made comparable."""
    namesakes: int = 0
    """How many artists of this name MusicBrainz tells apart in the library."""


class LibraryArtists:
    """The artists of a library; MusicBrainz ids say who is one artist under several names."""

    def __init__(self, credits_: Iterable[Credit] = ()) -> None:
        self._by_name: defaultdict[str, list[Credit]] = defaultdict(list)
        self._by_musicbrainz_id: defaultdict[str, list[Credit]] = defaultdict(list)
        for credit in credits_:
            self._by_name[comparable_name(credit.name)].append(credit)
            if credit.musicbrainz_id:
                self._by_musicbrainz_id[credit.musicbrainz_id].append(credit)

    def known(self, name: str) -> Known:
        """What is known of a name, also by other names of the same MusicBrainz artist."""
        own = self._by_name.get(comparable_name(name), [])
        persons = {credit.musicbrainz_id for credit in own if credit.musicbrainz_id}
        found = self._by_musicbrainz_id[next(iter(persons))] if len(persons) == 1 else []
        found = list(dict.fromkeys([*own, *found]))
        count = Counter(credit.spotify_id for credit in [*own, *found] if credit.spotify_id)
        ids = sorted(count, key=lambda one: (-count[one], one))
        return Known(
            tuple(one for one in ids if one not in VARIOUS_ARTISTS_IDS),
            frozenset(comparable_name(credit.name) for credit in found),
            len(persons),
        )
