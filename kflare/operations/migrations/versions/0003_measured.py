"""What a cycle measured is one row, packed, and cycles are found by when they observed.

Features that were recorded before stay where they are, and are read as ever: the chain holds them.
"""

from alembic import op

from kflare.operations.chain import refuse_changes, refuse_existing_keys
from kflare.operations.schema import cycles, measured

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Make table, triggers and index, of which a ledger that began with an older schema has some since 0001 or 0002."""
    bind = op.get_bind()
    measured.create(bind, checkfirst=True)
    refuse_changes([measured.name])
    refuse_existing_keys([measured])
    for index in cycles.indexes:
        index.create(bind, checkfirst=True)
