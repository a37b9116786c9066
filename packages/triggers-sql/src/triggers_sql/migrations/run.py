"""Runs the migrations, one process at a time."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import alembic.command
import alembic.config
import sqlalchemy
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from triggers.errors import StorageError
from triggers_sql.failures import explain

if TYPE_CHECKING:
    from triggers_sql.connections import Connections
    from triggers_sql.options import Options


def upgrade(connections: Connections) -> None:
    """Brings the tables to the newest revision; waits for another process that does the same.

    Raises:
        StorageError: the database refused.
    """
    config = alembic.config.Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    options = connections.options
    try:
        with connections.inside(), connections.engine.connect() as connection, _alone(connection, options):
            config.attributes.update(connection=connection, options=options)
            _make_schema(connection, options)
            alembic.command.upgrade(config, "triggers@head")
    except DBAPIError as error:
        cause = error.orig if isinstance(error.orig, Exception) else error
        raise explain(cause, connections.failure(cause), options) from error
    except SQLAlchemyError as error:
        raise StorageError(f"the tables could not be made: {error}") from error


@contextlib.contextmanager
def _alone(connection: sqlalchemy.Connection, options: Options) -> Iterator[None]:
    """Holds the lock that all migrations of these tables take, and commits at the end."""
    dialect = connection.dialect.name
    name = f"triggers:{options.schema or ''}:{options.table_prefix}"
    if dialect == "mysql":
        name = f"{connection.exec_driver_sql('SELECT DATABASE()').scalar()}:{name}"
        name = f"triggers-{zlib.crc32(name.encode())}"
        if (
            connection.execute(
                sqlalchemy.text("SELECT GET_LOCK(:name, :wait)"), {"name": name, "wait": int(options.timeout) or 1}
            ).scalar()
            != 1
        ):
            raise StorageError(
                f"another process migrates the tables and has not finished within {options.timeout:g} s; try again"
            )
        try:
            yield
            connection.commit()
        finally:
            connection.execute(sqlalchemy.text("SELECT RELEASE_LOCK(:name)"), {"name": name})
        return
    if dialect == "postgresql":
        connection.exec_driver_sql("BEGIN")
        connection.execute(sqlalchemy.text("SELECT pg_advisory_xact_lock(:key)"), {"key": zlib.crc32(name.encode())})
    else:
        connection.exec_driver_sql(f"PRAGMA busy_timeout = {round(options.timeout * 1000)}")
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    yield
    connection.commit()
    if dialect == "sqlite":
        connection.exec_driver_sql("PRAGMA busy_timeout = 0")


def _make_schema(connection: sqlalchemy.Connection, options: Options) -> None:
    if options.schema is not None and connection.dialect.name == "postgresql":
        quoted = connection.dialect.identifier_preparer.quote(options.schema)
        if not sqlalchemy.inspect(connection).has_schema(options.schema):
            connection.exec_driver_sql(f"CREATE SCHEMA {quoted}")
