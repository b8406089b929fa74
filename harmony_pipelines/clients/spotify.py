"""The Spotify client: what is asked about an artist, an album, a track or a name, page by page.

Pages are walked by offset: a `next` link leads wherever the server says, and totals are often
wrong.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, cast

from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.quota import Quota
from harmony_pipelines.clients.spotify_abilities import (
    ALBUMS_A_BATCH,
    BATCHES,
    NONE,
    NONE_FOR_NOW,
    TRACKS_A_BATCH,
    Abilities,
    App,
)
from harmony_pipelines.clients.spotify_calls import SpotifyCalls
from harmony_pipelines.clients.spotify_config import SpotifyConfig
from harmony_pipelines.clients.spotify_refusals import Question, bad_answer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.discography import (
    GROUPS,
    ArtistCatalogue,
    Body,
    Json,
    Row,
    artist_row,
    body_rows,
    group_of,
    listed_album_row,
)
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

BODIES = "albums"
MORE_TRACKS = "album_tracks"
"""The families of calls that an album's body may take: the second beyond 50 tracks."""

FAILURES_IN_A_ROW = 3
"""So many things in a row that Spotify could not answer: it is down, and is left alone."""

Answer: TypeAlias = Json | HarmonyError
"""What came of asking for one thing among several."""

SHORT_PAGE = 10
"""The entries of a listing's page that every app may ask for."""

_LONG_PAGE = 50
TRACKS_A_PAGE = 50
_MOST_PAGES = 100
_MAY_NOT_BE_ASKED = (Reason.ENDPOINT_REMOVED, Reason.REQUEST_REFUSED)

_SOME_ALBUM = "4aawyAB9vmqN3uQ7FjRGTy"
"""An album to ask for where only it matters that one may ask; an unknown one would do as well."""

_EVERYBODYS = frozenset({ErrorCode.RATE_LIMITED, ErrorCode.AUTH_REQUIRED, ErrorCode.CONFLICT})


class Listing(list[Json]):
    """The albums of a listing; knows whether it was read to its end."""

    ended: bool = False


