"""The SQL catalogue: what is stored of the watched artists, the library, matches and artwork."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import cache
from itertools import groupby, islice
from operator import itemgetter
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from harmony_pipelines.clients.database import (
    Row,
    dictionaries,
    open_engine,
    reading,
    selected,
    upsert,
    writing,
)
from harmony_pipelines.clients.schema import bring_up_to_date

_Item = TypeVar("_Item")

_ROWS_AT_ONCE, _ROWS_COMPARED = 5000, 500


def utc_text(moment: datetime) -> str:
    """The moment as the tables hold it: UTC ISO 8601 with seconds."""
    return f"{moment.isoformat(timespec='seconds')[:19]}Z"


def has_come(
    due_at: sa.ColumnElement[Any], now: datetime, longest: timedelta
) -> sa.ColumnElement[bool]:
    """The time has come, or is further away than any is put off: the clock was set back."""
    return (due_at <= utc_text(now)) | (due_at > utc_text(now + longest))


def _always() -> None:
    """Nothing speaks against a commit."""


class Catalogue:
    """Reads and whole transactions over the tables; nothing of it is half done after a kill."""

    def __init__(self, engine: Engine, guard: Callable[[], None] = _always) -> None:
        """`guard` is asked right before each commit and raises once nothing may be written."""
        self.engine = engine
        self._guard = guard

    @classmethod
    def open(cls, url: str, guard: Callable[[], None] = _always) -> "Catalogue":
        """Open the database and bring its tables up to date; safe from many processes."""
        catalogue = cls(open_engine(url), guard)
        bring_up_to_date(catalogue.engine)
        return catalogue

    def close(self) -> None:
        """Give the database's files back."""
        self.engine.dispose()

    # Reading

    def rows(
        self,
        statement: sa.Select[*tuple[Any, ...]],
        parameters: Mapping[str, Any] | None = None,
    ) -> list[Row]:
        """What a statement selects, as dictionaries."""
        with reading(self.engine) as connection:
            return selected(connection, statement, parameters)

    def each(self, statement: sa.Select[*tuple[Any, ...]]) -> Iterator[Row]:
        """What a statement selects, one dictionary after the other, however many there are."""
        with reading(self.engine) as connection:
            at_once = connection.execution_options(yield_per=_ROWS_AT_ONCE)
            yield from dictionaries(at_once.execute(statement))

    def table(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> list[Row]:
        """The rows of a table in the order of its key."""
        return self.rows(rows_of(table, *where))

    def count(self, table: sa.Table, *where: sa.ColumnElement[bool]) -> int:
        """How many rows of a table there are."""
        return self.rows(sa.select(sa.func.count().label("n")).select_from(table).where(*where))[0][
            "n"
        ]

    # Writing

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[Connection]:
        """A transaction that alone may write; committed only while the guard lets it."""
        with writing(self.engine, durable=durable) as connection:
            yield connection
            self._guard()

    def replace(self, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Make the table hold just these rows."""
        self.replace_all({table: rows})

    def replace_all(self, contents: Mapping[sa.Table, Iterable[Mapping[str, Any]]]) -> None:
        """Make each table hold just its rows, all in one transaction.

        What is there already is not written again. The rows that share the first column of the
        key must follow each other.
        """
        with self.writing() as connection:
            for table, rows in contents.items():
                _replace(connection, table, rows)

    def save(
        self, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, durable: bool = True
    ) -> None:
        """Insert rows, or set their columns where the key is there."""
        with self.writing(durable=durable) as connection:
            upsert(connection, table, rows)


def rows_of(
    table: sa.Table, *where: sa.ColumnElement[bool], columns: Iterable[str] = ()
) -> sa.Select[*tuple[Any, ...]]:
    """The statement that selects rows of a table, or columns of them, in the order of its key."""
    wanted = [table.c[name] for name in columns] or [table]
    return sa.select(*wanted).where(*where).order_by(*table.primary_key)


def chunks(items: Iterable[_Item], size: int) -> Iterator[list[_Item]]:
    """The items in lists of so many; the last may be shorter."""
    items = iter(items)
    while chunk := [*islice(items, size)]:
        yield chunk


@cache
def of_artist(table: sa.Table) -> sa.Select[*tuple[Any, ...]]:
    """The statement that selects the rows of the parameter `artist`.

    It is made once: that takes longer than to run it.
    """
    return sa.select(table).where(table.c.artist_id == sa.bindparam("artist"))


def _replace(connection: Connection, table: sa.Table, rows: Iterable[Mapping[str, Any]]) -> None:
    first = table.primary_key.columns[0]
    seen: set[object] = set()
    for part in _parts(rows, first.name):
        values = {row[first.name] for row in part}
        if not seen.isdisjoint(values):
            raise ValueError(f"the rows of {table.name} are not in order of {first.name}")
        seen |= values
        _bring_to(connection, table, first.in_(values), part)
    stored = connection.scalars(sa.select(first).distinct())
    if gone := [{"gone": value} for value in stored if value not in seen]:
        connection.execute(sa.delete(table).where(first == sa.bindparam("gone")), gone)


def _parts(rows: Iterable[Mapping[str, Any]], name: str) -> Iterator[list[Mapping[str, Any]]]:
    """The rows, many at once; none of a part has the same value in the column as one of another."""
    part: list[Mapping[str, Any]] = []
    for _, same in groupby(rows, itemgetter(name)):
        part.extend(same)
        if len(part) >= _ROWS_COMPARED:
            yield part
            part = []
    if part:
        yield part


def _bring_to(
    connection: Connection,
    table: sa.Table,
    where: sa.ColumnElement[bool],
    rows: Iterable[Mapping[str, Any]],
) -> None:
    """Make just these the rows that are `where` says; the same ones stay untouched."""
    names, keys = table.c.keys(), table.primary_key.columns.keys()
    stored = {
        _values(row, keys): row for row in selected(connection, sa.select(table).where(where))
    }
    new: list[Row] = []
    for row in rows:
        whole = {name: row.get(name) for name in names}
        if stored.get(key := _values(whole, keys)) == whole:
            del stored[key]
        else:
            new.append(whole)
    if stored:
        is_key = (column == sa.bindparam(f"the_{column.name}") for column in table.primary_key)
        gone = [{f"the_{name}": row[name] for name in keys} for row in stored.values()]
        connection.execute(sa.delete(table).where(*is_key), gone)
    if new:
        connection.execute(sa.insert(table), new)


def _values(row: Mapping[str, Any], names: Iterable[str]) -> tuple[Any, ...]:
    return tuple(row[name] for name in names)
