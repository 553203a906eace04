"""The ledger's database: opened, its schema made or upgraded, every change a transaction of its own."""

import os
import re
import sqlite3
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, SAWarning, SQLAlchemyError
from sqlalchemy.pool import NullPool

from kflare.errors import LedgerError, SettingError
from kflare.io.passwords import without_passwords

_MIGRATIONS: Final = Path(__file__).with_name("migrations")
# Any number that nothing else in the database uses: who writes holds it, so that the chain has one end.
_POSTGRESQL_LOCK: Final = 7_365_201
_BUSY_SECONDS: Final = 60.0
# What the database's own defaults must not change: how times and numbers are written, what a transaction sees and when
# it is on the disk, and for how long is waited.
_SESSION = {"default_transaction_isolation": "read committed", "synchronous_commit": "on", "DateStyle": "ISO, YMD"}
_SESSION |= {"TimeZone": "UTC", "extra_float_digits": "1", "standard_conforming_strings": "on"}
_SESSION["lock_timeout"] = f"{_BUSY_SECONDS:.0f}s"
# Of small pages a row that goes on over several of them fills more; a ledger that is there keeps its own.
_SQLITE: Final = ("page_size = 1024", "journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON")
# Of the query of a URL: where the server is, and how it is spoken to.
_PUBLIC: Final = ("host", "port", "user", "sslmode", "connect_timeout", "mode", "immutable", "uri")
# How long another process may take to make a new ledger.
_MAKING_SECONDS: Final = 5.0
# SQLite takes a shorter file for an empty database, and would begin anew in it.
_SHORTEST: Final = 512


def open_database(url: str, *, begin: bool = True) -> Engine:
    """Connect by SQLAlchemy URL of SQLite or PostgreSQL; an empty database is given the ledger's tables.

    SettingError if there is no such driver or server, or the tables are of another version of kflare; LedgerError if
    the database fails, or there is no ledger and none is to `begin`: then nothing is made.
    """
    engine = _engine(url, begin=begin)
    file = Path(engine.url.database or "")
    new = engine.dialect.name == "sqlite" and not file.exists()
    try:
        with transaction(engine, opening=True) as connection:
            has, wants = _revisions(connection)
        if has is None and not begin:
            raise _absent(shown_url(engine.url))
        if has is None:
            with transaction(engine, write=True, opening=True) as connection:
                has, _ = _revisions(connection)  # another process may have made them in the meantime
                if has is None:
                    upgrade_schema(connection)
    except SettingError:
        engine.dispose()
        if new and file.is_file() and file.stat().st_size < _SHORTEST:
            file.unlink()  # of a full disk; it would else be taken for what is left of a ledger
        raise
    if has not in (None, wants):
        engine.dispose()
        how = "run python -m kflare.forecast --upgrade-ledger, or the kflare that made it if that is newer"
        raise SettingError(
            f"the ledger `{shown_url(engine.url)}` is of schema {has}, this kflare writes {wants}: {how}"
        )
    return engine


def upgrade_database(url: str) -> tuple[str | None, str]:
    """Bring an older kflare's tables up to date, all or nothing; the revisions before and after.

    SettingError of a newer kflare's.
    """
    engine = _engine(url, begin=False)
    try:
        with transaction(engine, write=True, opening=True) as connection:
            before, after = _revisions(connection)
            if (before or after) <= after:
                upgrade_schema(connection)
    finally:
        engine.dispose()
    if (before or after) > after:
        fault = f"the ledger `{shown_url(engine.url)}` is of schema {before}, newer than this kflare's {after}"
        raise SettingError(f"{fault}: use the kflare that made it")
    return before, after


@contextmanager
def transaction(engine: Engine, *, write: bool = False, opening: bool = False) -> Iterator[Connection]:
    """A transaction, whole or not at all; one of those that `write` at a time.

    LedgerError if the database fails, but IntegrityError of a row that is there already.
    """
    try:
        with engine.connect().execution_options(kflare_writes=write) as connection, connection.begin():
            if write and engine.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRESQL_LOCK})
            yield connection
    except IntegrityError:
        raise
    except (SQLAlchemyError, ValueError, TypeError, OSError) as error:
        # When `opening`, what drivers make of a URL whose parts they do not know; in what is read a forged row, with a
        # time that is none. But of what was to be written it is the caller's.
        if write and not opening and not isinstance(error, SQLAlchemyError):
            raise
        # SQLAlchemy's own text carries the statement and a link; the driver's is the reason alone.
        why = _reason(error.orig if isinstance(error, DBAPIError) else error, engine.url)
        raise LedgerError(f"the ledger `{shown_url(engine.url)}` cannot be used: {why}") from error


def _engine(url: str, *, begin: bool = True) -> Engine:
    if url.count("@") > 1 and not url.startswith("sqlite"):
        raise SettingError("`ledger.url` must have one @: write %40 for those of the user's name and password")
    parsed = None
    try:
        url.encode()  # a broken name of the command line is no text
        parsed = make_url(url)
        if parsed.get_backend_name() == "sqlite":
            with warnings.catch_warnings():
                warnings.simplefilter("error", SAWarning)  # of arguments that it would ignore
                return _sqlite(parsed, begin=begin)
        if parsed.get_backend_name() == "postgresql":
            # Text, not bytes, even of a database whose encoding is then refused.
            options = {"connect_timeout": 10, "client_encoding": "utf8"}
            engine = create_engine(parsed, pool_pre_ping=True, connect_args=options)
            event.listen(engine, "connect", _prepare_postgresql)
            return engine
    except (SQLAlchemyError, SAWarning, ImportError, ValueError, TypeError, OSError) as error:
        fault = f"`ledger.url` cannot be used: {_reason(error, parsed)}"
        raise SettingError(f"{fault}; for PostgreSQL install psycopg") from error
    raise SettingError(f"`ledger.url` must be of sqlite or postgresql, got {parsed.get_backend_name()}")