class SpotifyClient:
    """Asks Spotify, in the pages that the app's profile allows; for a few threads at a time."""

    def __init__(
        self,
        config: SpotifyConfig,
        quota: Quota,
        patience: Patience | Deadline,
        app: App | None = None,
    ) -> None:
        if isinstance(patience, Deadline):
            patience = Patience(patience)
        self._config = config
        self._calls = SpotifyCalls(config, quota, patience)
        self._app = app or App(config.profile)

    def within(self, deadline: Deadline) -> "SpotifyClient":
        """The client for a part of the work with its own deadline and its own count of requests.

        The token is shared, so that a client per artist costs no token per artist.
        """
        client = copy(self)
        client._calls = self._calls.within(deadline)
        return client

    @property
    def requests(self) -> Counter[str]:
        """The calls made so far by family; `token`, `probe` and `retries` count apart.

        A retry is also among its family's calls: it costs quota like any other.
        """
        return self._calls.requests

    @property
    def all_requests(self) -> Counter[str]:
        """The same of this client and all that share its token."""
        return self._calls.total.requests

    @property
    def albums_a_call(self) -> int:
        """How many bodies of albums one call may bring."""
        return ALBUMS_A_BATCH if self._abilities().batches else 1

    @property
    def tracks_a_call(self) -> int:
        """How many bodies of tracks one call may bring."""
        return TRACKS_A_BATCH if self._abilities().batches else 1

    def why_not(self, family: str) -> HarmonyError | None:
        """What keeps a call of the family from being made now: a spent budget, a cooldown."""
        return self._calls.why_not(family)

    def artist(self, artist_id: str) -> Json:
        """The artist's body."""
        question = Question(
            "artists",
            f"artists/{artist_id}",
            f"artist {artist_id}",
            needs=("id",),
            unknown=Reason.UNKNOWN_ARTIST,
        )
        return self._calls.ask(question)

    def listing(self, artist_id: str, group: str) -> Listing:
        """The artist's albums of one group, or of several joined by commas."""
        listing = Listing()
        for albums, listing.ended in self.pages(artist_id, group):
            listing.extend(albums)
        return listing

    def pages(self, artist_id: str, group: str) -> Iterator[tuple[list[Json], bool]]:
        """The listing's pages: what each brings that is new, and whether it is the last."""
        question = Question(
            "artist_albums",
            f"artists/{artist_id}/albums",
            f"the {group.replace(',', ' and ')} releases of artist {artist_id}",
            needs=("items",),
            unknown=Reason.UNKNOWN_ARTIST,
        )
        size = self._page_size()
        most = self._config.appears_on_max if group == "appears_on" else _MOST_PAGES * size
        seen: set[object] = set()
        offset, ended = 0, False
        while not ended and offset < most:
            try:
                page = self._calls.ask(question, include_groups=group, limit=size, offset=offset)
            except HarmonyError as error:
                if not (_is_page_too_long(error, size) and self._app.loses(long_pages=False)):
                    raise
                size = SHORT_PAGE
                continue
            new = _unseen(_items(page, question), seen)
            ended = not new or page.get("next") is None
            yield new[: most - offset], ended
            offset += size

    def albums(self, album_ids: Sequence[str]) -> Iterator[tuple[str, Answer]]:
        """Each album's body with all its tracks, or why it could not be had."""
        for album_id, answer in self._several("albums", album_ids, ALBUMS_A_BATCH):
            if not isinstance(answer, HarmonyError):
                answer = _or_error(partial(self._with_all_tracks, album_id, answer))
            yield album_id, answer

    def tracks(self, track_ids: Sequence[str]) -> Iterator[tuple[str, Answer]]:
        """Each track's full body, which alone has the ISRC, or why it could not be had."""
        yield from self._several("tracks", track_ids, TRACKS_A_BATCH)

    def search_artists(self, name: str) -> list[Json]:
        """The artists that Spotify finds first for a name, by one request."""
        question = Question(
            "search", "search", f"artists named “{name[:100]}”", needs=("artists.items",)
        )
        found = self._calls.ask(question, q=name, type="artist", limit=10, offset=0)
        return _items(found["artists"], question)

    def search_albums(self, text: str) -> list[Json]:
        """The albums that Spotify finds first for a query with its filters, by one request."""
        question = Question("search", "search", f"albums for {text[:200]}", needs=("albums.items",))
        found = self._calls.ask(question, q=text, type="album", limit=10, offset=0)
        return _items(found["albums"], question)

    def _several(
        self, family: str, ids: Sequence[str], batch_size: int
    ) -> Iterator[tuple[str, Answer]]:
        ids = list(dict.fromkeys(ids))
        if not self._abilities().batches:
            yield from self._one_by_one(family, ids)
            return
        for start in range(0, len(ids), batch_size):
            yield from self._batch(family, ids[start : start + batch_size])

    def _one_by_one(self, family: str, ids: Sequence[str]) -> Iterator[tuple[str, Answer]]:
        for one in ids:
            yield one, _or_error(partial(self._calls.ask, _question_about(family, one)))

    def _batch(self, family: str, ids: Sequence[str]) -> Iterator[tuple[str, Answer]]:
        question = Question(
            family, family, f"{len(ids)} {family} from {ids[0]}", needs=(family,), is_batch=True
        )
        try:
            bodies = self._calls.ask(question, ids=",".join(ids))[family]
            if not isinstance(bodies, list) or len(bodies) != len(ids):
                raise bad_answer(question, f"it does not hold {len(ids)} entries")
        except HarmonyError as error:
            if error.reason is Reason.ENDPOINT_REMOVED and self._app.loses(batches=False):
                yield from self._one_by_one(family, ids)
            else:
                yield from ((one, error) for one in ids)
            return
        for one, body in zip(ids, cast("list[object]", bodies), strict=True):
            yield one, _in_batch(family, one, body)

    def _page_size(self) -> int:
        return _LONG_PAGE if self._abilities().long_pages else SHORT_PAGE

    def _abilities(self) -> Abilities:
        return self._app.abilities(self._probe)

    def _probe(self) -> Abilities | None:
        """Ask for a batch of one: whoever may do that may ask for long pages too, or is told.

        Removed endpoints were also seen to answer 429, which may as well be meant; so it is
        believed for a while. What ends the run is raised, what may pass says nothing.
        """
        question = Question(
            "albums",
            "albums",
            "an album, to learn whether it may ask for several at once",
            needs=("albums",),
            is_batch=True,
            is_probe=True,
        )
        try:
            self._calls.ask(question, ids=_SOME_ALBUM)
        except HarmonyError as error:
            if error.reason in _MAY_NOT_BE_ASKED or error.code is ErrorCode.NOT_FOUND:
                return NONE
            if error.reason in (Reason.RATE_LIMIT, Reason.QUOTA_EXCEEDED):
                return NONE_FOR_NOW
            if concerns_everybody(error) and error.reason is not Reason.BUDGET_SPENT:
                raise
            return None
        return BATCHES

    def _with_all_tracks(self, album_id: str, body: Json) -> Json:
        """The body under the id that was asked for, with the tracks of every page."""
        question = Question(
            MORE_TRACKS,
            f"albums/{album_id}/tracks",
            f"the tracks of album {album_id}",
            needs=("items",),
            unknown=Reason.UNKNOWN_ALBUM,
        )
        page = body.get("tracks")
        if not isinstance(page, dict):
            raise bad_answer(question, "it has no `tracks`")
        seen: set[object] = set()
        tracks = _unseen(_items(page, question), seen)
        first = page.get("limit")
        offset = first if isinstance(first, int) and first > 0 else TRACKS_A_PAGE
        while page.get("next") is not None and offset < _MOST_PAGES * TRACKS_A_PAGE:
            page = self._calls.ask(question, limit=TRACKS_A_PAGE, offset=offset)
            new = _unseen(_items(page, question), seen)
            if not new:
                break
            tracks += new
            offset += TRACKS_A_PAGE
        return body | {"id": album_id, "tracks": {"items": tracks}}


