"""Many equal sessions at once, made from the records of one; and how many bytes a storage takes."""

from __future__ import annotations

import contextlib
import gc
import os
import sqlite3
import threading
import tracemalloc
from pathlib import Path
from typing import Any

from bench import Place
from triggers.store import ABSENT, Change, Record, Snapshot, Want

THREADS = 4


def fill(place: Place, prefix: str, number: int, template: Snapshot) -> None:
    """Makes the sessions ``prefix-0`` …: through the store; in SQL the first so, and the others as its copies."""
    store = place.open("any").store
    put = {(name, key): record for name, entries in template.records.items() for key, record in entries.items()}
    through_store = 1 if place.key == "sql" else number

    def some(first: int, step: int) -> None:
        for at in range(first, through_store, step):
            store.commit(f"{prefix}-{at}", _change(put, f"{prefix}:{at}"), ABSENT, Want())

    steps = THREADS if place.name == "Redis" else 1
    threads = [threading.Thread(target=some, args=(first, steps)) for first in range(steps)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if place.key == "sql" and number > 1:
        _copy(place, prefix, number)


def _change(put: dict[tuple[str, str], Record], version: str) -> Change:
    return Change(version, put)


def _copy(place: Place, prefix: str, number: int) -> None:
    """Copies the rows of the first session; a uid is text or bytes, as the column is."""
    tables = place.options.get("table_prefix", "triggers_")
    last = number - 1
    if place.name == "SQLite":
        series = f"WITH RECURSIVE series(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {last}) "
        with contextlib.closing(sqlite3.connect(_path(place))) as file, file:
            (kind,) = file.execute(f"SELECT typeof(uid) FROM {tables}sessions LIMIT 1").fetchone()
            for text in _copies(tables, series, f"CAST('{prefix}-' || n AS {kind})", f"CAST('{prefix}-0' AS {kind})"):
                file.execute(text)
        return
    import psycopg

    series = f"WITH series(n) AS (SELECT generate_series(1, {last})) "
    with psycopg.connect(place.url) as connection:
        row: Any = connection.execute(f"SELECT pg_typeof(uid)::text FROM {tables}sessions LIMIT 1").fetchone()
        made, first = f"'{prefix}-' || n", f"'{prefix}-0'"
        if row[0] == "bytea":
            made, first = f"convert_to({made}, 'UTF8')", f"convert_to({first}, 'UTF8')"
        for text in _copies(tables, series, made, first):
            connection.execute(text)


def _copies(tables: str, series: str, uid: str, first: str) -> list[str]:
    into_sessions = f"INSERT INTO {tables}sessions (uid, version) {series}"
    into_records = f"INSERT INTO {tables}records (uid, collection, key, value, wake_at) {series}"
    return [
        f"{into_sessions}SELECT {uid}, version FROM {tables}sessions, series WHERE uid = {first}",
        f"{into_records}SELECT {uid}, collection, key, value, wake_at FROM {tables}records, series WHERE uid = {first}",
    ]


def _path(place: Place) -> Path:
    return Path(place.options["url"].removeprefix("sqlite:///"))


def take_size(place: Place) -> int:
    """How many bytes the storage takes at present."""
    if place.name == "memory":
        if not tracemalloc.is_tracing():
            tracemalloc.start()
        gc.collect()
        return tracemalloc.get_traced_memory()[0]
    if place.name == "SQLite":
        with contextlib.closing(sqlite3.connect(_path(place))) as file:
            file.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return os.path.getsize(_path(place))
    if place.name == "Redis":
        import redis

        with redis.Redis.from_url(place.url) as client:
            return int(client.info("memory")["used_memory"])
    import psycopg

    with psycopg.connect(place.url) as connection:
        query = "SELECT sum(pg_total_relation_size(tablename::text)) FROM pg_tables WHERE tablename LIKE %s"
        row = connection.execute(query, (f"{place.options['table_prefix']}%",)).fetchone()
        return int(row[0]) if row else 0
