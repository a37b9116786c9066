"""What differs between the databases: drivers, how a connection is prepared, and what their errors mean."""

from __future__ import annotations

import enum
import os
import select
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from triggers.errors import SettingsError, StorageError
from triggers_sql.mysql import MySQLStatements
from triggers_sql.options import Options
from triggers_sql.postgresql import PostgresStatements
from triggers_sql.statements import Statements

if TYPE_CHECKING:
    from sqlalchemy import URL, Dialect


class Failure(enum.Enum):
    """What an error of a driver means for us."""

    LOST = "the connection was lost"
    SILENT = "the server did not answer in time"
    CROSSED = "other transactions were in the way, and this one was undone"
    BUSY = "a lock was not given in time"
    DUPLICATE = "the row exists"
    MISSING = "a table is missing"
    READ_ONLY = "the database is read-only"
    FULL = "the disk is full"
    NO_DATABASE = "the file is no database"
    CANNOT_OPEN = "the file cannot be opened"
    OTHER = "the database refused"


class Database:
    """What the store asks of a kind of database. The URL's driver is always ours."""

    driver: ClassVar[str]
    extra: ClassVar[str | None]
    embedded: ClassVar[bool] = False
    begin: ClassVar[str] = "BEGIN"
    statements: ClassVar[type[Statements]]

    def __init__(self, options: Options) -> None:
        self.options = options

    def url(self, url: URL) -> URL:
        """The URL to connect to."""
        return url.set(drivername=self.driver)

    @property
    def patience(self) -> float:
        """How long an answer is waited for: longer than for a lock, so that a wait for a lock ends as such."""
        return self.options.timeout + min(5.0, self.options.timeout)

    def engine_options(self) -> dict[str, Any]:
        """Arguments for ``create_engine``."""
        return {}

    def connect(self, arguments: Any, options: dict[str, Any]) -> Any:
        """A new connection of the driver, or ``None`` for the driver's usual one."""
        return None

    def connect_args(self) -> dict[str, Any]:
        """Arguments for the driver's ``connect``; those of the user come on top."""
        return {}

    def prepare(self, connection: Any) -> None:
        """Makes a new connection of the driver fit for the store; it commits each statement unless told otherwise."""

    def failure(self, error: Exception, dialect: Dialect, connection: Any) -> Failure:
        """What the driver's error means."""
        if dialect.is_disconnect(error, connection, None):  # type: ignore[arg-type]
            return Failure.LOST
        return Failure.OTHER

    weak_settings: ClassVar[Mapping[str, tuple[tuple[str, ...], str]]] = {}
    """Queries for settings of the server, the answers under which a commit may be lost with the machine, and what to do."""

    def is_stale(self, connection: Any) -> bool:
        """Whether the server has certainly hung up on an idle connection; costs no round trip."""
        return False


class SQLite(Database):
    """A file in WAL mode: one writer at a time, readers that never wait."""

    driver = "sqlite+pysqlite"
    extra = None
    embedded = True
    begin = "BEGIN IMMEDIATE"
    statements = Statements

    def url(self, url: URL) -> URL:
        """The URL with an absolute path.

        Raises:
            SettingsError: it names no file.
            StorageError: its folder does not exist.
        """
        path = url.database or ""
        if self.options.schema is not None:
            raise SettingsError("option 'schema' of the sql storage is not for SQLite; use 'table_prefix'")
        if path in ("", ":memory:") or path.startswith("file::memory:") or url.query.get("mode") == "memory":
            raise SettingsError(
                "an SQLite database in memory is seen by one connection only; give a file (sqlite:///triggers.db),"
                " or use the storage 'memory'"
            )
        if not path.startswith("file:"):
            path = os.path.join(self.options.folder, path)
            folder = os.path.dirname(path)
            if not os.path.isdir(folder):
                raise StorageError(f"cannot open the SQLite database {path}: the folder {folder} does not exist; make it first")
        return super().url(url.set(database=path))

    def connect_args(self) -> dict[str, Any]:
        """Waiting for a lock is ours, see ``Connections.is_locked``."""
        return {"timeout": 0, "check_same_thread": False, "isolation_level": None, "cached_statements": 512}

    def prepare(self, connection: Any) -> None:
        """WAL and durability; the first process switches to WAL, which wants the file for itself for a moment."""
        end = time.monotonic() + self.options.timeout
        while True:
            try:
                connection.execute("PRAGMA journal_mode=WAL").fetchone()
                break
            except connection.OperationalError as error:
                if _sqlite_code(error) not in _SQLITE_BUSY or time.monotonic() > end:
                    raise
                time.sleep(0.01)
        connection.execute(f"PRAGMA synchronous={self.options.synchronous}")

    def failure(self, error: Exception, dialect: Dialect, connection: Any) -> Failure:
        """By the primary result code."""
        code = _sqlite_code(error)
        if code == 1 and "no such table" in str(error):
            return Failure.MISSING
        return _SQLITE_FAILURES.get(code, Failure.OTHER)


def _sqlite_code(error: Exception) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF


_SQLITE_BUSY = (5, 6)
_SQLITE_FAILURES = {
    5: Failure.BUSY,
    6: Failure.BUSY,
    8: Failure.READ_ONLY,
    11: Failure.NO_DATABASE,
    13: Failure.FULL,
    14: Failure.CANNOT_OPEN,
    19: Failure.DUPLICATE,
    26: Failure.NO_DATABASE,
}


