"""A test message to each service that notifications go to, sent as all messages are.

Run as a program it sends and prints a line for each service as soon as it has answered: a child
process, as a service may hang in ways that no timeout of a library bounds.
"""

import json
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from harmony_pipelines.clients.processes import module_command
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason
from harmony_pipelines.domain.notices import TEST
from harmony_pipelines.domain.setup import Finding, good, noted, wrong
from harmony_pipelines.settings import Settings, load_settings
from harmony_pipelines.steps.send import LONGEST_SECONDS

SUBJECT = "Notifications"
_AT_ONCE = 8
_TITLE, _BODY = "A test", "This is how Harmony Pipelines will tell you of what goes wrong."


def check_notifications(settings: Settings, seconds: float = LONGEST_SECONDS) -> list[Finding]:
    """Whether each service takes a message; its address, which holds secrets, is not shown."""
    if not settings.notify_urls:
        return [
            noted(
                SUBJECT,
                "Nobody is told of what goes wrong: HARMONY_NOTIFY_URLS is not set.",
                "Set it to the Apprise address of a service you read, such as ntfy://host/topic.",
            )
        ]
    told = {each["number"]: each for each in _sent(seconds)}
    return [
        _finding(number, url.partition(":")[0], told.get(number), seconds)
        for number, url in enumerate(settings.notify_urls, start=1)
    ]


def _sent(seconds: float) -> list[dict[str, Any]]:
    """What the services that answered in time said."""
    command, environment = module_command(__name__)
    child = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        printed, _ = child.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        child.kill()
        printed, _ = child.communicate()
    return [json.loads(line) for line in printed.splitlines(keepends=True) if line.endswith(b"\n")]


def _finding(number: int, kind: str, told: dict[str, Any] | None, seconds: float) -> Finding:
    address = f"address {number} of HARMONY_NOTIFY_URLS ({kind}://…)"
    if told is None:
        fault = f"Look whether the service of {address} is up: it took longer than {seconds:g} s."
        error = HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.CONNECTION_FAILED, fault)
        return wrong(SUBJECT, error, "no answer")
    if not told["is_known"]:
        fault = (
            f"Correct {address}: Apprise makes no service of it. How the addresses of {kind}:// "
            "are written, and which kinds there are: https://appriseit.com/services/"
        )
        error = HarmonyError(ErrorCode.VALIDATION_ERROR, Reason.SETTING, fault)
        return wrong(SUBJECT, error, "no such service")
    if not told["is_taken"]:
        fault = f"Compare host, user and token of {address} with what the service says they are."
        error = HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.REQUEST_REFUSED, fault)
        return wrong(SUBJECT, error, "The test message was refused, or nobody is there.")
    return good(SUBJECT, f"The service of {address} took a test message.")


def main() -> None:
    """Send a test message to each service; a line of JSON says how each took it."""
    from harmony_pipelines.clients.services import be_silent

    signal.alarm(LONGEST_SECONDS)  # should the parent be gone
    be_silent()
    urls = enumerate(load_settings().notify_urls, start=1)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        _ = [*pool.map(_send, urls)]


def _send(numbered: tuple[int, str]) -> None:
    from harmony_pipelines.clients.services import deliver, is_known

    number, url = numbered
    data = {"event": TEST, "code": None, "run_id": None, "counts": {}, "items": []}
    known = is_known(url)
    taken = known and deliver(url, _TITLE, _BODY, data, is_bad=False)
    _say({"number": number, "is_known": known, "is_taken": taken})


def _say(told: dict[str, Any]) -> None:
    print(f"{json.dumps(told)}\n", end="", flush=True)


if __name__ == "__main__":
    main()
