import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue as Store
from harmony_pipelines.clients.catalogue import utc_text
from harmony_pipelines.clients.database import writing
from harmony_pipelines.clients.discographies import Attempt
from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.quota import Quota, QuotaLimits
from harmony_pipelines.clients.spotify import SpotifyClient
from harmony_pipelines.clients.spotify_config import SpotifyConfig
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.spotify_server import SpotifyServer
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, Reason
from harmony_pipelines.steps.refresh import Reader, Refresh, Refreshed, Target

ATTEMPT = Attempt(datetime.now(UTC), "run", "DE")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(f"sqlite:///{tmp_path}/harmony.db")
    yield store
    store.close()


class Run:
    """A refresh of a few artists, with its own deadline and the event that ends it."""

    def __init__(self, server: SpotifyServer, store: Store, artists: int = 3) -> None:
        self.server, self.store = server, store
        self.over = threading.Event()
        self.targets = [self._target(f"Artist {number}") for number in range(artists)]

    def _target(self, name: str) -> Target:
        artist_id = self.server.catalogue.add_artist(name)
        for number in range(2):
            self.server.catalogue.add_album(artist_id, f"{name} {number}", tracks=1)
        return Target(artist_id, f"key-{artist_id}", name, ("album", "single"))

    def reader(self, seconds: float = 60, artist_seconds: float = 60) -> Reader:
        config = SpotifyConfig(
            self.server.client_id,
            self.server.client_secret,
            market="DE",
            api_url=self.server.api_url,
            accounts_url=self.server.accounts_url,
        )
        deadline = Deadline.after(seconds)
        quota = Quota(self.store.engine, QuotaLimits(per_second=10_000))
        client = SpotifyClient(config, quota, Patience(deadline, self.over))
        return Reader(client, self.store, "DE", deadline, artist_seconds=artist_seconds)

    def refresh(self, reader: Reader, workers: int = 1) -> Refresh:
        return Refresh(self.store, reader.read, ATTEMPT, workers)

    def statuses(self) -> list[str]:
        by_id = {row["artist_id"]: row for row in self.store.table(tables.refresh_state)}
        found = [by_id.get(target.artist_id) for target in self.targets]
        return [row["status"] if row else "" for row in found]

    def hang(self, number: int) -> None:
        path = f"/v1/artists/{self.targets[number].artist_id}/albums"
        self.server.faults.add(path, faults.hang(), times=None)


@pytest.fixture
def run(server: SpotifyServer, store: Store) -> Run:
    return Run(server, store)


def test_one_slow_artist_does_not_stop_the_run(run: Run) -> None:
    run.hang(1)
    work = run.refresh(run.reader(artist_seconds=0.6))
    done = list(work.artists(run.targets))
    assert [result.saved.status for result in done] == ["deferred", "partial", "deferred"]
    assert work.stopped is None
    error = done[1].brought.error
    assert error
    assert error.code is ErrorCode.DEADLINE_EXCEEDED


def test_when_the_run_s_time_is_over_what_is_done_stays_and_the_rest_stays_due(run: Run) -> None:
    run.hang(1)
    work = run.refresh(run.reader(seconds=1.0))
    began = time.monotonic()
    done = list(work.artists(run.targets))
    assert time.monotonic() - began < 2
    assert done[0].saved.status == "deferred"
    assert work.stopped
    assert (work.stopped.code, work.stopped.reason) in {
        (ErrorCode.DEADLINE_EXCEEDED, Reason.DEADLINE),
        (ErrorCode.DEADLINE_EXCEEDED, Reason.TIMEOUT),
    }
    assert run.statuses()[2] == ""
    assert run.statuses()[1] in ("", "deferred")
    assert run.server.count("artist_albums") <= 4


def test_calls_end_at_once_when_the_run_is_over(run: Run) -> None:
    run.hang(0)
    work = run.refresh(run.reader(), workers=2)
    threading.Timer(0.3, run.over.set).start()
    began = time.monotonic()
    done = list(work.artists(run.targets[:1]))
    assert time.monotonic() - began < 1
    assert [result.saved.status for result in done] == ["deferred"]
    assert work.stopped
    assert work.stopped.reason is Reason.RUN_OVER


def test_a_caller_that_leaves_ends_the_work(run: Run) -> None:
    work = run.refresh(run.reader())
    results = work.artists(run.targets)
    first: Refreshed = next(results)
    results.close()
    run.over.set()
    assert first.saved.status == "deferred"
    time.sleep(0.3)
    asked = run.server.count()
    time.sleep(0.3)
    assert run.server.count() == asked


def test_several_workers_refresh_everybody_once(server: SpotifyServer, store: Store) -> None:
    run = Run(server, store, artists=12)
    done = list(run.refresh(run.reader(), workers=4).artists(run.targets))
    assert sorted(result.target.name for result in done) == sorted(t.name for t in run.targets)
    assert run.statuses() == ["deferred"] * 12
    assert server.count("artists") == 12


def test_the_artist_is_asked_for_again_once_in_a_while_and_may_have_another_name(run: Run) -> None:
    [target, *_] = run.targets
    list(run.refresh(run.reader()).artists([target]))
    run.server.catalogue.artists[target.artist_id].name = "Another Name"
    list(run.refresh(run.reader()).artists([target]))
    [row] = run.store.table(tables.spotify_artists)
    assert row["name"] == "Artist 0"
    run.store.save(tables.spotify_artists, [{**row, "fetched_at": "2000-01-01T00:00:00Z"}])
    list(run.refresh(run.reader()).artists([target]))
    assert run.store.table(tables.spotify_artists)[0]["name"] == "Another Name"


def test_a_followed_group_that_was_added_is_listed_to_its_end(run: Run) -> None:
    [target, *_] = run.targets
    for number in range(15):
        run.server.catalogue.add_album(
            target.artist_id, f"Best {number}", album_type="compilation", tracks=1
        )
    list(run.refresh(run.reader()).artists([target]))
    wider = replace(target, groups=("album", "single", "compilation"))
    list(run.refresh(run.reader()).artists([wider]))
    assert len(run.store.table(tables.spotify_albums)) == 17
    assert run.store.table(tables.new_releases) == []


@pytest.mark.parametrize(
    ("minutes", "is_refreshed"),
    [
        pytest.param(-2, True, id="before this run"),
        pytest.param(0, False, id="meanwhile, by another run"),
        pytest.param(60, True, id="by a clock that was since set back"),
    ],
)
def test_an_artist_is_left_to_a_run_that_refreshed_them_meanwhile(
    run: Run, minutes: int, is_refreshed: bool
) -> None:
    list(run.refresh(run.reader()).artists(run.targets[:1]))
    at = utc_text(datetime.now(UTC) + timedelta(minutes=minutes))
    with writing(run.store.engine) as connection:
        connection.execute(tables.refresh_state.update().values(last_attempt_at=at))
    begun = replace(ATTEMPT, now=datetime.now(UTC) - timedelta(minutes=1))

    work = Refresh(run.store, run.reader().read, begun, workers=1, again=False)

    assert bool(list(work.artists(run.targets[:1]))) is is_refreshed