@dataclass(frozen=True)
class Look:
    """How thoroughly an artist is looked at; by default all there is is listed."""

    combined: bool = False
    """Ask for all groups at once, which is cheaper where the answer fits one page; not with
    `appears_on`, whose albums Spotify no longer tells from the artist's own."""
    with_artist: bool = True
    known: Collection[str] | None = None
    """Leave each group at the first page that has one of these albums: the newest come first."""

    def questions(self, groups: tuple[str, ...]) -> list[tuple[str, ...]]:
        """The groups to ask for, each with those to ask for along with it."""
        together = self.combined and "appears_on" not in groups
        return [groups] if together else [(group,) for group in groups]


def list_artist(
    client: SpotifyClient, artist_id: str, groups: Sequence[str], look: Look = Look()
) -> ArtistCatalogue:
    """The artist and its listings without bodies; raises only if nothing at all could be read."""
    in_order = tuple(group for group in GROUPS if group in groups)
    artist = _artist(client, artist_id) if look.with_artist else None
    listed = _Listed(artist_id)
    error = None
    try:
        for asked in look.questions(in_order):
            listed.read(client, asked, look.known)
    except HarmonyError as failure:
        if artist is None and not listed.rows:
            raise
        error = failure
    return ArtistCatalogue(
        artist_id,
        in_order,
        artist=artist,
        albums=tuple(listed.rows.values()),
        complete=error is None,
        newest_only=listed.newest_only,
        capped=frozenset(listed.capped),
        error=error,
    )


def _artist(client: SpotifyClient, artist_id: str) -> Row | None:
    """The artist's row; None where the budget is spent: that of listings is another."""
    try:
        return artist_row(client.artist(artist_id))
    except HarmonyError as error:
        if error.reason is not Reason.BUDGET_SPENT:
            raise
        return None


class _Listed:
    """The rows of an artist's listings, each album in the first group that has it."""

    def __init__(self, artist_id: str) -> None:
        self._artist_id = artist_id
        self.rows: dict[str, Row] = {}
        self.capped: set[str] = set()
        self.newest_only = False

    def read(
        self, client: SpotifyClient, asked: tuple[str, ...], known: Collection[str] | None
    ) -> None:
        self.capped.update(asked)
        for items, ended in client.pages(self._artist_id, ",".join(asked)):
            rows = [
                listed_album_row(self._artist_id, group_of(item, asked), item) for item in items
            ]
            for row in rows:
                self.rows.setdefault(str(row["album_id"]), row)
            if ended:
                self.capped.difference_update(asked)
            elif known is not None and any(row["album_id"] in known for row in rows):
                self.newest_only = True
                return


