"""A `make dev` left to itself for a while, and a world that changes under it: what it did of it.

    python -m harmony_pipelines_tests.lifecycle.story FOLDER [MINUTES]

Everything is switched on in the UI's way, then only the world is touched: the watchlist, the
library (by a real `beet import`), the clock of what is due, the server, our own processes. What
happened by itself is read from Dagster afterwards and written to FOLDER/story.txt.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

import dagster as dg

from harmony_pipelines.clients.catalogue import utc_text
from harmony_pipelines.definitions import defs
from harmony_pipelines.demo import faults
from harmony_pipelines.demo.entities import spotify_id
from harmony_pipelines.demo.library import make_library
from harmony_pipelines.demo.library_data import LibraryAlbum, LibraryTrack
from harmony_pipelines.runs import WORKER_TAG
from harmony_pipelines_tests.lifecycle.dev_process import LOCATION, Dev, dev, wait_until
from harmony_pipelines_tests.lifecycle.user import User
from harmony_pipelines_tests.webhook import Webhook, webhook

_EVERY = {"REFRESH": "*/3 * * * *", "EMBED": "*/10 * * * *", "RETENTION": "*/20 * * * *"}
_START = """
mutation($s: {kind}Selector!) {{ start{kind}({word}Selector: $s) {{ __typename }} }}
"""
_THREE = "artists:\n  - Lumen Tide\n  - 渚サーキット\n  - The Paper Astronomers\n"


class World:
    """What the script changes while nobody looks."""

    def __init__(self, user: User, running: Dev) -> None:
        self.user = user
        self.running = running
        self.told: list[tuple[datetime, str]] = []

    def say(self, what: str) -> None:
        self.told.append((datetime.now(UTC), what))
        print(f"{datetime.now(UTC):%H:%M:%S} {what}", flush=True)

    def watch(self, text: str) -> None:
        watchlist = self.user.home.database.parent / "watchlist.yaml"
        watchlist.write_text(text, encoding="utf-8")

    def switch_on(self) -> None:
        repository = defs.get_repository_def()
        for kind, each in (
            *(("Schedule", each) for each in repository.schedule_defs),
            *(("Sensor", each) for each in repository.sensor_defs),
        ):
            selector = {
                "repositoryLocationName": LOCATION,
                "repositoryName": "__repository__",
                f"{kind.lower()}Name": each.name,
            }
            query = _START.format(kind=kind, word=kind.lower())
            answer = self.running.ask(query, s=selector)
            assert "Error" not in json.dumps(answer), answer

    def import_album(self, key: str) -> None:
        """Import an album of the catalogue as a user does, by `beet import`."""
        album = self.user.server.catalogue.albums[spotify_id("album", key)]
        artist = self.user.server.catalogue.artists[album.artist_ids[0]].name
        tracks = tuple(
            LibraryTrack(number, each.name, artist, each.duration_ms or 0, "")
            for number, each in enumerate(album.tracks, start=1)
        )
        fields = {"barcode": album.upc or "", "mb_albumid": "", "mb_releasegroupid": ""}
        bought = LibraryAlbum(
            key=key,
            album_id=album.album_id,
            albumartist=artist,
            album=album.name,
            audio_format="flac",
            year=int(album.release_date[:4]),
            cover="",
            tracks=tracks,
            **fields,
        )
        folder = self.user.home.folder / f"bought-{key}"
        folder.mkdir()
        made = make_library(folder, [bought], with_oddities=False)
        library = self.user.home.library
        command = [str(Path(sys.executable).with_name("beet")), "-l", str(library)]
        command += ["-d", str(self.user.home.music), "import", "-q", "-A", "--copy"]
        environment = {**os.environ, "BEETSDIR": str(folder), "HOME": str(folder)}
        subprocess.run(
            [*command, str(made.music_directory)],
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=120,
            check=True,
        )

    def let_time_pass(self, status: str = "%") -> None:
        """What is due some day is due now: this stands for the days that the story has not."""
        with closing(sqlite3.connect(self.user.home.database)) as database, database:
            past = utc_text(datetime.now(UTC) - timedelta(minutes=1))
            database.execute(
                "UPDATE refresh_state SET next_due_at = ? WHERE next_due_at > ? AND status LIKE ?",
                (past, past, status),
            )

    def let_an_hour_pass_for_failed_artists(self) -> None:
        """Once one has failed, in a pause between two runs of the schedule; until it was tried."""
        failed = "SELECT artist_id FROM refresh_state WHERE status = 'failed'"
        wait_until(lambda: self.user.rows(failed) and not self._workers() and _is_pause(), 600)
        self.let_time_pass("failed")
        wait_until(lambda: not self.user.rows(failed), 300)

    def kill_run(self) -> None:
        """Kill the process in which a refresh is at work, as soon as there is one."""
        self._kill(wait_until(self._workers, 300))

    def _workers(self) -> list[int]:
        at_work = dg.RunsFilter(
            job_name="refresh_catalogue", statuses=[dg.DagsterRunStatus.STARTED]
        )
        with self.user.instance() as instance:
            tags = [run.tags.get(WORKER_TAG) for run in instance.get_runs(filters=at_work)]
        return [int(worker.split(":")[-2]) for worker in tags if worker]

    def kill_daemon(self) -> None:
        """Kill the daemon of `make dev`."""
        lines = self.running.processes().items()
        self._kill([pid for pid, line in lines if "dagster._daemon" in line])

    def _kill(self, found: list[int]) -> None:
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        self.say(f"  (killed: {len(found)} processes)")


def _is_pause() -> bool:
    """Whether the schedule has just been, so that sensors look before it does."""
    now = datetime.now(UTC)
    return 15 < now.minute % 3 * 60 + now.second < 90


def chapters(world: World) -> Iterator[tuple[float, str, Callable[[], object]]]:
    """When (as a share of the story), what is done to the world, and how."""
    server, add = world.user.server, world.user.server.faults.add
    more = f"{_THREE}  - Studio Marigold\n"
    yield 0.12, "the watchlist gets a fourth artist", lambda: world.watch(more)
    yield (
        0.20,
        "Lumen Tide releases Spring Tide, and a day passes",
        lambda: (
            server.catalogue.publish("spring-tide"),
            world.let_time_pass(),
        ),
    )
    yield 0.28, "an album is imported by `beet import`", lambda: world.import_album("low-tide")
    yield (
        0.38,
        "the watchlist is saved with a fault in it",
        lambda: world.watch(f"{more}  - {{artist: [\n"),
    )
    yield (
        0.44,
        "the watchlist is mended; Studio Marigold is taken off it",
        lambda: world.watch(_THREE),
    )
    yield (
        0.50,
        "the server fails for one artist, and a day passes",
        lambda: (
            add(
                f"/v1/artists/{spotify_id('artist', 'nagisa-circuit')}", faults.server_error(), None
            ),
            world.let_time_pass(),
        ),
    )
    yield (
        0.58,
        "the server is well again, and the hour until another try passes",
        lambda: (
            server.faults.clear(),
            world.let_an_hour_pass_for_failed_artists(),
        ),
    )
    yield (
        0.66,
        "the server says 429, Retry-After 150; a day passes",
        lambda: (
            add("artist_albums", faults.rate_limited(150), 1),
            world.let_time_pass(),
        ),
    )
    yield (
        0.74,
        "the server takes calls and never answers; a day passes",
        lambda: (
            add("artist_albums", faults.hang(), None),
            world.let_time_pass(),
        ),
    )
    yield (
        0.80,
        "the run at work is killed, the server is well",
        lambda: (
            world.kill_run(),
            server.faults.clear(),
        ),
    )
    yield 0.86, "the daemon is killed", world.kill_daemon
    yield (
        0.90,
        "another album is imported, while the daemon comes back",
        lambda: world.import_album("perihelion"),
    )


def tell(user: User, world: World, hook: Webhook, began: datetime) -> str:
    """Everything that happened, by time: what was done to the world, ticks, runs, messages."""
    lines = [(at, f"WORLD   {what}") for at, what in world.told]
    with user.instance() as instance:
        for state in instance.all_instigator_state():
            lines += _ticks(instance, state)
        for record in instance.get_run_records():
            lines += _run(instance, record)
    lines += [
        (at, f"MESSAGE {each['event']} {each['code'] or ''}: {each['title']} - {each['message']}")
        for at, each in zip(hook.times, hook.messages, strict=True)
    ]
    lines = [line for line in sorted(lines) if line[0] >= began]
    end = f"heartbeats: {hook.beats}; requests to Spotify: {user.server.count()}"
    return "\n".join([*(f"{at:%H:%M:%S} {what}" for at, what in lines), end, ""])


def _ticks(instance: dg.DagsterInstance, state: Any) -> Iterator[tuple[datetime, str]]:
    ticks = [*instance.get_ticks(state.instigator_origin_id, state.selector_id)]
    ticks.sort(key=lambda tick: tick.timestamp)

    def what(tick: Any) -> str:
        if tick.run_ids:
            return f"started {', '.join(run_id[:8] for run_id in tick.run_ids)}"
        said = tick.skip_reason or (tick.error.message if tick.error else "")
        return f"{tick.status.value.lower()}: {said}"

    for said, same in groupby(ticks, what):
        alike = [*same]
        times = f" (x{len(alike)})" if len(alike) > 1 else ""
        yield (
            datetime.fromtimestamp(alike[0].timestamp, UTC),
            f"TICK    {state.name}{times}: {said}",
        )


def _run(instance: dg.DagsterInstance, record: dg.RunRecord) -> Iterator[tuple[datetime, str]]:
    run = record.dagster_run
    name = f"RUN     {run.job_name} {run.run_id[:8]}"
    began = record.create_timestamp.astimezone(UTC)
    yield began, f"{name} by {run.tags.get('harmony/started_by', '?')}"
    if record.end_time:
        logged = [entry for entry in instance.all_logs(run.run_id) if not entry.dagster_event]
        failed = [
            entry.dagster_event.message or ""
            for entry in instance.all_logs(run.run_id)
            if entry.dagster_event and entry.dagster_event.is_failure
        ]
        said = failed[-1:] or [entry.user_message for entry in logged[-1:]]
        last = " ".join((said or [""])[0].split())[:300]
        yield datetime.fromtimestamp(record.end_time, UTC), f"{name} {run.status.value}: {last}"


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    minutes = float(sys.argv[2]) if len(sys.argv) > 2 else 30.0
    folder.mkdir(parents=True)
    began = datetime.now(UTC)
    with User(folder) as user, webhook() as hook:
        user.environment |= {f"HARMONY_{name}_CRON": cron for name, cron in _EVERY.items()}
        user.environment |= {
            "HARMONY_NOTIFY_URLS": hook.url(),
            "HARMONY_NOTIFY_ON": "failure,recovery,new_releases,artwork,review",
            "HARMONY_HEARTBEAT_URL": hook.heartbeat_url,
            "HARMONY_UI_PORT": "0",
        }
        with dev(user.environment) as running:
            world = World(user, running)
            world.watch(_THREE)
            world.switch_on()
            world.say(f"everything is switched on at {running.address}; nobody touches it again")
            start = time.monotonic()
            for share, what, do in chapters(world):
                time.sleep(max(0.0, start + share * minutes * 60 - time.monotonic()))
                world.say(what)
                do()
            time.sleep(max(0.0, start + minutes * 60 - time.monotonic()))
            world.say("the end: SIGTERM")
            said = running.stop()
        (folder / "make-dev.log").write_text(said, encoding="utf-8")
        told = tell(user, world, hook, began)
    (folder / "story.txt").write_text(told, encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
