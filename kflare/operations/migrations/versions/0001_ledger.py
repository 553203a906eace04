"""The ledger as of kflare 0.1."""

from alembic import op

from kflare.operations.chain import refuse_changes, refuse_existing_keys
from kflare.operations.schema import metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables as they stand in the schema, of which a later revision that changes one writes its form of 0.1.

    And the triggers that keep them append-only.
    """
    metadata.create_all(op.get_bind(), checkfirst=False)
    refuse_changes(metadata.tables)
    refuse_existing_keys(metadata.sorted_tables)
