"""How we talk to the SQL database: what differs between SQLite and PostgreSQL is here."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection, Engine, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    DisconnectionError,
    NoSuchModuleError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from harmony_pipelines.clients.file_errors import has_no_room, may_open_no_more
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

Row = dict[str, Any]

BUSY_SECONDS = 30.0
"""How long a transaction waits for another process that is writing."""

_ROWS_PER_STATEMENT = 60
"""Many at once: between the rows of an `executemany` each other thread may take Python's lock."""

_READS_ONLY = "harmony_reads_only"
_DURABLE = "harmony_durable"
_SWITCH_SECONDS = 0.02
_SLICE_SECONDS = 0.25


def open_engine(url: str, busy_seconds: float = BUSY_SECONDS) -> Engine:
    """An engine whose `begin()` holds the write lock from its first statement to its commit."""
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return sa.create_engine(parsed, hide_parameters=True)
        return _sqlite_engine(parsed, busy_seconds)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise HarmonyError(
            ErrorCode.VALIDATION_ERROR,
            Reason.SETTING,
            "HARMONY_DATABASE_URL names a database that cannot be used: "
            f"{type(error).__name__}. Use sqlite:///<path> or postgresql+psycopg2://….",
        ) from None


def _sqlite_engine(url: sa.URL, busy_seconds: float) -> Engine:
    is_file = bool(url.database) and url.database != ":memory:"
    slice_seconds = min(busy_seconds, _SLICE_SECONDS)
    connect = {"timeout": slice_seconds, "check_same_thread": False}
    # Each connection has pages in memory: the fewer are used, the fewer.
    fewest: dict[str, Any] = {"pool_use_lifo": True} if is_file else {}
    engine = sa.create_engine(url, connect_args=connect, **fewest)
    _turns[engine] = _Turns(threading.Lock(), busy_seconds)
    if is_file:
        _make_private(Path(str(url.database)))

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _: object) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        _write_ahead(cursor, busy_seconds)
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        if connection.get_execution_options().get(_READS_ONLY):
            driver.execute("BEGIN")
        else:
            is_durable = connection.get_execution_options().get(_DURABLE, True)
            if connection.info.get(_DURABLE) != is_durable:  # as the last on this connection was
                level = "FULL" if is_durable else "NORMAL"
                driver.execute(f"PRAGMA synchronous={level}")
                connection.info[_DURABLE] = is_durable
            _begin_writing(driver, busy_seconds)

    return engine


@dataclass(frozen=True)
class _Turns:
    """Whose turn it is to write among the threads of this process.

    SQLite lets who waits sleep for longer and longer, though the lock be free in a millisecond.
    """

    lock: threading.Lock
    busy_seconds: float

    @contextmanager
    def turn(self) -> Iterator[None]:
        if not self.lock.acquire(timeout=self.busy_seconds):
            raise sqlite3.OperationalError("database is locked")
        try:
            yield
        finally:
            self.lock.release()


_turns: WeakKeyDictionary[Engine, _Turns] = WeakKeyDictionary()


def _begin_writing(driver: sqlite3.Connection, busy_seconds: float) -> None:
    """Wait for the write lock in slices: SQLite's own wait hears no Ctrl-C before its end."""
    end = time.monotonic() + busy_seconds
    while True:
        try:
            driver.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
        else:
            return


def _write_ahead(cursor: sqlite3.Cursor, busy_seconds: float) -> None:
    """Switch to WAL; SQLite does not wait for another that does so just now, so we do."""
    end = time.monotonic() + busy_seconds
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() >= end:
                raise
            time.sleep(_SWITCH_SECONDS)
        else:
            return


def _make_private(path: Path) -> None:
    """Create the database file readable by its owner only; SQLite gives -wal and -shm its mode."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.DATABASE,
            f"The catalogue's database {path} cannot be created: {error.strerror}. "
            "Make its folder writable or set HARMONY_HOME.",
            file=str(path),
        ) from error


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that sees one state of the database and never waits for a writer."""
    with database_errors(engine), engine.connect() as connection:
        yield connection.execution_options(**{_READS_ONLY: True})


@contextmanager
def writing(engine: Engine, *, durable: bool = True) -> Iterator[Connection]:
    """A transaction that alone may write; committed at the end, rolled back on any error.

    One that need not be durable is not waited for until the disk has it: no death of a process
    undoes it, but a power cut may, with nothing else harmed. The next durable one makes it so.
    """
    with (
        database_errors(engine),
        _turns[engine].turn() if engine in _turns else nullcontext(),
        engine.connect() as connection,
        connection.execution_options(**{_DURABLE: durable}).begin(),
    ):
        yield connection


