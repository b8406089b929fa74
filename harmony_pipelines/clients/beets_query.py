"""Whom the library names: by a query of the user's, which beets itself answers, and by ids.

beets does so in a process of its own, over a private copy.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from harmony_pipelines.clients.beets_library import BeetsLibrary
from harmony_pipelines.clients.beets_tables import read_credits
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.library_artists import Credit, LibraryArtists

_QUERY_SECONDS = 60.0
_SAY_ALBUM_ARTISTS = """
import json, sys
asked = json.load(sys.stdin)
import beets
beets.config.clear()
beets.config.read(user=False, defaults=True)
beets.config.set({"plugins": [], "create_backup_before_migrations": False})
from beets.library import Library
from beets.dbcore.query import InvalidQueryError
try:
    albums = Library(asked["library"], asked["music"]).albums(asked["query"])
    answer = {"artists": [album.albumartist for album in albums]}
except (InvalidQueryError, ValueError) as error:
    answer = {"error": str(error)}
json.dump(answer, sys.__stdout__)
"""


def album_artists(library: BeetsLibrary, query: str, deadline: Deadline) -> Counter[str]:
    """How many albums each album artist has among those that the query finds.

    beets migrates what it opens and keeps its configuration in the process, and a query may take
    for ever: so it opens a copy, in a process that knows no user's configuration and ends in time.
    """
    with library.private_copy(deadline) as copy:
        asked = {
            "library": str(copy),
            "music": str(library.config.music_directory),
            "query": query,
        }
        answer = _answer(asked, copy.parent, deadline)
    if "error" in answer:
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.WATCHLIST,
            f"beets does not understand the query of from_beets, {query!r}: {answer['error']}. "
            "Correct it in watchlist.yaml; `beet ls -a` takes the same queries.",
            query=query,
        )
    return Counter(name.strip() for name in answer["artists"] if name.strip())


def library_artists(library: BeetsLibrary, deadline: Deadline) -> LibraryArtists:
    """Whom the library knows by an id of Spotify or MusicBrainz; nobody if there is none."""
    if not library.exists(deadline):
        return LibraryArtists()
    with library.private_copy(deadline) as copy:
        rows = read_credits(copy, library.config.database, deadline)
    return LibraryArtists(Credit.of(*row) for row in rows)


def _answer(asked: dict[str, str], folder: Path, deadline: Deadline) -> dict[str, list[str]]:
    seconds = deadline.limit(_QUERY_SECONDS)
    try:
        done = subprocess.run(
            [sys.executable, "-I", "-c", _SAY_ALBUM_ARTISTS],
            input=json.dumps(asked).encode(),
            capture_output=True,
            timeout=seconds,
            env={**os.environ, "BEETSDIR": str(folder)},
            check=True,
        )
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired as slow:
        deadline.check()
        raise HarmonyError(
            ErrorCode.DEADLINE_EXCEEDED,
            Reason.TIMEOUT,
            f"beets took more than {seconds:.0f} s for the query of from_beets, "
            f"{asked['query']!r}. Use a simpler one in watchlist.yaml.",
            query=asked["query"],
        ) from slow
    except (subprocess.CalledProcessError, ValueError) as error:
        said = getattr(error, "stderr", b"").decode("utf-8", "replace").strip().splitlines()
        raise HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.LIBRARY_SCHEMA,
            "beets could not open a copy of the library for the query of from_beets: "
            f"{said[-1] if said else error}.",
            query=asked["query"],
        ) from error
