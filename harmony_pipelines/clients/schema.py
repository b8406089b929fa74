"""The version of the catalogue's tables: made new, migrated with a backup beside, or refused."""

import logging
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from harmony_pipelines.clients import tables
from harmony_pipelines.clients.database import back_up, reading, writing
from harmony_pipelines.domain.errors import ErrorCode, HarmonyError, Reason

if TYPE_CHECKING:
    from alembic.config import Config

_log = logging.getLogger(__name__)

REVISION = "0006"
"""The version of `tables`: the last of `migrations/versions`."""

_FIRST = "0001"
"""The version of tables that are there without saying which they are."""

_version = sa.Table(
    "harmony_version",
    sa.MetaData(),
    sa.Column("version_num", sa.String(32), primary_key=True),
)
"""As Alembic keeps it; another program's in the same database is not ours."""


def bring_up_to_date(engine: Engine) -> None:
    """Make the tables, or migrate older ones in one transaction; safe from many processes.

    A database of a later version of this program is refused and left as it is. Nothing is
    imported or written where there is nothing to do.
    """
    with reading(engine) as connection:
        if _revision(connection) == REVISION:
            return
    with writing(engine) as connection:
        found = _revision(connection)
        if found is None:
            tables.metadata.create_all(connection)
            _version.create(connection)
            connection.execute(sa.insert(_version).values(version_num=REVISION))
        elif found != REVISION:
            _migrate(engine, connection, found)


def is_up_to_date(engine: Engine) -> bool:
    """Whether the tables are there in this program's version; makes and changes nothing."""
    with reading(engine) as connection:
        return _revision(connection) == REVISION


def migrate(connection: Connection, to: str = REVISION) -> None:
    """Take the tables from whatever version they are at to another."""
    from alembic import command

    config = _config()
    config.attributes |= {"connection": connection, "version_table": _version.name}
    command.upgrade(config, to)


def _revision(connection: Connection) -> str | None:
    """The version of the tables; None if there are none."""
    inspector = sa.inspect(connection)
    if inspector.has_table(_version.name):
        return connection.execute(sa.select(_version.c.version_num)).scalar()
    return _FIRST if inspector.has_table(tables.watchlist.name) else None


def _migrate(engine: Engine, connection: Connection, found: str) -> None:
    from alembic.script import ScriptDirectory

    history = ScriptDirectory.from_config(_config()).walk_revisions()
    if found not in {script.revision for script in history}:
        raise HarmonyError(
            ErrorCode.DEPENDENCY_ERROR,
            Reason.NEWER_DATABASE,
            f"The catalogue's database is of version {found}, made by a later version of this "
            f"program; this one knows up to {REVISION}. Update the program, or put back the "
            "backup that was made beside the database.",
            found=found,
            known=REVISION,
        )
    backup = back_up(engine, f"before-{REVISION}")
    if not sa.inspect(connection).has_table(_version.name):
        _version.create(connection)
        connection.execute(sa.insert(_version).values(version_num=found))
    migrate(connection)
    _log.warning(
        "The catalogue's tables are migrated from version %s to %s. What they were: %s",
        found,
        REVISION,
        backup or "in your database's own backup",
    )


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "harmony_pipelines.clients:migrations")
    return config
