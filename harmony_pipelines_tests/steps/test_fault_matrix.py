"""Every way in which Spotify can fail an artist: what it is called, costs and leaves behind.

`-s -n 0` prints the table.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.clients.discographies import Attempt
from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.clients.spotify import SpotifyClient
from harmony_pipelines.clients.spotify_config import SpotifyConfig
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.steps.refresh import Reader, Refresh, Target

_SECONDS = 60.0
_LISTING = "/v1/artists/{bad}/albums*include_groups=single*"
_ARTIST = "/v1/artists/{bad}?"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path}/harmony.db")
    yield store
    store.close()


@pytest.mark.parametrize(
    ("name", "where", "fault", "error", "tries", "status", "goes_on"),
    [
        ("429, 1 s", _LISTING, faults.rate_limited(1), "RATE_LIMITED rate_limit", 3, "deferred", 0),
        (
            "429, QUOTA_EXCEEDED, 49861 s",
            _LISTING,
            faults.rate_limited(49_861, quota=True),
            "RATE_LIMITED quota_exceeded",
            1,
            "deferred",
            0,
        ),
        (
            "429, HTTP date",
            _LISTING,
            faults.rate_limited(datetime.now(UTC) + timedelta(hours=2)),
            "RATE_LIMITED rate_limit",
            1,
            "deferred",
            0,
        ),
        (
            "429, no Retry-After",
            _LISTING,
            faults.rate_limited(None),
            "RATE_LIMITED rate_limit",
            3,
            "deferred",
            0,
        ),
        (
            "429, from the token endpoint",
            "token",
            faults.rate_limited(600),
            "RATE_LIMITED rate_limit",
            1,
            "never",
            0,
        ),
        ("401", _LISTING, faults.token_expired(), "AUTH_REQUIRED token_refused", 2, "deferred", 0),
        (
            "403, Premium lapsed",
            _LISTING,
            faults.premium_lapsed(),
            "AUTH_REQUIRED premium_lapsed",
            1,
            "deferred",
            0,
        ),
        (
            "403, endpoint removed",
            _LISTING,
            faults.forbidden(),
            "AUTH_REQUIRED forbidden",
            1,
            "deferred",
            0,
        ),
        (
            "404, empty, of the artist",
            _ARTIST,
            faults.empty_not_found(),
            "NOT_FOUND unknown_artist",
            1,
            "gone",
            1,
        ),
        ("503", _LISTING, faults.server_error(), "DEPENDENCY_ERROR server_error", 3, "partial", 1),
        ("503", _ARTIST, faults.server_error(), "DEPENDENCY_ERROR server_error", 3, "failed", 1),
        (
            "connection reset",
            _LISTING,
            faults.connection_reset(),
            "DEPENDENCY_ERROR connection_failed",
            3,
            "partial",
            1,
        ),
        (
            "HTML with 200",
            _LISTING,
            faults.html_page(),
            "DEPENDENCY_ERROR bad_answer",
            3,
            "partial",
            1,
        ),
        (
            "truncated JSON",
            _LISTING,
            faults.half_body(),
            "DEPENDENCY_ERROR bad_answer",
            3,
            "partial",
            1,
        ),
        (
            "slow drip",
            _LISTING,
            faults.slow_drip(),
            "DEADLINE_EXCEEDED timeout",
            3,
            "partial",
            1,
        ),
    ],
)
def test_a_fault_has_a_name_a_price_and_an_end(  # noqa: PLR0913  a row of the table
    server: SpotifyServer,
    store: Store,
    name: str,
    where: str,
    fault: faults.Fault,
    error: str,
    tries: int,
    status: str,
    goes_on: int,
) -> None:
    bad, good = (server.catalogue.add_artist(each) for each in ("Bad", "Good"))
    for artist_id in (bad, good):
        server.catalogue.add_album(artist_id, "Album", album_type="album")
        server.catalogue.add_album(artist_id, "Single", album_type="single")
    pattern = where.format(bad=bad)
    server.faults.add(pattern, fault, times=None)
    waits: list[float] = []
    deadline = Deadline.after(_SECONDS)
    client = _client(server, store, deadline, waits)
    reader = Reader(client, store, "DE", deadline)
    work = Refresh(store, reader.read, Attempt(datetime.now(UTC), "run", "DE"), workers=1)
    targets = [Target(each, each, each, ("album", "single")) for each in (bad, good)]
    done = {each.target.artist_id: each for each in work.artists(targets)}

    states = {row["artist_id"]: row for row in store.table(tables.refresh_state)}
    told = done[bad].brought.error if bad in done else work.stopped
    asked = _asked(server, where, bad)
    found = states[bad]["status"] if bad in states else ""
    print(f"| {name} | {error} | {asked} | {found} | {'no' if goes_on else 'once'} |")
    assert told
    assert f"{told.code} {told.reason}" == error
    assert asked == tries
    assert found == status
    assert (good in done) == bool(goes_on) == (work.stopped is None)
    kept = {row["name"] for row in store.table(tables.spotify_albums) if row["artist_id"] == bad}
    assert kept == ({"Album"} if where == _LISTING else set())
    assert sum(waits) < _SECONDS


def _client(
    server: SpotifyServer, store: Store, deadline: Deadline, waits: list[float]
) -> SpotifyClient:
    """A client that waits in its own time; a call may take half a second of ours."""
    config = SpotifyConfig(
        server.client_id,
        server.client_secret,
        market="DE",
        profile="development",
        api_url=server.api_url,
        accounts_url=server.accounts_url,
        call_seconds=0.5,
    )
    began = datetime.now(UTC).timestamp()
    limits = QuotaLimits(per_second=1000)
    quota = Quota(store.engine, limits, clock=lambda: began + sum(waits))
    return SpotifyClient(config, quota, Patience(deadline, sleep=waits.append))


def _asked(server: SpotifyServer, where: str, artist_id: str) -> int:
    """How many of the requests that the fault spoils were made."""
    return sum(
        (where == "token" and request.family == "token")
        or (where == _ARTIST and request.path.endswith(artist_id))
        or (
            where == _LISTING
            and artist_id in request.path
            and request.query.get("include_groups") == "single"
        )
        for request in server.requests
    )
