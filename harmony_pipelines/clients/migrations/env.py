"""How Alembic migrates the catalogue: on the connection, and in the transaction, it is given."""

from alembic import context

from harmony_pipelines.clients.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    version_table=context.config.attributes["version_table"],
    render_as_batch=True,  # SQLite changes a column by making the table anew
)
context.run_migrations()
