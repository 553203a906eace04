"""The ledger as of kflare 0.1: cycles with regions, probabilities, features, models and inputs; flares and coverage."""

from alembic import op

from kflare.operations.chain import refuse_changes
from kflare.operations.schema import metadata

revision = "0001"
down_revision = None

# As they stand in the schema: a later revision that changes one of them writes its old form here.
_TABLES = ("cycles", "regions", "probabilities", "features", "models", "inputs", "flares", "coverage")


def upgrade() -> None:
    """Make the tables, and the triggers that keep them append-only."""
    metadata.create_all(op.get_bind(), [metadata.tables[name] for name in _TABLES], checkfirst=False)
    refuse_changes(_TABLES)
