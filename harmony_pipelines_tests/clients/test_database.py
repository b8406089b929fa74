import multiprocessing
import os
import resource
import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import sqlalchemy as sa

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.clients.database import (
    change,
    open_engine,
    reading,
    selected,
    upsert,
    writing,
)
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

things = sa.Table(
    "things",
    sa.MetaData(),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text),
    sa.Column("kept", sa.Text),
)


@pytest.fixture
def engine(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/harmony.db")
    with writing(engine) as connection:
        things.create(connection)
    yield engine
    engine.dispose()


def test_upsert_sets_only_the_columns_it_is_told_to(engine):
    with writing(engine) as connection:
        upsert(connection, things, [{"key": "a", "value": "1", "kept": "first"}])
        upsert(connection, things, [{"key": "a", "value": "2", "kept": "second"}], update=["value"])

    with reading(engine) as connection:
        assert connection.execute(sa.select(things)).all() == [("a", "2", "first")]


@pytest.mark.parametrize("durable", [True, False])
def test_only_a_durable_transaction_waits_for_the_disk(engine, durable):
    for first in (not durable, durable):
        with writing(engine, durable=first) as connection:
            upsert(connection, things, [{"key": str(first), "value": "", "kept": ""}])
            level = connection.exec_driver_sql("PRAGMA synchronous").scalar()
    assert level == (2 if durable else 1)

    with reading(engine) as connection:
        assert len(connection.execute(sa.select(things)).all()) == 2


def test_a_database_in_memory_is_one_as_well():
    engine = open_engine("sqlite://")
    with writing(engine) as connection:
        things.create(connection)
        upsert(connection, things, [{"key": "a", "value": "1", "kept": None}])
    with reading(engine) as connection:
        assert selected(connection, sa.select(things.c.key), {}) == [{"key": "a"}]
    engine.dispose()


def test_upsert_of_nothing_leaves_what_is_there(engine):
    with writing(engine) as connection:
        upsert(connection, things, [{"key": "a", "value": "1"}])
        upsert(connection, things, [{"key": "a", "value": "2"}], update=())

    with reading(engine) as connection:
        assert connection.execute(sa.select(things.c.value)).scalar() == "1"


def test_what_an_error_interrupts_is_not_there(engine):
    with pytest.raises(KeyError), writing(engine) as connection:
        upsert(connection, things, [{"key": "a", "value": "1"}])
        raise KeyError

    with reading(engine) as connection:
        assert connection.execute(sa.select(things)).all() == []


def test_the_database_is_readable_by_its_owner_only(engine, tmp_path):
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}

    assert set(modes.values()) == {0o600}


def test_a_reader_does_not_wait_for_a_writer(engine):
    with writing(engine) as writer:
        upsert(writer, things, [{"key": "a", "value": "1"}])
        with reading(engine) as reader:
            assert reader.execute(sa.select(things)).all() == []


@pytest.mark.parametrize("parameters", [None, {}])
def test_a_statement_that_is_made_once_selects_what_any_does(engine, parameters):
    rows = [{"key": key, "value": value, "kept": None} for key, value in ("a1", "b2", "c3")]
    with writing(engine) as connection:
        upsert(connection, things, rows)
    statement = sa.select(things, sa.func.length(things.c.value).label("long")).where(
        things.c.key.in_(["a", "c"]), things.c.value != "9"
    )

    with reading(engine) as connection:
        found = selected(connection, statement.order_by(things.c.key), parameters)

    assert found == [{**row, "long": 1} for row in (rows[0], rows[2])]


def test_what_is_changed_by_parameters_is_only_what_they_say(engine):
    rows = [{"key": key, "value": "1", "kept": "first"} for key in "abc"]
    other = sa.update(things).where(things.c.key == sa.bindparam("that"), things.c.value == "1")
    with writing(engine) as connection:
        upsert(connection, things, rows)
        change(connection, other, {"that": "a", "kept": "second"})
        change(connection, other, {"that": "b", "value": "2"})
        change(connection, sa.delete(things).where(things.c.key == sa.bindparam("k")), {"k": "c"})

    with reading(engine) as connection:
        found = connection.execute(sa.select(things).order_by(things.c.key)).all()
    assert found == [("a", "1", "second"), ("b", "2", "first")]


def test_a_reader_sees_one_state_whoever_writes_meanwhile(engine):
    everything = sa.select(things)
    with reading(engine) as reader:
        before = selected(reader, everything, {})
        with writing(engine) as writer:
            upsert(writer, things, [{"key": "a", "value": "1"}])
        assert selected(reader, everything, {}) == before == []

    with reading(engine) as reader:
        assert len(selected(reader, everything, {})) == 1


def test_a_statement_that_is_made_once_fails_as_any_does(engine, tmp_path):
    with writing(engine) as connection:
        things.drop(connection)

    with pytest.raises(HarmonyError) as caught, reading(engine) as connection:
        selected(connection, sa.select(things), {})

    assert (caught.value.code, caught.value.reason) == (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.DATABASE,
    )
    assert str(tmp_path) in caught.value.message


