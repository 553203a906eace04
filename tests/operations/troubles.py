"""What befalls the ledger's database from outside while the office runs, and is over after a while."""

import sqlite3
from collections.abc import Callable

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.pool import NullPool

from kflare.operations.ledger import Ledger
from tests import postgresql

TROUBLES = ("ledger stopped", "ledger locked", "ledger full")


class LedgerTroubles:
    """The troubles of one ledger, of SQLite or PostgreSQL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        self.sqlite = self.engine.dialect.name == "sqlite"
        self.end: Callable[[], object] = lambda: None

    def begin(self, trouble: str, ledger: Ledger) -> None:
        """Begin; `end` ends it. SQLite has no server to be stopped, and another's is not stopped: it is locked."""
        if trouble == "ledger full":
            self._fill(ledger)
        elif trouble == "ledger stopped" and postgresql.is_own(self.url):
            postgresql.stop(self.url)
            self.end = lambda: postgresql.start(self.url)
        else:
            connection = self.engine.connect()
            # What can be read, but not written to.
            lock = "BEGIN IMMEDIATE" if self.sqlite else "BEGIN; LOCK TABLE cycles, coverage IN SHARE MODE"
            connection.execute(text(lock))
            self.end = connection.close

    def _fill(self, ledger: Ledger) -> None:
        if self.sqlite:

            def full(connection: sqlite3.Connection, _: object) -> None:
                (pages,) = connection.execute("PRAGMA page_count").fetchone()
                connection.execute(f"PRAGMA max_page_count = {pages}")

            event.listen(Engine, "connect", full)
            self.end = lambda: (event.remove(Engine, "connect", full), ledger.engine.dispose())
            ledger.engine.dispose()
        else:  # a full disk of PostgreSQL's would end its server: it takes nothing more
            self._read_only("on")
            self.end = lambda: self._read_only("off")

    def _read_only(self, value: str) -> None:
        with self.engine.connect() as connection:
            connection.execute(text("SET default_transaction_read_only = off"))
            name = connection.execute(text("SELECT current_database()")).scalar()
            connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = {value}'))
            connection.execute(
                text(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                    "WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
            )

    def forge(self, ledger: Ledger) -> list[str]:
        """Change one probability behind the database's back; what `ledger` finds, before it is put back."""
        if self.sqlite:
            triggers = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' AND name LIKE 'probabilities%'"
            with self.engine.connect() as connection:
                kept = connection.execute(text(triggers)).all()
                before, after = ([f"DROP TRIGGER {name}" for name, _ in kept], [sql for _, sql in kept])
        else:
            before, after = ["SET session_replication_role = replica"], []
        found = []
        for factor in ("2", "0.5"):
            with self.engine.connect() as connection:
                for statement in (*before, f"UPDATE probabilities SET network = network * {factor}", *after):
                    connection.execute(text(statement))
            found.append(ledger.faults())
        assert found[0]
        assert not found[1]
        return found[0]
