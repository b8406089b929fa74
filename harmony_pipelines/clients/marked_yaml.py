"""Reading the YAML files a user writes: every scalar stays text, every fault has its place."""

import difflib
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

MAX_BYTES = 1024 * 1024
_MAX_DEPTH = 8
_FAULTS_SHOWN = 10
_FAULTS_LISTED = 100
_LOADER: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_UNPRINTABLE = re.compile(
    "[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)
_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")
_QUOTES_HINT = "put a name that begins with * & ! or % into quotes"


class Place(NamedTuple):
    """Where in a file, counted from 1."""

    line: int
    column: int

    @classmethod
    def of(cls, mark: Any) -> "Place":
        """The place of PyYAML's mark."""
        return cls(mark.line + 1, mark.column + 1)

    @classmethod
    def at_end_of(cls, before: str) -> "Place":
        """The place that comes after the text `before`."""
        return cls(before.count("\n") + 1, len(before) - before.rfind("\n"))


class UserFile:
    """A YAML file that a user wrote, and all that is wrong with it."""

    def __init__(self, path: Path, reason: Reason) -> None:
        self._path = path
        self._reason = reason
        self._faults: list[tuple[Place, str]] = []

    def root(self) -> yaml.Node | None:
        """What the file holds, None if that is nothing; FileNotFoundError is the caller's."""
        text = self._text()
        try:
            self._refuse_traps(text)
            self.refuse_if_faulty()
            return yaml.compose(text, _LOADER)
        except yaml.MarkedYAMLError as error:
            raise self._not_yaml(text, error) from error

    def fault(self, where: yaml.Node, message: str) -> None:
        """Note what is wrong at a node."""
        self._faults.append((Place.of(where.start_mark), message))

    def refuse_if_faulty(self) -> None:
        """Raise one VALIDATION_ERROR with every fault noted so far."""
        if self._faults:
            raise self._refusal(self._faults)

    def refusal(self, message: str) -> HarmonyError:
        """A VALIDATION_ERROR about the file as a whole."""
        return HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            self._reason,
            f"{self._path}: {message}",
            path=str(self._path),
        )

    def mapping(self, node: yaml.Node, known: Sequence[str]) -> dict[str, yaml.Node]:
        """The known keys of a mapping; faults are noted for all that is otherwise."""
        found: dict[str, yaml.Node] = {}
        for key, key_node, value in self.pairs(node, f"a mapping with {', '.join(known)}"):
            if key in known:
                found[key] = value
            else:
                self.fault(key_node, f"unknown key {key[:60]!r}; {_nearest(key, known)}")
        return found

    def pairs(self, node: yaml.Node, must_be: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        """Each key as text, its node and its value; a key that comes twice is a fault."""
        seen: dict[str, Place] = {}
        for key_node, value in self._mapped(node, must_be):
            key = self.text(key_node, "a key")
            if key is None:
                continue
            if key in seen:
                self.fault(key_node, f"{key[:60]!r} is already given in line {seen[key].line}")
                continue
            seen[key] = Place.of(key_node.start_mark)
            yield key, key_node, value

    def items(self, node: yaml.Node, must_be: str) -> list[yaml.Node]:
        """The items of a list."""
        if isinstance(node, yaml.SequenceNode):
            return node.value
        self.fault(node, f"must be {must_be}")
        return []

    def text(self, node: yaml.Node, what: str) -> str | None:
        """The text of a scalar as the user wrote it, None (and a fault) if it is not one."""
        if isinstance(node, yaml.ScalarNode):
            return node.value.strip()
        self.fault(node, f"{what} must be plain text; put a name with : {{ or [ into quotes")
        return None

    def whole(self, node: yaml.Node, low: int, high: int) -> int | None:
        """A whole number within a range, None (and a fault) if it is not one."""
        text = node.value if isinstance(node, yaml.ScalarNode) else ""
        if re.fullmatch("[0-9]{1,9}", text) and low <= int(text) <= high:
            return int(text)
        self.fault(node, f"must be a whole number from {low} to {high}")
        return None

    def _mapped(self, node: yaml.Node, must_be: str) -> list[tuple[yaml.Node, yaml.Node]]:
        if isinstance(node, yaml.MappingNode):
            return node.value
        self.fault(node, f"must be {must_be}")
        return []

    def _text(self) -> str:
        data = self._bytes()
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError as error:
            place = Place.at_end_of(data[: error.start].decode("utf-8"))
            raise self._refusal([(place, "is not UTF-8 text; save the file as UTF-8")]) from error
        if text.startswith("\ufeff"):
            message = "begins with a byte order mark; save the file as UTF-8 without BOM"
            raise self._refusal([(Place(1, 1), message)])
        found = _UNPRINTABLE.search(text)
        if found:
            message = f"holds the control character U+{ord(found[0]):04X}; remove it"
            raise self._refusal([(Place.at_end_of(text[: found.start()]), message)])
        return text

    def _bytes(self) -> bytes:
        try:
            if not stat.S_ISREG(self._path.stat().st_mode):  # opening a pipe would wait for ever
                raise self.refusal("is not a file")
            with self._path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise
        except (OSError, ValueError) as error:
            raise self._unreadable(error) from error
        if len(data) > MAX_BYTES:
            raise self._refusal([(Place(1, 1), "is larger than 1 MiB; is it the right file?")])
        return data

    def _refuse_traps(self, text: str) -> None:
        """Note what a list of names never needs and an attack or a slip does."""
        depth, documents = 0, 0
        for event in yaml.parse(text, _LOADER):
            documents += isinstance(event, yaml.DocumentStartEvent)
            depth += isinstance(event, yaml.CollectionStartEvent)
            depth -= isinstance(event, yaml.CollectionEndEvent)
            trap = _trap(event, depth, documents)
            if trap:
                raise self._refusal([(Place.of(event.start_mark), trap)])

    def _not_yaml(self, text: str, error: yaml.MarkedYAMLError) -> HarmonyError:
        mark = error.problem_mark or error.context_mark
        place = Place.of(mark) if mark else Place(1, 1)
        line = [*_LINE_BREAK.split(text), ""][place.line - 1]
        if "\t" in line:
            return self._refusal([(place, "a tab is in the way; indent with spaces")])
        if line[place.column - 1 : place.column] in ("@", "`", "%", "*", "&", "!"):
            return self._refusal([(place, f"{error.problem}; {_QUOTES_HINT}")])
        return self._refusal([(place, f"is not YAML: {error.problem or error.context}")])

    def _unreadable(self, error: OSError | ValueError) -> HarmonyError:
        why = error.strerror if isinstance(error, OSError) else "its name is not a path"
        return HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.UNREADABLE,
            f"{self._path} cannot be read: {why}. Nothing is changed until it can.",
            path=str(self._path),
        )

    def _refusal(self, faults: Sequence[tuple[Place, str]]) -> HarmonyError:
        faults = sorted(faults)
        shown = [f"line {at.line}, column {at.column}: {what}" for at, what in faults]
        more = len(shown) - _FAULTS_SHOWN
        listed = "; ".join(shown[:_FAULTS_SHOWN]) + (f"; and {more} more" if more > 0 else "")
        return HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            self._reason,
            f"{self._path}, {listed}.",
            path=str(self._path),
            line=faults[0][0].line,
            column=faults[0][0].column,
            faults=[
                {"line": at.line, "column": at.column, "message": what}
                for at, what in faults[:_FAULTS_LISTED]
            ],
        )


def _trap(event: yaml.Event, depth: int, documents: int) -> str | None:
    if documents > 1:
        return "begins a second document; keep one, without ---"
    if depth > _MAX_DEPTH:
        return "is nested too deeply"
    if getattr(event, "anchor", None) or getattr(event, "tag", None):
        return f"anchors, aliases and tags are not used here; {_QUOTES_HINT}"
    return None


def _nearest(key: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(key, known, n=1)
    return f"did you mean {found[0]}?" if found else f"known here: {', '.join(known)}"
