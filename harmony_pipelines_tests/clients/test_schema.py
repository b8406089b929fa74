import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from harmony_pipelines.clients import schema, tables
from harmony_pipelines.clients.catalogue import Catalogue
from harmony_pipelines.clients.database import open_engine, writing
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

LINE = {"artist_id": "A", "partition_key": "a-A", "name": "Lumen Tide", "paused": 0, "added_at": ""}


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/harmony.db"


@pytest.fixture
def engine(url: str) -> Iterator[sa.Engine]:
    engine = open_engine(url)
    yield engine
    engine.dispose()


@pytest.fixture
def first(engine: sa.Engine) -> sa.Engine:
    """A database from before there were versions, with a row in it."""
    with writing(engine) as connection:
        schema.migrate(connection, "0001")
        connection.execute(sa.text("DROP TABLE harmony_version"))
        connection.execute(sa.insert(tables.watchlist), [LINE])
    return engine


def version(engine: sa.Engine) -> str | None:
    with engine.connect() as connection:
        return connection.execute(sa.text("SELECT version_num FROM harmony_version")).scalar()


def names(engine: sa.Engine) -> set[str]:
    return set(sa.inspect(engine).get_table_names())


def structure(engine: sa.Engine) -> dict[str, object]:
    inspector = sa.inspect(engine)
    return {
        table: (
            [(c["name"], str(c["type"]), c["nullable"]) for c in inspector.get_columns(table)],
            inspector.get_pk_constraint(table)["constrained_columns"],
            sorted((i["name"], i["column_names"]) for i in inspector.get_indexes(table)),
        )
        for table in sorted(inspector.get_table_names())
    }


def test_migrated_tables_are_the_tables_that_a_new_database_gets(engine, tmp_path):
    with writing(engine) as connection:
        schema.migrate(connection)
        context = MigrationContext.configure(connection)
        ours = sa.MetaData()
        for table in tables.metadata.tables.values():
            table.to_metadata(ours)
        schema._version.to_metadata(ours)
        assert compare_metadata(context, ours) == []
    new = open_engine(f"sqlite:///{tmp_path}/new.db")
    schema.bring_up_to_date(new)

    assert structure(engine) == structure(new)
    assert version(engine) == version(new) == schema.REVISION
    new.dispose()


def test_the_version_of_the_tables_is_the_last_migration():
    history = ScriptDirectory.from_config(schema._config())
    assert history.get_current_head() == schema.REVISION


def test_an_older_database_is_migrated_with_a_backup_beside_it(first, url, tmp_path, caplog):
    store = Catalogue.open(url)

    assert [row["name"] for row in store.table(tables.watchlist)] == ["Lumen Tide"]
    assert store.count(tables.album_searches) == 0
    store.close()
    (backup,) = tmp_path.glob(f"harmony.db.before-{schema.REVISION}")
    assert backup.stat().st_mode & 0o777 == 0o600
    before = open_engine(f"sqlite:///{backup}")
    assert "album_searches" not in names(before)
    with before.connect() as connection:
        assert connection.execute(sa.select(tables.watchlist.c.name)).scalar() == "Lumen Tide"
    before.dispose()
    assert f"from version 0001 to {schema.REVISION}" in caplog.text
    assert str(backup) in caplog.text


def test_bodies_that_an_older_version_stored_are_due_as_any_body(first, url):
    row = {"artist_id": "A", "first_seen_at": "2026-01-01T00:00:00Z", "last_seen_at": "2026"}
    with writing(first) as connection:
        for album_id, fetched_at in (("read", "2026-10-01T12:00:00Z"), ("pending", None)):
            names = [*row, "album_id", "fetched_at"]
            connection.execute(
                sa.text(
                    f"INSERT INTO spotify_albums ({', '.join(names)}) VALUES (:{', :'.join(names)})"
                ),
                [{**row, "album_id": album_id, "fetched_at": fetched_at}],
            )
    store = Catalogue.open(url)
    due = {each["album_id"]: each["body_due_at"] for each in store.table(tables.spotify_albums)}
    store.close()
    assert due == {"read": "2027-03-30T12:00:00Z", "pending": "2026-01-01T00:00:00Z"}


def test_what_is_up_to_date_costs_neither_alembic_nor_a_write(url, tmp_path):
    Catalogue.open(url).close()
    script = (
        "import sys\n"
        "from harmony_pipelines.clients.catalogue import Catalogue\n"
        "Catalogue.open(sys.argv[1]).close()\n"
        "assert 'alembic' not in sys.modules\n"
    )
    before = (tmp_path / "harmony.db").read_bytes()

    subprocess.run([sys.executable, "-c", script, url], check=True)

    assert (tmp_path / "harmony.db").read_bytes() == before


def test_a_database_of_a_later_version_is_refused_and_left_as_it_is(url):
    store = Catalogue.open(url)
    with store.writing() as connection:
        connection.execute(sa.text("UPDATE harmony_version SET version_num = '9999'"))

    with pytest.raises(HarmonyError) as refused:
        Catalogue.open(url)

    assert (refused.value.code, refused.value.reason) == (
        ErrorCode.DEPENDENCY_ERROR,
        Reason.NEWER_DATABASE,
    )
    assert "later version" in refused.value.message
    assert version(store.engine) == "9999"
    store.close()


def test_a_migration_that_fails_leaves_the_database_as_it_was(first, url, tmp_path):
    with writing(first) as connection:
        connection.execute(sa.text("CREATE TABLE album_searches (somebody_elses INTEGER)"))
    before = names(first)

    with pytest.raises(HarmonyError) as failed:
        Catalogue.open(url)

    assert failed.value.code is ErrorCode.DEPENDENCY_ERROR
    assert names(first) == before
    assert list(tmp_path.glob("harmony.db.before-*"))


def test_several_processes_may_find_an_older_database_at_once(first, url, tmp_path):
    script = (
        "import sys\n"
        "from harmony_pipelines.clients.catalogue import Catalogue\n"
        "Catalogue.open(sys.argv[1]).close()\n"
    )
    command = [sys.executable, "-c", script, url]
    several = [subprocess.Popen(command) for _ in range(4)]
    assert [process.wait(60) for process in several] == [0, 0, 0, 0]
    assert version(first) == schema.REVISION
    assert names(first) == {*tables.metadata.tables, "harmony_version"}
