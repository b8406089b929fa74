"""Does what a tick of the schedule does, each time in a process of its own.

The steps are those of `refresh_catalogue`; only the machine's clock is another: it stands still but
for the waits, which it leaps over. Orders come as lines of JSON, answers go the same way.
"""

import json
import os
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import time_machine

from harmony_pipelines.clients.backlog import Backlog
from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.clients.discographies import Attempt, due_artists, least_recently_listed
from harmony_pipelines.clients.patience import Patience
from harmony_pipelines.clients.spotify import SpotifyClient
from harmony_pipelines.clients.spotify_session import BoundedSession
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import HarmonyError, Reason
from harmony_pipelines.domain.library_artists import LibraryArtists
from harmony_pipelines.ops.catalogue import MOST_ARTISTS
from harmony_pipelines.resources import SpotifyResource
from harmony_pipelines.settings import Settings, load_settings
from harmony_pipelines.steps import watch
from harmony_pipelines.steps.backlog import BodyWork
from harmony_pipelines.steps.pending import is_any_due
from harmony_pipelines.steps.refresh import Reader, Refresh, targets_of
from harmony_pipelines.steps.ticks import why_not_refresh
from harmony_pipelines_tests.soak.clock import Clock

_SHARE = 0.9
_SHORTEST_WAIT = 0.001

_IMPORTED_BEFORE_THE_FORK = (BoundedSession,)
"""What a run imports when it needs it: once is enough here."""

Order = dict[str, Any]
Sleep = Callable[[float], object]


def tick(order: Order, sleep: Sleep) -> Order:
    """What came of one tick: why nothing was started, or what the run did."""
    settings = load_settings()
    why = None if order["sweep"] else why_not_refresh(settings, datetime.now(UTC))
    if why:
        return {"skipped": why}
    store = Catalogue.open(settings.database_url, _dying_at(order["dies_at_commit"]))
    limit = Deadline.after(_SHARE * settings.run_max_seconds, clock=time.time)
    client = _client(settings, store, Patience(limit, sleep=sleep))
    sources = watch.Sources(lambda: client, lambda _: Counter(), LibraryArtists, lambda _: None)
    read = watch.read(settings, store, sources, datetime.now(UTC))
    stopped = read.stopped
    if stopped is None or stopped.reason is Reason.BUDGET_SPENT:
        stopped = _refresh(order, settings, store, client, limit)
    return {"stopped": str(stopped.reason) if stopped else None}


def _refresh(
    order: Order, settings: Settings, store: Catalogue, client: SpotifyClient, limit: Deadline
) -> HarmonyError | None:
    """List who is due, then read the bodies that wait; what ended it before its end."""
    is_sweep = order["sweep"] > 0
    reader = Reader(client, store, settings.spotify_market(), limit, is_sweep)
    attempt = Attempt(datetime.now(UTC), str(order["number"]), reader.market)
    workers = settings.spotify_concurrency
    listings = Refresh(store, reader.read, attempt, workers, again=is_sweep)
    rows = (
        least_recently_listed(store, min(order["sweep"], MOST_ARTISTS))
        if is_sweep
        else due_artists(store, datetime.now(UTC), MOST_ARTISTS)
    )
    for _ in listings.artists(targets_of(rows)):
        pass
    stopped = listings.stopped
    is_full = len(rows) >= MOST_ARTISTS and is_any_due(store, datetime.now(UTC))
    if is_full or (stopped and stopped.reason is not Reason.BUDGET_SPENT):
        return stopped
    waiting = Backlog(store, datetime.now(UTC))
    bodies = BodyWork(client, store, waiting, limit, limit, workers)
    for _ in bodies.artists():
        pass
    return stopped or bodies.stopped


def _client(settings: Settings, store: Catalogue, patience: Patience) -> SpotifyClient:
    """As Dagster's resource opens it, but for the waits."""
    resource = SpotifyResource()
    quota, app = resource.quota(settings, store), resource.app(settings, store)
    return SpotifyClient(resource.config(settings), quota, patience, app)


def _dying_at(commit: int | None) -> Callable[[], None]:
    """A guard that kills its own process right before so manieth a commit."""
    commits = 0

    def guard() -> None:
        nonlocal commits
        commits += 1
        if commits == commit:
            os.kill(os.getpid(), signal.SIGKILL)

    return guard


def _in_its_time(clock: Clock, order: Order) -> Order:
    at = datetime.fromtimestamp(order["at"], UTC)
    with time_machine.travel(at, tick=False) as traveller:
        clock.now, clock.pid = time.time(), os.getpid()

        def sleep(seconds: float) -> None:
            traveller.shift(max(seconds, _SHORTEST_WAIT))
            clock.now = time.time()

        return tick(order, sleep)


def _in_a_process_of_its_own(clock: Clock, order: Order) -> Order:
    said, say = os.pipe()
    pid = os.fork()
    if not pid:
        status = 1
        try:
            os.write(say, json.dumps(_in_its_time(clock, order)).encode())
            status = 0
        except Exception:  # noqa: BLE001 - whatever it is, the one who gave the order is told
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(say)
    with open(said) as answer:  # noqa: PTH123 - it has no path
        told = answer.read()
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    clock.pid = 0
    if status == -signal.SIGKILL:
        return {"killed": True}
    if status:
        raise SystemExit(f"The run of {order} ended with {status}.")
    return json.loads(told)


def main() -> None:
    """Take orders until there are no more."""
    clock = Clock(Path(sys.argv[1]))
    for line in sys.stdin:
        print(json.dumps(_in_a_process_of_its_own(clock, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