def test_a_thread_that_waits_too_long_for_another_to_write_is_told_so(tmp_path):
    engine = open_engine(f"sqlite:///{tmp_path}/harmony.db", busy_seconds=0.1)
    refusals = []

    def write():
        try:
            with writing(engine):
                pass
        except HarmonyError as error:
            refusals.append(error.reason)

    def write_in_a_thread():
        thread = threading.Thread(target=write)
        thread.start()
        thread.join()

    with writing(engine):
        write_in_a_thread()
    write_in_a_thread()

    engine.dispose()
    assert refusals == [Reason.LOCKED]


def test_threads_that_write_at_once_lose_nothing(engine):
    def count():
        for _ in range(20):
            with writing(engine, durable=False) as connection:
                [[n]] = connection.execute(sa.select(sa.func.count()).select_from(things))
                upsert(connection, things, [{"key": str(n), "value": ""}])

    threads = [threading.Thread(target=count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with reading(engine) as connection:
        keys = {int(row["key"]) for row in selected(connection, sa.select(things), {})}
    assert keys == set(range(120))


def test_a_database_locked_by_another_program_is_a_conflict(tmp_path):
    url = f"sqlite:///{tmp_path}/harmony.db"
    Catalogue.open(url).close()
    other = sqlite3.connect(tmp_path / "harmony.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")

    engine = open_engine(url, busy_seconds=0.1)
    with pytest.raises(HarmonyError) as caught, writing(engine):
        pass

    other.close()
    engine.dispose()
    assert (caught.value.code, caught.value.reason) == (ErrorCode.CONFLICT, Reason.LOCKED)


@contextmanager
def able_to_open(files: int) -> Iterator[None]:
    """Let this process open so many files more."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = os.open(os.devnull, os.O_RDONLY)
    fillers = [os.open(os.devnull, os.O_RDONLY) for _ in range(files)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max([highest, *fillers]) + 1, limits[1]))
    for filler in fillers:
        os.close(filler)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        os.close(highest)


@pytest.mark.parametrize("files", range(6))
def test_a_process_that_may_open_no_more_files_is_told_so_and_not_of_the_database(engine, files):
    engine.dispose()

    with able_to_open(files):
        try:
            with writing(engine) as connection:
                upsert(connection, things, [{"key": "a", "value": "1"}])
        except HarmonyError as error:
            assert error.reason is Reason.OPEN_FILES
            assert files < 4
        else:
            assert files


@pytest.mark.parametrize("url", ["nonsense", "sqlite+nothere:///x", "oracle://u:s3cret@host/db"])
def test_a_url_that_names_no_usable_database_is_a_validation_error_without_its_secret(url):
    with pytest.raises(HarmonyError) as caught:
        open_engine(url)

    assert caught.value.code is ErrorCode.VALIDATION_ERROR
    assert "s3cret" not in caught.value.message


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / "harmony.db").write_text("no database at all, but long enough to be looked at" * 9)

    with pytest.raises(HarmonyError) as caught:
        Catalogue.open(f"sqlite:///{tmp_path}/harmony.db")

    assert caught.value.code is ErrorCode.DEPENDENCY_ERROR
    assert "harmony.db" in caught.value.message


def test_a_folder_with_umlauts_is_named_as_the_user_wrote_it_and_no_file_can_be_a_folder(tmp_path):
    (tmp_path / "Müsik box" / "harmony.db").mkdir(parents=True)

    with pytest.raises(HarmonyError) as caught:
        Catalogue.open(f"sqlite:///{tmp_path}/Müsik box/harmony.db")

    assert "Müsik box/harmony.db" in caught.value.message
    assert "HARMONY_DATABASE_URL" in caught.value.message


def test_a_database_of_another_version_says_the_way_out(tmp_path):
    url = f"sqlite:///{tmp_path}/harmony.db"
    Catalogue.open(url).close()
    with sqlite3.connect(tmp_path / "harmony.db") as other:
        other.execute("ALTER TABLE watchlist DROP COLUMN paused")
    other.close()

    catalogue = Catalogue.open(url)
    with pytest.raises(HarmonyError) as caught:
        catalogue.table(tables.watchlist)
    catalogue.close()

    assert "another version" in caught.value.message
    assert "move the file away" in caught.value.message


def _open(url):
    for _ in range(5):
        Catalogue.open(url).close()


@pytest.mark.slow
def test_many_processes_may_meet_an_empty_folder(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    url = f"sqlite:///{tmp_path}/new/harmony.db"
    processes = [spawn.Process(target=_open, args=(url,)) for _ in range(6)]

    for process in processes:
        process.start()
    for process in processes:
        process.join(60)

    assert [process.exitcode for process in processes] == [0] * 6
    catalogue = Catalogue.open(url)
    assert catalogue.count(tables.watchlist) == 0
    catalogue.close()