@dataclass(frozen=True)
class BodiesRead:
    """What came of asking for the bodies of some albums of one artist."""

    artist_id: str
    bodies: Mapping[str, Body]
    gone: frozenset[str]
    """The albums that were listed although Spotify has no body for them."""
    errors: tuple[HarmonyError, ...] = ()


def read_bodies(client: SpotifyClient, artist_id: str, groups: Mapping[str, str]) -> BodiesRead:
    """The bodies of the albums in `groups`, each with its group, in that order.

    One album that Spotify cannot deliver does not hold up the others; a fault that is everybody's
    ends the reading.
    """
    bodies: dict[str, Body] = {}
    gone: set[str] = set()
    errors: list[HarmonyError] = []
    for album_id, answer in client.albums(list(groups)):
        try:
            bodies[album_id] = body_rows(artist_id, groups[album_id], _or_raise(answer))
        except HarmonyError as error:
            if error.code is ErrorCode.NOT_FOUND:
                gone.add(album_id)
                continue
            errors.append(error)
            if concerns_everybody(error) and not waits_for_tracks(error):
                break
    return BodiesRead(artist_id, bodies, frozenset(gone), tuple(errors))


def waits_for_tracks(error: HarmonyError) -> bool:
    """Whether only the further tracks of a long album have no budget: others have theirs."""
    is_spent = error.reason is Reason.BUDGET_SPENT
    return is_spent and error.details.get("family") == MORE_TRACKS


def concerns_everybody(error: HarmonyError) -> bool:
    """Whether the failure would meet the next artist as well: nothing more should be asked."""
    is_of_our_database = "database" in error.details  # full, locked: the artist is not at fault
    return error.code in _EVERYBODYS or error.reason is Reason.DEADLINE or is_of_our_database


def _is_page_too_long(error: HarmonyError, size: int) -> bool:
    refused = error.reason is Reason.REQUEST_REFUSED and error.details.get("status") == 400
    return size > SHORT_PAGE and refused and "limit" in error.message.lower()


def _question_about(family: str, one: str) -> Question:
    thing, unknown = _KINDS[family]
    return Question(family, f"{family}/{one}", f"{thing} {one}", needs=("id",), unknown=unknown)


_KINDS = {
    "albums": ("album", Reason.UNKNOWN_ALBUM),
    "tracks": ("track", Reason.HTTP_NOT_FOUND),
}


def _in_batch(family: str, one: str, body: object) -> Answer:
    """An entry of a batch; null stands for what Spotify does not know."""
    question = _question_about(family, one)
    if body is None:
        return HarmonyError(
            ErrorCode.NOT_FOUND,
            question.unknown,
            f"Spotify does not know {question.about}. "
            "It may have been withdrawn; check the id on open.spotify.com.",
            **question.details,
        )
    return cast("Json", body) if isinstance(body, dict) else bad_answer(question, "it is no object")


def _or_error(ask: Callable[[], Json]) -> Answer:
    try:
        return ask()
    except HarmonyError as error:
        return error


def _or_raise(answer: Answer) -> Json:
    if isinstance(answer, HarmonyError):
        raise answer
    return answer


def _items(page: Json, question: Question) -> list[Json]:
    """The page's entries without the nulls that Spotify leaves for what it withholds."""
    items = page.get("items")
    if not isinstance(items, list):
        raise bad_answer(question, "`items` is no list")
    entries = [item for item in cast("list[object]", items) if item is not None]
    if not all(isinstance(entry, dict) for entry in entries):
        raise bad_answer(question, "an entry is no object")
    return cast("list[Json]", entries)


def _unseen(items: Sequence[Json], seen: set[object]) -> list[Json]:
    """The items whose id did not come before; none is new on a page that repeats another."""
    new: list[Json] = []
    for item in items:
        key = str(item.get("id"))
        if key not in seen:
            seen.add(key)
            new.append(item)
    return new
