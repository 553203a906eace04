"""Alembic's entry: the connection comes from `kflare.operations.ledger`, in a transaction of its own."""

from alembic import context

from kflare.operations.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata)
context.run_migrations()
