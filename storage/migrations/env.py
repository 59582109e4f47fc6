"""Alembic loads this file to run the steps. It opens nothing: connection and transaction are the caller's."""

from alembic import context

context.configure(
    connection=context.config.attributes["connection"],
    # SQLite changes most of a table only by building it anew.
    render_as_batch=True,
)
context.run_migrations()
