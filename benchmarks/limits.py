"""The limits: what a bare call of each server costs, with as many bytes as a recorded fire commits."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from bench import Bench, Place

PAYLOAD = "x" * 700
"""About as many bytes as a recorded fire commits."""
NAMES = {"SQLite": "bare commit", "Redis": "script call", "PostgreSQL": "bare transaction"}


def limit(bench: Bench, place: Place) -> Callable[[], Any] | None:
    """One bare call; ``None`` where there is no server."""
    makers = {"SQLite": _sqlite, "Redis": _redis, "PostgreSQL": _postgres}
    make = makers.get(place.name)
    return None if make is None else make(bench, place)


def _sqlite(bench: Bench, place: Place) -> Callable[[], Any]:
    connection = sqlite3.connect(bench.folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE IF NOT EXISTS bare (key TEXT PRIMARY KEY, value TEXT)")

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT OR REPLACE INTO bare VALUES ('k', ?)", (PAYLOAD + str(time.perf_counter()),))
        connection.execute("COMMIT")

    return commit


def _redis(bench: Bench, place: Place) -> Callable[[], Any]:
    import redis

    client = redis.Redis.from_url(place.url)
    script = client.register_script(
        "if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] and ARGV[1] ~= '' then return 0 end "
        "redis.call('HSET', KEYS[1], 'v', ARGV[2], 'r', ARGV[3]) return 1"
    )
    state = {"version": ""}

    def call() -> None:
        new = str(time.perf_counter())
        script(keys=[f"{place.options['prefix']}bare"], args=[state["version"], new, PAYLOAD])
        state["version"] = new

    return call


def _postgres(bench: Bench, place: Place) -> Callable[[], Any]:
    import psycopg
    from psycopg import sql

    connection = psycopg.connect(place.url, autocommit=True)
    table = sql.Identifier(f"{place.options['table_prefix']}bare")
    connection.execute(sql.SQL("CREATE TABLE IF NOT EXISTS {} (key TEXT PRIMARY KEY, value TEXT)").format(table))
    connection.execute(sql.SQL("INSERT INTO {} VALUES ('k', '') ON CONFLICT DO NOTHING").format(table))
    select = sql.SQL("SELECT value FROM {} WHERE key = 'k' FOR UPDATE").format(table)
    update = sql.SQL("UPDATE {} SET value = %s WHERE key = 'k'").format(table)

    def transaction() -> None:
        with connection.transaction():
            connection.execute(select)
            connection.execute(update, (PAYLOAD + str(time.perf_counter()),))

    return transaction