def upsert(
    connection: Connection,
    table: sa.Table,
    rows: Sequence[Mapping[str, Any]],
    *,
    update: Sequence[str] | None = None,
) -> None:
    """Insert rows; where the key is there, set the columns of `update` (default: all given).

    With `update=()` a row that is there stays as it is.
    """
    if not rows:
        return
    names = tuple(rows[0])
    columns = names if update is None else tuple(update)
    driver = _driver(connection)
    for start in range(0, len(rows), _ROWS_PER_STATEMENT):
        some = rows[start : start + _ROWS_PER_STATEMENT]
        if driver:
            text, order = _sqlite_rows(_upsert(sqlite.insert, table, columns), names, len(some))
            driver.execute(text, [row[name] for row in some for name in order])
        else:
            connection.execute(_upsert(postgresql.insert, table, columns), [*some])


def selected(
    connection: Connection,
    statement: sa.Select[*tuple[Any, ...]],
    parameters: Mapping[str, Any] | None = None,
) -> list[Row]:
    """What a statement selects within a transaction, as dictionaries.

    One that has parameters is made once, and goes straight to SQLite's driver: all else that
    SQLAlchemy does with it takes longer than to run it.
    """
    if parameters is None:
        return [*dictionaries(connection.execute(statement))]
    return [*dictionaries(_run(connection, statement, parameters))]


def dictionaries(result: sa.CursorResult[Any] | sqlite3.Cursor) -> Iterator[Row]:
    """The rows of a result, one after the other."""
    is_drivers = isinstance(result, sqlite3.Cursor)
    names = [each[0] for each in result.description] if is_drivers else [*result.keys()]
    for row in result:
        yield dict(zip(names, row, strict=True))


def change(connection: Connection, statement: sa.UpdateBase, parameters: Mapping[str, Any]) -> None:
    """Run a statement that is made once and changes rows; the same way as `selected`."""
    _run(connection, statement, parameters)


def _run(connection: Connection, statement: Any, parameters: Mapping[str, Any]) -> Any:
    driver = _driver(connection)
    if driver is None:
        return connection.execute(statement, parameters)
    text, constants = _sqlite_text(statement, tuple(parameters))
    return driver.execute(text, {**constants, **parameters})


def _driver(connection: Connection) -> sqlite3.Connection | None:
    """SQLite's own connection, in a transaction, if it is one."""
    if connection.dialect.name != "sqlite":
        return None
    if not connection.in_transaction():
        connection.begin()
    return connection.connection.driver_connection


@lru_cache(maxsize=256)
def _sqlite_text(
    statement: sa.ClauseElement, names: tuple[str, ...]
) -> tuple[str, Mapping[str, Any]]:
    """A statement's text with named parameters, and the values of those that are constant."""
    compiled: Any = statement.compile(dialect=sqlite.dialect(paramstyle="named"), column_keys=names)
    whole = compiled.construct_expanded_state(dict.fromkeys(names))
    return whole.statement, whole.parameters


@lru_cache(maxsize=1024)
def _sqlite_rows(
    insert: sa.ClauseElement, names: tuple[str, ...], rows: int
) -> tuple[str, Sequence[str]]:
    """The text that inserts so many rows by position, and the order of a row's values."""
    compiled: Any = insert.compile(dialect=sqlite.dialect(paramstyle="qmark"), column_keys=names)
    one = f"({', '.join('?' * len(names))})"
    return compiled.string.replace(one, ", ".join([one] * rows), 1), compiled.positiontup


@lru_cache(maxsize=64)
def _upsert(insert: Callable[..., Any], table: sa.Table, columns: tuple[str, ...]) -> Any:
    """The statement, made once: that takes as long as to run it."""
    statement = insert(table)
    keys = [column.name for column in table.primary_key]
    changed = {name: statement.excluded[name] for name in columns if name not in keys}
    if changed:
        return statement.on_conflict_do_update(index_elements=keys, set_=changed)
    return statement.on_conflict_do_nothing(index_elements=keys)


