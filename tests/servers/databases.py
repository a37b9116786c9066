"""Databases and keys for one test, and their removal."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Connection


@contextlib.contextmanager
def postgres(server_url: str, name: str) -> Iterator[str]:
    """A new PostgreSQL database on the server."""
    with _database(server_url, name, "postgresql+psycopg", "DROP DATABASE IF EXISTS {} WITH (FORCE)") as url:
        yield url


@contextlib.contextmanager
def mysql(server_url: str, name: str) -> Iterator[str]:
    """A new MariaDB or MySQL database on the server."""
    with _database(server_url, name, "mysql+pymysql", "DROP DATABASE IF EXISTS {}") as url:
        yield url


@contextlib.contextmanager
def _database(server_url: str, name: str, driver: str, drop: str) -> Iterator[str]:
    from sqlalchemy import create_engine, make_url, pool, text

    server = make_url(server_url).set(drivername=driver)
    # No pool: forks and stopped servers must find no connection of ours.
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=pool.NullPool)
    with engine.connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    try:
        yield server.set(database=name).render_as_string(hide_password=False)
    finally:
        with engine.connect() as connection:
            if driver.startswith("mysql"):
                _end_connections(connection, name)
            connection.execute(text(drop.format(name)))


def _end_connections(connection: Connection, name: str) -> None:
    """Ends what a test left open in a MySQL database: a transaction of it would block the removal."""
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    found = connection.execute(text("SELECT id FROM information_schema.processlist WHERE db = :db"), {"db": name})
    for (identity,) in found.all():
        with contextlib.suppress(DBAPIError):  # gone by itself in between
            connection.execute(text(f"KILL {int(identity)}"))


def drop_redis_keys(url: str, prefix: str, *, cluster: bool) -> None:
    """Deletes the keys that begin with the prefix."""
    import redis

    connection = redis.RedisCluster.from_url(url) if cluster else redis.Redis.from_url(url)
    try:
        for key in connection.scan_iter(match=f"{prefix}*", count=1000):
            connection.delete(key)
    finally:
        connection.close()
