"""What the app may do: what the user wrote, or what was found out once and is remembered.

Only what a call may hold; budget and pace are the user's word (`clients/quota.py`).
"""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

import sqlalchemy as sa

from harmony_pipelines.clients.database import reading, upsert, writing
from harmony_pipelines.clients.spotify_config import AUTO, EXTENDED
from harmony_pipelines.clients.tables import spotify_state

ALBUMS_A_BATCH = 20
TRACKS_A_BATCH = 50

_UNSURE_FOR = 7 * 86_400.0
"""Seconds for which an answer is believed that may have had other reasons."""


@dataclass(frozen=True)
class Abilities:
    """What Spotify lets the app do."""

    batches: bool = False
    """Ask for several albums or tracks by one call."""
    long_pages: bool = False
    """Ask for 50 entries of a listing by one call instead of 10."""
    is_sure: bool = True


BATCHES = Abilities(batches=True, long_pages=True)
NONE = Abilities()
NONE_FOR_NOW = Abilities(is_sure=False)


class AppMemory:
    """What was found out about one app at one address; all processes and later runs share it."""

    def __init__(
        self,
        engine: sa.Engine,
        client_id: str,
        api_url: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._key = f"abilities:{client_id}:{api_url.rstrip('/')}"

    def recall(self) -> Abilities | None:
        """What is known; None if nothing is, or if it was not sure and is old."""
        query = sa.select(spotify_state.c.value).where(spotify_state.c.key == self._key)
        with reading(self._engine) as connection:
            text = connection.execute(query).scalar()
        if text is None:
            return None
        stored = json.loads(text)
        is_old = abs(self._clock() - stored.pop("at")) > _UNSURE_FOR
        known = Abilities(**stored)
        return known if known.is_sure or not is_old else None

    def remember(self, known: Abilities) -> None:
        """Know it from now on."""
        value = json.dumps({**asdict(known), "at": self._clock()})
        with writing(self._engine) as connection:
            upsert(connection, spotify_state, [{"key": self._key, "value": value}])


class App:
    """The app's abilities, shared by all threads of a run; for `auto` they are found out once."""

    def __init__(self, profile: str, memory: AppMemory | None = None) -> None:
        self._is_auto = profile == AUTO
        self._memory = memory
        self._known = None if self._is_auto else BATCHES if profile == EXTENDED else NONE
        self._lock = threading.Lock()

    def abilities(self, probe: Callable[[], Abilities | None]) -> Abilities:
        """What the app may do; `probe` asks Spotify, and returns None if that told nothing."""
        if self._known is not None:
            return self._known
        with self._lock:
            if self._known is None:
                self._known = self._memory.recall() if self._memory else None
            if self._known is None:
                found = probe()
                if found:
                    self._remember(found)
                self._known = found or NONE_FOR_NOW
            return self._known

    def loses(self, *, batches: bool = True, long_pages: bool = True) -> bool:
        """Note what a refusal said; whether the call is worth asking in another way.

        The refusal is the answer to the probe that it contradicts, which is not asked again.
        """
        with self._lock:
            if not self._is_auto or self._known is None:
                return False
            left = replace(
                self._known,
                batches=self._known.batches and batches,
                long_pages=self._known.long_pages and long_pages,
                is_sure=False,
            )
            self._remember(left)
            self._known = left
            return True

    def _remember(self, known: Abilities) -> None:
        if self._memory:
            self._memory.remember(known)