def back_up(engine: Engine, name: str) -> Path | None:
    """Copy an SQLite database, as last committed, to `<its name>.<name>` beside it.

    Also while another connection writes. None where the database is no file: a server has
    backups of its own.
    """
    if engine.url.get_backend_name() != "sqlite" or not engine.url.database:
        return None
    source = Path(engine.url.database)
    target = source.with_name(f"{source.name}.{name}")
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        temporary.touch(mode=0o600)
        with closing(sqlite3.connect(source)) as old, closing(sqlite3.connect(temporary)) as new:
            old.backup(new)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(target)
    except (OSError, sqlite3.Error) as error:
        temporary.unlink(missing_ok=True)
        raise _harmony_error(str(error), engine.url) from error
    return target


@contextmanager
def database_errors(engine: Engine) -> Iterator[None]:
    """Turn what a database does into the error vocabulary.

    What else SQLAlchemy raises is a fault of ours, which is told with its traceback.
    """
    try:
        yield
    except DBAPIError as error:
        raise _harmony_error(str(error.orig), engine.url) from error
    except sqlite3.Error as error:
        raise _harmony_error(str(error), engine.url) from error
    except (DisconnectionError, PoolTimeoutError) as error:
        raise _harmony_error(type(error).__name__, engine.url) from error


_NO_DESCRIPTORS = "too many open files"
_NO_ROOM = "full"
_FAULTS = (
    (
        _NO_DESCRIPTORS,
        ErrorCode.DEPENDENCY_ERROR,
        Reason.OPEN_FILES,
        "this process may open no more files; raise the limit (`ulimit -n`)",
    ),
    ("locked", ErrorCode.CONFLICT, Reason.LOCKED, "another program keeps it locked; close it"),
    (_NO_ROOM, ErrorCode.DEPENDENCY_ERROR, Reason.DISK_FULL, "the disk is full; free some space"),
    ("readonly", ErrorCode.DEPENDENCY_ERROR, Reason.READ_ONLY, "it is read-only; allow writing"),
    (
        "malformed",
        ErrorCode.DEPENDENCY_ERROR,
        Reason.DATABASE,
        "it is damaged; restore it from a backup",
    ),
    (
        "not a database",
        ErrorCode.DEPENDENCY_ERROR,
        Reason.DATABASE,
        "the file is no SQLite database; set HARMONY_DATABASE_URL to another",
    ),
    (
        "unable to open",
        ErrorCode.DEPENDENCY_ERROR,
        Reason.DATABASE,
        "it cannot be opened as a file; name another in HARMONY_DATABASE_URL or HARMONY_HOME",
    ),
    (
        "column",  # "no such column: …", "table … has no column named …"
        ErrorCode.DEPENDENCY_ERROR,
        Reason.DATABASE,
        "another version of this program made it; use that version, or move the file away and "
        "let a run make a new one",
    ),
)


def dagster_storage_error(error: DBAPIError, home: str) -> HarmonyError:
    """What a database of Dagster's own, in DAGSTER_HOME, does, in the error vocabulary."""
    fault = _cause(str(error.orig), Path(home)) if home else str(error.orig)
    found = [row for row in _FAULTS if row[0] in fault and row[2] is not Reason.DATABASE]
    unknown = ("", ErrorCode.DEPENDENCY_ERROR, Reason.DATABASE, f"it says: {fault}")
    _, code, reason, remedy = [*found, unknown][0]
    message = f"Dagster's own storage in DAGSTER_HOME cannot be used: {remedy}."
    return HarmonyError(code, reason, f"{message} What was committed is kept.")


def _harmony_error(fault: str, url: sa.URL) -> HarmonyError:
    is_file = url.get_backend_name() == "sqlite"
    where = (url.database or "") if is_file else url.render_as_string(hide_password=True)
    if is_file:
        fault = _cause(fault, Path(where).parent)
    for word, code, reason, remedy in _FAULTS:
        if word in fault:
            message = f"The catalogue's database {where} cannot be used: {remedy}."
            return HarmonyError(code, reason, message, database=where)
    message = f"The catalogue's database {where} refused a statement: {fault}."
    return HarmonyError(ErrorCode.DEPENDENCY_ERROR, Reason.DATABASE, message, database=where)


def _cause(fault: str, folder: Path) -> str:
    """What SQLite means by what it says of a file in the folder, where the machine knows more."""
    if "unable to open" in fault and may_open_no_more():
        return _NO_DESCRIPTORS
    if "I/O error" in fault and has_no_room(folder):
        return _NO_ROOM
    return fault
