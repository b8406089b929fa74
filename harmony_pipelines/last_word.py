"""The last line that a `dagster` command prints: what the run did, or what went wrong."""

import atexit
import sys

_COMMANDS = {"execute", "materialize"}


def say_last(line: str) -> None:
    """Print the line when the process of a CLI run ends, after all that Dagster logs.

    A later line takes an earlier one's place. Elsewhere the UI says it, and nothing is printed.
    """
    if _COMMANDS.intersection(sys.argv):
        atexit.unregister(_print)
        atexit.register(_print, one_line(line))


def one_line(text: str) -> str:
    """The text as any terminal may print it: names and paths in it may hold anything."""
    return "".join(character if character.isprintable() else " " for character in text)


def _print(line: str) -> None:
    print(line, flush=True)
