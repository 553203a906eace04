"""Existing keys are refused, every record is a link of a chain, and issue times that were not run are apart.

What was recorded before becomes the beginning of the chain: it is held against later changes only.
"""

from alembic import op
from sqlalchemy import insert, select

from kflare.operations import schema
from kflare.operations.chain import add_link, refuse_changes, refuse_existing_keys

revision = "0002"
down_revision = "0001"

_NEW = ("missed", "chain")
_LATER = ("measured",)  # its triggers are of 0003, but links look into it


def upgrade() -> None:
    """Make the new tables and triggers, move "not run" to its table, and chain what is there."""
    bind = op.get_bind()
    schema.metadata.create_all(bind, [schema.metadata.tables[name] for name in (*_NEW, *_LATER)], checkfirst=False)
    cycles, missed = schema.cycles, schema.missed
    not_run = (cycles.c.kind == "outage") & cycles.c.reason.startswith("not run")
    copied = select(*(cycles.c[column.name] for column in missed.columns)).where(not_run)
    bind.execute(insert(missed).from_select([column.name for column in missed.columns], copied))
    postgresql = bind.dialect.name == "postgresql"
    op.execute(
        "ALTER TABLE cycles DISABLE TRIGGER cycles_append_only" if postgresql else "DROP TRIGGER cycles_no_delete"
    )
    bind.execute(cycles.delete().where(not_run))
    if postgresql:
        op.execute("ALTER TABLE cycles ENABLE TRIGGER cycles_append_only")
    else:
        refuse_changes(["cycles"], events=("DELETE",))
    refuse_changes(_NEW)
    refuse_existing_keys(table for table in schema.metadata.sorted_tables if table.name not in _LATER)
    for table, kind in ((cycles, "cycle"), (missed, "missed")):
        for key in bind.execute(select(table.c.cycle_id).order_by(table.c.recorded, table.c.issue)).scalars().all():
            add_link(bind, kind, key)
    if bind.execute(select(schema.coverage).limit(1)).first():
        add_link(bind, "flares")