def _sqlite(url: URL, *, begin: bool) -> Engine:
    """Whole transactions, tables and triggers included, one writer at a time, on the disk when they end.

    Python's driver begins transactions on its own, and not before changes of tables: SQLAlchemy's documentation of
    SQLite, "Enabling Non-Legacy SQLite Transactional Modes", has this way out. A read-only ledger is read.
    """
    place = Path(url.database) if url.database not in (None, "", ":memory:") else None
    read_only = _read_only(place) if place else ""
    if place and not begin and not place.exists():
        raise _absent(str(place))
    if read_only:
        given = {read_only.partition("=")[0]: read_only.partition("=")[2], "uri": "true"}
        url = url.set(database=f"file:{quote(url.database or '')}").update_query_dict(given)
    # Opened anew each time: a file that was put in its place is seen, and one that is gone is not written to for ever.
    engine = create_engine(url, connect_args={"timeout": _BUSY_SECONDS}, poolclass=place and NullPool)
    opened = False

    @event.listens_for(engine, "do_connect")
    def require(*_: object) -> None:
        if opened and place and not read_only and not place.exists():
            raise LedgerError(f"the ledger `{place}` is gone: bring it back; what waits for it is kept")

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: object) -> None:
        nonlocal opened
        connection.isolation_level, opened = None, True
        for setting in () if read_only else _SQLITE:
            _set(connection, setting)

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        writes = connection.get_execution_options().get("kflare_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _set(connection: Any, setting: str) -> None:
    wait = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute(f"PRAGMA {setting}")
        except sqlite3.OperationalError as error:
            # The change to WAL does not wait for a process that makes it as well; a damaged file will not mend.
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > wait:
                raise
            time.sleep(0.05)
        else:
            return


def _read_only(path: Path) -> str:
    """How SQLite is told to read a file that cannot be written to, "" if it can; LedgerError if it is cut short."""
    if path.is_symlink() and not path.exists():
        fault = f"the ledger `{path}` is a link to {path.readlink()}, which is gone"
        raise LedgerError(f"{fault}: bring it back, or delete the link to begin a new ledger")
    log = path.with_name(f"{path.name}-wal")
    wait = time.monotonic() + _MAKING_SECONDS
    while (size := path.stat().st_size if path.exists() else -1) < _SHORTEST and (size >= 0 or log.exists()):
        if time.monotonic() > wait:
            found = f"holds {size} bytes" if size >= 0 else f"is gone, but `{log.name}` is there"
            fault = f"the ledger `{path}` {found}: there was a ledger before"
            raise LedgerError(f"{fault}; bring back a copy of it, or delete what is there to begin a new one")
        time.sleep(0.05)
    if size < 0 or (os.access(path, os.W_OK) and os.access(path.parent, os.W_OK)):
        return ""
    # A log that was left behind holds what was written last.
    return "mode=ro" if log.exists() and log.stat().st_size else "immutable=1"


def _prepare_postgresql(connection: Any, _: object) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        (encoding,) = cursor.fetchone()
        if encoding != "UTF8":
            fault = f"the encoding of the ledger's database must be UTF8, got {encoding}"
            raise SettingError(f"{fault}: make it with ENCODING 'UTF8'")
        for name, value in _SESSION.items():
            cursor.execute(f"SET {name} TO '{value}'")
    connection.commit()


def _revisions(connection: Connection) -> tuple[str | None, str]:
    """Of the tables and of this kflare."""
    found = None
    if inspect(connection).has_table("alembic_version"):
        found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return found, max(path.name for path in _MIGRATIONS.glob("versions/*.py")).partition("_")[0]


def upgrade_schema(connection: Connection) -> None:
    """Run the migrations."""
    from alembic import command  # late: a monitor asks often, and changes nothing
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    upgrade: Callable[[Config, str], None] = command.upgrade
    upgrade(config, "head")


def shown_url(url: str | URL) -> str:
    """A ledger's URL for messages: without its password, and of its query only what cannot hold a secret."""
    try:
        parsed = make_url(url)
    except (SQLAlchemyError, ValueError, TypeError):
        return without_passwords(str(url))
    known = {name: value for name, value in parsed.query.items() if name in _PUBLIC}
    return without_passwords(parsed.set(query=known).render_as_string())


def _reason(error: BaseException | None, url: URL | None) -> str:
    """What an error says, without what the URL's query hides: drivers repeat a value that they cannot use."""
    text = " ".join(str(error).split())
    hidden = {} if url is None else {name: value for name, value in url.query.items() if name not in _PUBLIC}
    values = [value for given in hidden.values() for value in ([given] if isinstance(given, str) else given)]
    words = {word for value in values for word in (value, *re.split(r"[\s=]+", value)) if len(word) > 2}
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, "***")
    return without_passwords(text)


def _absent(name: str) -> LedgerError:
    return LedgerError(f"there is no ledger `{name}`: check the URL; python -m kflare.forecast --once begins a new one")
