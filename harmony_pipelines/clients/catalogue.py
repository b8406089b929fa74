"""The SQL catalogue: what is stored of the watched artists, the library, matches and artwork."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from harmony_pipelines.clients.database import open_engine, reading, upsert, writing
from harmony_pipelines.clients.schema import bring_up_to_date

Row = dict[str, Any]

_ROWS_AT_ONCE = 5000


def utc_text(moment: datetime) -> str:
    """The moment as the tables hold it: UTC ISO 8601 with seconds."""
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


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
            yield from _dictionaries(at_once.execute(statement))

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
        """Make each table hold just its rows, all in one transaction."""
        with self.writing() as connection:
            for table, rows in contents.items():
                connection.execute(sa.delete(table))
                for chunk in chunks(rows, _ROWS_AT_ONCE):
                    connection.execute(sa.insert(table), chunk)

    def save(
        self, table: sa.Table, rows: Sequence[Mapping[str, Any]], *, durable: bool = True
    ) -> None:
        """Insert rows, or set their columns where the key is there."""
        with self.writing(durable=durable) as connection:
            upsert(connection, table, rows)


def rows_of(table: sa.Table, *where: sa.ColumnElement[bool]) -> sa.Select[*tuple[Any, ...]]:
    """The statement that selects rows of a table in the order of its key."""
    return sa.select(table).where(*where).order_by(*table.primary_key)


def chunks(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Row]]:
    """The rows in lists of so many; the last may be shorter."""
    chunk: list[Row] = []
    for row in rows:
        chunk.append(dict(row))
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def selected(
    connection: Connection,
    statement: sa.Select[*tuple[Any, ...]],
    parameters: Mapping[str, Any] | None = None,
) -> list[Row]:
    """What a statement selects within a transaction, as dictionaries."""
    return list(_dictionaries(connection.execute(statement, parameters)))


@cache
def of_artist(table: sa.Table) -> sa.Select[*tuple[Any, ...]]:
    """The statement that selects the rows of the parameter `artist`.

    It is made once: that takes longer than to run it.
    """
    return sa.select(table).where(table.c.artist_id == sa.bindparam("artist"))


def _dictionaries(result: sa.CursorResult[*tuple[Any, ...]]) -> Iterator[Row]:
    names = tuple(result.keys())
    for row in result:
        yield dict(zip(names, row, strict=True))