class PostgreSQL(Database):
    """PostgreSQL by psycopg 3, each statement under READ COMMITTED."""

    driver = "postgresql+psycopg"
    extra = "postgresql"
    begin = "BEGIN ISOLATION LEVEL READ COMMITTED"
    statements = PostgresStatements
    weak_settings = {
        "SHOW fsync": (("off",), "fsync is off: a crash of the machine can destroy the database; set fsync=on"),
        "SHOW synchronous_commit": (("off",), "synchronous_commit is off: the last commits are lost when the server crashes"),
    }

    def engine_options(self) -> dict[str, Any]:
        """Spares the look-up of a type that we do not use."""
        return {"use_native_hstore": False}

    def connect(self, arguments: Any, options: dict[str, Any]) -> Any:
        """One that does not wait endlessly."""
        from triggers_sql.patience import patient_connection

        return patient_connection(self.patience).connect(*arguments, **options)

    def connect_args(self) -> dict[str, Any]:
        """A server that went away without a word is noticed."""
        seconds = max(1, round(self.options.timeout))
        return {
            "connect_timeout": min(10, max(2, seconds)),
            "keepalives_idle": 30,
            "keepalives_interval": 10,
            "keepalives_count": 3,
            "tcp_user_timeout": seconds * 1000,
        }

    def prepare(self, connection: Any) -> None:
        """One statement is one transaction unless ``BEGIN`` says otherwise, and no wait for a lock is endless."""
        connection.autocommit = True
        connection.execute(f"SET lock_timeout = {round(self.options.timeout * 1000)}")

    def is_stale(self, connection: Any) -> bool:
        """A server says nothing on an idle connection but its farewell."""
        if not hasattr(select, "poll"):
            return bool(select.select([connection.fileno()], [], [], 0)[0])
        poll = select.poll()
        poll.register(connection.fileno(), select.POLLIN)
        return bool(poll.poll(0))

    def failure(self, error: Exception, dialect: Dialect, connection: Any) -> Failure:
        """By the SQLSTATE."""
        if type(error).__name__ == "Silent":
            return Failure.SILENT
        state = getattr(error, "sqlstate", None) or ""
        if state in _POSTGRES_FAILURES:
            return _POSTGRES_FAILURES[state]
        if state.startswith("08") or (connection is not None and connection.closed):
            return Failure.LOST
        return super().failure(error, dialect, connection)


_POSTGRES_FAILURES = {
    "40001": Failure.CROSSED,
    "40P01": Failure.CROSSED,
    "55P03": Failure.BUSY,
    "23505": Failure.DUPLICATE,
    "42P01": Failure.MISSING,
    "3F000": Failure.MISSING,
    "25006": Failure.READ_ONLY,
    "53100": Failure.FULL,
    "57P01": Failure.LOST,
    "57P02": Failure.LOST,
    "57P03": Failure.LOST,
}


class MySQL(Database):
    """MySQL or MariaDB by PyMySQL, under READ COMMITTED and in strict mode."""

    driver = "mysql+pymysql"
    extra = "mysql"
    statements = MySQLStatements
    weak_settings = {
        "SELECT @@innodb_flush_log_at_trx_commit": (
            ("0", "2"),
            "innodb_flush_log_at_trx_commit is not 1: the last commits are lost when the machine crashes",
        ),
    }

    def url(self, url: URL) -> URL:
        """Text is UTF-8, whatever the server's default."""
        return super().url(url.update_query_dict({"charset": "utf8mb4"}))

    def connect_args(self) -> dict[str, Any]:
        """No answer is waited for endlessly."""
        return {
            "connect_timeout": min(10, max(1, round(self.options.timeout))),
            "read_timeout": self.patience,
            "write_timeout": self.patience,
            "autocommit": True,
        }

    def prepare(self, connection: Any) -> None:
        """Strict mode, or values that are too long would be cut; READ COMMITTED, or gaps would be locked."""
        with connection.cursor() as cursor:
            cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
            cursor.execute(
                "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', innodb_lock_wait_timeout ="
                f" {max(1, round(self.options.timeout))}"
            )
            cursor.execute("SELECT @@max_allowed_packet")
            ((packet,),) = cursor.fetchall()
        needed = 2 * self.options.max_value_bytes + 2 * MySQLStatements.max_bytes
        if packet < needed:
            raise StorageError(
                f"the server's max_allowed_packet is {packet}, and records of up to {self.options.max_value_bytes} bytes"
                f" (option max_value_bytes of the sql storage) need {needed}; raise the one or lower the other"
            )

    def failure(self, error: Exception, dialect: Dialect, connection: Any) -> Failure:
        """By the error number."""
        number = error.args[0] if error.args and isinstance(error.args[0], int) else 0
        if number == 2013 and "timed out" in str(error):
            return Failure.SILENT
        if number in _MYSQL_FAILURES:
            return _MYSQL_FAILURES[number]
        if type(error).__name__ in ("InterfaceError", "InternalError") and number == 0:
            return Failure.LOST
        return super().failure(error, dialect, connection)


_MYSQL_FAILURES = {
    1213: Failure.CROSSED,
    1020: Failure.CROSSED,
    1205: Failure.BUSY,
    1062: Failure.DUPLICATE,
    1146: Failure.MISSING,
    1290: Failure.READ_ONLY,
    1792: Failure.READ_ONLY,
    1836: Failure.READ_ONLY,
    1021: Failure.FULL,
    1114: Failure.FULL,
    1053: Failure.LOST,
    1927: Failure.LOST,
}

BACKENDS: dict[str, type[Database]] = {
    "sqlite": SQLite,
    "postgresql": PostgreSQL,
    "postgres": PostgreSQL,
    "mysql": MySQL,
    "mariadb": MySQL,
}
