import hashlib
import os
import shutil
import sqlite3
import threading
from contextlib import closing

import pytest

from harmony_pipelines.clients.database_copy import copy_database
from harmony_pipelines.domain.deadline import Deadline
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

MANY = 2000


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "user").mkdir()
    (tmp_path / "private").mkdir()
    return tmp_path / "user"


def filled(database, *pragmas):
    connection = sqlite3.connect(database)
    for pragma in pragmas:
        connection.execute(f"PRAGMA {pragma}")
    with connection:
        connection.execute("CREATE TABLE items (id INTEGER PRIMARY KEY, title TEXT)")
        connection.executemany(
            "INSERT INTO items (title) VALUES (?)", [(f"old {'x' * 80}",)] * MANY
        )
    return connection


def titles(folder, deadline=None):
    private = folder.parent / "private"
    copy = copy_database(folder / "library.db", private, deadline or Deadline.after(20))
    with closing(sqlite3.connect(copy)) as connection:
        found = {title.split()[0] for (title,) in connection.execute("SELECT title FROM items")}
        [(verdict,)] = connection.execute("PRAGMA integrity_check")
    assert verdict == "ok"
    return found


def state(folder):
    return {
        file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns)
        for file in [*folder.iterdir()]
    }


def test_a_database_at_rest_is_copied_and_left_as_it_was(folder):
    filled(folder / "library.db").close()
    before = state(folder)

    assert titles(folder) == {"old"}
    assert state(folder) == before


def test_a_database_in_wal_mode_gets_no_new_file_beside_it(folder):
    filled(folder / "library.db", "journal_mode=wal").close()
    before = state(folder)

    assert list(before) == ["library.db"]
    assert titles(folder) == {"old"}
    assert state(folder) == before


def test_what_is_committed_only_to_the_log_is_read_and_the_log_left_alone(folder):
    with closing(filled(folder / "library.db", "journal_mode=wal")) as writer:
        with writer:
            writer.execute("UPDATE items SET title = 'new'")
        before = state(folder)

        assert set(before) == {"library.db", "library.db-shm", "library.db-wal"}
        assert titles(folder) == {"new"}
        assert state(folder) == before


def test_a_crashed_writers_log_is_read_too(folder, tmp_path):
    with closing(filled(tmp_path / "library.db", "journal_mode=wal")) as writer:
        with writer:
            writer.execute("UPDATE items SET title = 'new'")
        for name in ("library.db", "library.db-wal"):
            shutil.copy(tmp_path / name, folder / name)
    before = state(folder)

    assert titles(folder) == {"new"}
    assert state(folder) == before


def test_a_half_written_transaction_is_rolled_back_in_the_copy_only(folder):
    with closing(filled(folder / "library.db", "cache_size=1")) as writer:
        at_rest = state(folder)
        writer.execute("UPDATE items SET title = 'new'")
        half_written = state(folder)

        assert half_written["library.db"] != at_rest["library.db"]
        assert "library.db-journal" in half_written
        assert titles(folder) == {"old"}
        assert state(folder) == half_written


def test_a_locked_database_is_read_as_last_committed(folder):
    with closing(filled(folder / "library.db")) as writer:
        writer.execute("BEGIN EXCLUSIVE")

        assert titles(folder) == {"old"}


def test_the_log_beside_the_target_of_a_symlink_is_found(folder, tmp_path):
    with closing(filled(tmp_path / "real.db", "journal_mode=wal")) as writer:
        with writer:
            writer.execute("UPDATE items SET title = 'new'")
        (folder / "library.db").symlink_to(tmp_path / "real.db")

        assert titles(folder) == {"new"}


def test_a_database_that_never_rests_is_locked(folder):
    database = folder / "library.db"
    filled(database).close()
    os.truncate(database, 64 << 20)  # long enough for a write in the middle of every copy
    over = threading.Event()

    def write_on():
        number = 0
        while not over.is_set():
            number += 1
            os.utime(database, ns=(number, number))

    writer = threading.Thread(target=write_on)
    writer.start()
    try:
        with pytest.raises(HarmonyError) as refused:
            copy_database(database, folder.parent / "private", Deadline.after(20), seconds=0.3)
    finally:
        over.set()
        writer.join()

    assert (refused.value.code, refused.value.reason) == (ErrorCode.CONFLICT, Reason.LOCKED)
    assert str(database) in refused.value.message


def test_a_database_changed_while_it_is_copied_is_copied_again(folder):
    with closing(filled(folder / "library.db", "synchronous=off")) as writer:
        seen = []

        def copy_on():
            seen.extend(titles(folder) for _ in range(10))

        reader = threading.Thread(target=copy_on)
        reader.start()
        for number in range(200):
            if not reader.is_alive():
                break
            with writer:
                writer.execute("UPDATE items SET title = ?", (f"t{number}",))
            reader.join(0.01)
        reader.join()

    assert len(seen) == 10
    assert all(len(titles) == 1 for titles in seen)


def test_the_callers_deadline_ends_the_copying(folder):
    filled(folder / "library.db").close()

    with pytest.raises(HarmonyError) as refused:
        titles(folder, Deadline.after(0))

    assert refused.value.code is ErrorCode.DEADLINE_EXCEEDED


def test_a_database_that_may_not_be_read_is_named(folder):
    filled(folder / "library.db").close()
    (folder / "library.db").chmod(0)
    if os.access(folder / "library.db", os.R_OK):
        pytest.skip("this user may read everything")

    with pytest.raises(HarmonyError) as refused:
        titles(folder)

    assert refused.value.reason is Reason.UNREADABLE
    assert str(folder / "library.db") in refused.value.message
