"""Sends what waits in the outbox, in a process of its own.

A service may hang in ways that no timeout of a library bounds, so the system's alarm ends the
process. A run waits for it at its end; a tick only starts it, and calls nobody itself.
"""

import json
import signal
import subprocess
from collections.abc import Mapping
from contextlib import closing, suppress
from datetime import UTC, datetime
from typing import NamedTuple

from harmony_pipelines.clients import outbox
from harmony_pipelines.clients.catalogue import Catalogue, Row
from harmony_pipelines.clients.processes import module_command
from harmony_pipelines.domain.errors import HarmonyError
from harmony_pipelines.domain.notices import FAILURE, HEARTBEAT, REMINDER
from harmony_pipelines.settings import Settings, load_settings

LONGEST_SECONDS = 20
"""How long sending may take in all; what is left then waits for the next time."""

BEGUN: list[subprocess.Popen[bytes]] = []
"""What was started and perhaps still sends: one at a time is enough."""


class Counts(NamedTuple):
    """How many messages were sent, and how many are kept for another try."""

    sent: int
    kept: int


def send(seconds: float = LONGEST_SECONDS) -> Counts | None:
    """Send what is due and wait for it; None if that took too long to say what came of it."""
    command, environment = module_command("harmony_pipelines.steps.send")
    with suppress(subprocess.TimeoutExpired, OSError, ValueError):
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
        return Counts(*json.loads(done.stdout))
    return None


def begin_sending() -> None:
    """Start to send what is due, and do not wait for it."""
    BEGUN[:] = [process for process in BEGUN if process.poll() is None]
    if BEGUN:
        return
    command, environment = module_command("harmony_pipelines.steps.send")
    with suppress(OSError):
        BEGUN.append(
            subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )


def main() -> None:
    """Send, and print the counts as JSON."""
    signal.alarm(LONGEST_SECONDS)  # nothing here catches it: the system ends the process
    with suppress(HarmonyError):
        settings = load_settings()
        with closing(Catalogue.open(settings.database_url)) as store:
            sent = send_due(settings, store)
            print(json.dumps(Counts(sent, outbox.waiting(store))))


def send_due(settings: Settings, store: Catalogue) -> int:
    """Send service by service, each until it does not take a message; how many messages went."""
    from harmony_pipelines.clients.services import be_silent

    be_silent()
    urls = {outbox.service_of(url): url for url in settings.notify_urls}
    if settings.heartbeat_url:
        urls[HEARTBEAT] = settings.heartbeat_url
    sent = 0
    while rows := outbox.claim(store, urls, datetime.now(UTC)):
        for row in rows:
            if not _was_taken(urls, row):
                break
            outbox.taken(store, row)
            sent += row["event"] != HEARTBEAT
    return sent


def _was_taken(urls: Mapping[str, str], row: Row) -> bool:
    from harmony_pipelines.clients.services import deliver, ping

    url = urls[row["service"]]
    if row["event"] == HEARTBEAT:
        return ping(url)
    is_bad = row["event"] in (FAILURE, REMINDER)
    return deliver(url, row["title"], row["body"], outbox.as_data(row), is_bad=is_bad)


if __name__ == "__main__":
    main()
