"""The last line that a `dagster` command prints: what the run did, or what went wrong."""

import atexit
import sys
from collections.abc import Callable

_COMMANDS = {"execute", "materialize"}


def say_last(line: str) -> None:
    """Print the line when the process of a CLI run ends, after all that Dagster logs.

    A later line takes an earlier one's place. Elsewhere the UI says it, and nothing is printed.
    """
    if _COMMANDS.intersection(sys.argv):
        _say(_print, one_line(line))


def show_before_last(show: Callable[[], None]) -> None:
    """Let something longer be printed when the process of a CLI run ends, above the last line."""
    if _COMMANDS.intersection(sys.argv):
        _shown.append(show)
        _say(_print, "")


_shown: list[Callable[[], None]] = []


def _say(how: Callable[[str], None], line: str) -> None:
    atexit.unregister(how)
    atexit.register(how, line)


def one_line(text: str) -> str:
    """The text as any terminal may print it: names and paths in it may hold anything."""
    return "".join(character if character.isprintable() else " " for character in text)


def _print(line: str) -> None:
    for show in _shown:
        show()
    if line:
        print(line, flush=True)
