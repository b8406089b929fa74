"""Look albums of unwatched artists up on Spotify: one search each, remembered."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue, Row, utc_text
from harmony_pipelines.clients.spotify import FAILURES_IN_A_ROW, SpotifyClient, concerns_everybody
from harmony_pipelines.domain.album_search import AlbumQuestion, due, gap, questions
from harmony_pipelines.domain.discography import listed_album_row
from harmony_pipelines.domain.errors import HarmonyError


@dataclass(frozen=True)
class Searched:
    """What the searches came to; `waiting` albums are for a later run, for `stopped` if it is."""

    asked: tuple[AlbumQuestion, ...] = ()
    waiting: int = 0
    stopped: HarmonyError | None = None


def searched_albums(store: Catalogue) -> list[Row]:
    """What all searches so far found, as rows of `spotify_albums` that no listing holds."""
    rows = store.table(tables.album_searches)
    return [album for row in rows for album in json.loads(row["albums"])]


def search_albums(
    store: Catalogue,
    open_client: Callable[[], SpotifyClient],
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Searched:
    """Ask about the albums that are due; each answer is committed as it comes."""
    answered = {row["query"]: row for row in store.table(tables.album_searches)}
    asking = due(_questions(store), answered, utc_text(now()))
    if not asking:
        return Searched()
    asked: list[AlbumQuestion] = []
    failures: list[HarmonyError] = []
    try:
        client = open_client()
        for question in asking:
            try:
                found = _found(client, question)
            except HarmonyError as error:
                failures.append(error)
                if concerns_everybody(error) or len(failures) == FAILURES_IN_A_ROW:
                    raise
                continue
            failures.clear()
            store.save(tables.album_searches, [_answer(question, found, answered, now())])
            asked.append(question)
    except HarmonyError as error:
        return Searched(tuple(asked), len(asking) - len(asked), error)
    return Searched(tuple(asked), len(asking) - len(asked))


def matched(store: Catalogue, searched: Searched) -> int:
    """How many of the albums asked about have a match now."""
    is_matched = tables.album_matches.c.verdict == "matched"
    ids = {str(row["beets_album_id"]) for row in store.table(tables.album_matches, is_matched)}
    return sum(question.beets_album_id in ids for question in searched.asked)


def _questions(store: Catalogue) -> list[AlbumQuestion]:
    return questions(
        store.table(tables.beets_albums),
        store.table(tables.beets_tracks),
        store.table(tables.album_matches),
        _watched(store),
    )


def _watched(store: Catalogue) -> set[str]:
    """What watched artists are called: in the watchlist, and by Spotify now."""
    watched = {row["artist_id"]: row["name"] for row in store.table(tables.watchlist)}
    artists = store.table(tables.spotify_artists, tables.spotify_artists.c.artist_id.in_(watched))
    return {*watched.values(), *(row["name"] or "" for row in artists)} - {""}


def _found(client: SpotifyClient, question: AlbumQuestion) -> list[Row]:
    rows: list[Row] = []
    for item in client.search_albums(question.text):
        artists = item.get("artists")
        first = artists[0] if isinstance(artists, list) and artists else None
        artist_id = first.get("id") if isinstance(first, dict) else None
        rows.append(listed_album_row(str(artist_id or ""), "album", item))
    return [row for row in rows if question.concerns(row)]


def _answer(
    question: AlbumQuestion, found: list[Row], answered: dict[str, Row], now: datetime
) -> Row:
    attempts = int(answered.get(question.text, {}).get("attempts", 0)) + 1
    return {
        "query": question.text,
        "attempts": attempts,
        "albums": json.dumps(found, ensure_ascii=False),
        "searched_at": utc_text(now),
        "next_search_at": utc_text(now + gap(attempts)),
    }
