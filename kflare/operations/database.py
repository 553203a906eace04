"""The ledger's database: opened, its schema made or upgraded, every change a transaction of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, OperationalError, SQLAlchemyError

from kflare.errors import SettingError

__all__ = ["open_database", "upgrade_database"]

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
# Any number that nothing else in the database uses: who makes the tables holds it.
_POSTGRESQL_LOCK: Final = 7_365_201
_BUSY_SECONDS: Final = 60.0


def open_database(url: str) -> Engine:
    """Connect by SQLAlchemy URL of SQLite or PostgreSQL; an empty database is given the ledger's tables.

    SettingError if there is no such driver or server, or the tables are of another version of kflare.
    """
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            has, wants = _revisions(connection)
            if has is None:
                _upgrade(connection)
    except SQLAlchemyError as error:
        engine.dispose()
        raise _unusable(engine, error) from error
    if has not in (None, wants):
        engine.dispose()
        raise SettingError(
            f"the ledger `{engine.url!r}` is of schema {has}, this kflare writes {wants}: run "
            "python -m kflare.forecast --upgrade-ledger, or the kflare that made it if that is newer"
        )
    return engine


def upgrade_database(url: str) -> tuple[str | None, str]:
    """Bring the tables of an older kflare up to date, all or nothing; the revisions before (None: empty) and after."""
    engine = _engine(url)
    try:
        with engine.begin() as connection:
            before, after = _revisions(connection)
            _upgrade(connection)
    except SQLAlchemyError as error:
        raise _unusable(engine, error) from error
    finally:
        engine.dispose()
    return before, after


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        dialect = parsed.get_backend_name()
        if dialect not in ("sqlite", "postgresql"):
            raise SettingError(f"`ledger.url` must be of sqlite or postgresql, got {dialect}")
        if dialect == "sqlite":
            engine = create_engine(parsed, connect_args={"timeout": _BUSY_SECONDS})
            _sqlite_transactions(engine)
        else:
            engine = create_engine(parsed, pool_pre_ping=True, connect_args={"connect_timeout": 10})
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise SettingError(f"`ledger.url` {url!r} cannot be used: {error}; for PostgreSQL install psycopg") from error
    return engine


def _sqlite_transactions(engine: Engine) -> None:
    """Whole transactions, tables and triggers included, one writer at a time, on the disk when they end.

    Python's driver begins transactions on its own, and not before changes of tables: SQLAlchemy's documentation of
    SQLite, "Enabling Non-Legacy SQLite Transactional Modes", has this way out.
    """

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        connection.isolation_level = None
        for setting in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
            connection.execute(f"PRAGMA {setting}")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _revisions(connection: Connection) -> tuple[str | None, str]:
    """Of the tables and of this kflare; a second process waits here until the first has made the tables."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRESQL_LOCK})
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None
    return MigrationContext.configure(connection).get_current_revision(), head


def _upgrade(connection: Connection) -> None:
    upgrade: Callable[[Config, str], None] = command.upgrade
    upgrade(_config(connection), "head")


def _unusable(engine: Engine, error: SQLAlchemyError) -> SettingError:
    # SQLAlchemy's own text carries the statement and a link; the driver's is the reason alone.
    reason = getattr(error, "orig", error) if isinstance(error, OperationalError) else error
    return SettingError(f"the ledger `{engine.url!r}` cannot be used: {reason}")
