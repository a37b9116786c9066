"""Recorded fires beside the limits of the servers: one process, one run, interleaved; medians and their ratios.

Memory and SQLite are always measured; Redis and PostgreSQL where ``TRIGGERS_TEST_REDIS_URL`` and
``TRIGGERS_TEST_POSTGRES_URL`` name a server. Each session is fired with a trigger whose task has an instance that waits:
a fire changes the records of the trigger, the head and the history.
"""

from __future__ import annotations

import argparse
import atexit
import os
import sqlite3
import statistics
import tempfile
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.settings import Settings
from triggers.storages import storage_backends
from triggers.tasks import task

CASES = ("fresh", "1000 tasks", "3000 finished", "3000 queued")
PAYLOAD = "x" * 700
"""About as many bytes as a recorded fire commits."""
Measured = tuple[str, str, Callable[[], Any]]


@task("bench.nothing")
def nothing(context: Any) -> None:
    """A work that does nothing."""


def main() -> None:
    """Measures, and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=300, help="how often each is measured (default 300)")
    parser.add_argument("--cases", nargs="*", default=list(CASES), choices=CASES)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="triggers-bench-"))
    measured: list[Measured] = []
    for name, limit, storage in _storages(folder):
        if limit is not None:
            measured.append((name, "limit", limit))
        for case in options.cases:
            for remembered in (0, 1000):
                what = f"{case}, {'speculating' if remembered else 'loading'}"
                measured.append((name, what, _fire(storage, case, remembered)))
                print(f"prepared: {name}, {what}", flush=True)
    medians = measure(measured, options.rounds)
    print("\n| storage | what | median | ratio to the limit | ratio to fresh |\n| --- | --- | --- | --- | --- |")
    for (name, what), median in medians.items():
        limit_of = medians.get((name, "limit"))
        fresh = medians.get((name, f"fresh, {what.rpartition(' ')[2]}"))
        print(
            f"| {name} | {what} | {median * 1e3:.3f} ms | {median / limit_of:.2f} |"
            if limit_of
            else f"| {name} | {what} | {median * 1e3:.3f} ms | |",
            f"{median / fresh:.2f} |" if fresh else "|",
        )


def measure(measured: list[Measured], rounds: int) -> dict[tuple[str, str], float]:
    """The median time of each, in seconds; in each round all take their turn."""
    times: dict[tuple[str, str], list[float]] = {(name, what): [] for name, what, _ in measured}
    for number in range(rounds + 20):
        for name, what, act in measured:
            began = time.perf_counter()
            act()
            took = time.perf_counter() - began
            if number >= 20:
                times[name, what].append(took)
    return {key: statistics.median(found) for key, found in times.items()}


def _storages(folder: Path) -> list[tuple[str, Callable[[], Any] | None, Callable[[str], Any]]]:
    sqlite_url = f"sqlite:///{folder}/bench.db"
    found: list[tuple[str, Callable[[], Any] | None, Callable[[str], Any]]] = [
        ("memory", None, lambda uid: storage_backends.get("memory", uid)),
        ("SQLite", _bare_sqlite(folder), lambda uid: storage_backends.get("sql", uid, url=sqlite_url)),
    ]
    redis_url = os.environ.get("TRIGGERS_TEST_REDIS_URL")
    if redis_url:
        prefix = f"bench-{uuid.uuid4().hex[:8]}:"
        found.append(
            (
                "Redis",
                _bare_redis(redis_url, prefix),
                lambda uid: storage_backends.get("redis", uid, url=redis_url, prefix=prefix),
            )
        )
    postgres_url = os.environ.get("TRIGGERS_TEST_POSTGRES_URL")
    if postgres_url:
        url = postgres_url.replace("postgresql://", "postgresql+psycopg://")
        table_prefix = f"bench_{uuid.uuid4().hex[:8]}_"
        store = storage_backends.get("sql", "any", url=url, table_prefix=table_prefix).store
        store.setup()
        atexit.register(_drop_tables, url, table_prefix)
        found.append(
            ("PostgreSQL", _bare_postgres(url), lambda uid: storage_backends.get("sql", uid, url=url, table_prefix=table_prefix))
        )
    return found


def _fire(storage: Callable[[str], Any], case: str, remembered: int) -> Callable[[], Any]:
    settings = Settings(sweep_interval=0.0, runner="inline", remembered_sessions=remembered)
    manager = TriggerManager(storage(f"{case}-{remembered}"), process=Process(settings=lambda: settings))
    tasks: dict[str, Any] = {"t": {"after": ["a", "never"], "run": "bench.nothing"}}
    if case == "1000 tasks":
        tasks |= {f"t{number}": {"after": [f"x{number}"], "run": "bench.nothing"} for number in range(1000)}
    if case == "3000 finished":
        tasks["e"] = {"after": ["a"], "andEvery": "p", "run": "bench.nothing"}
    if case == "3000 queued":
        tasks["e"] = {"after": ["a", "never"], "andEvery": "p", "run": "bench.nothing"}
    manager.update_configuration(tasks)
    manager.fire("a")
    if case.startswith("3000"):
        for _ in range(3000):
            manager.fire("p")
    return lambda: manager.fire("a", {"n": 1})


def _bare_sqlite(folder: Path) -> Callable[[], Any]:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE bare (key TEXT PRIMARY KEY, value TEXT)")

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT OR REPLACE INTO bare VALUES ('k', ?)", (PAYLOAD + str(time.perf_counter()),))
        connection.execute("COMMIT")

    return commit


def _bare_redis(url: str, prefix: str) -> Callable[[], Any]:
    import redis

    client = redis.Redis.from_url(url)
    script = client.register_script(
        "if redis.call('HGET', KEYS[1], 'v') ~= ARGV[1] and ARGV[1] ~= '' then return 0 end "
        "redis.call('HSET', KEYS[1], 'v', ARGV[2], 'r', ARGV[3]) return 1"
    )
    state = {"version": ""}

    def call() -> None:
        new = str(time.perf_counter())
        script(keys=[f"{prefix}bare"], args=[state["version"], new, PAYLOAD])
        state["version"] = new

    return call


def _bare_postgres(url: str) -> Callable[[], Any]:
    import psycopg

    connection = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
    table = f"bare_{uuid.uuid4().hex[:8]}"
    connection.execute(f"CREATE TABLE {table} (key TEXT PRIMARY KEY, value TEXT)")
    connection.execute(f"INSERT INTO {table} VALUES ('k', '')")
    atexit.register(_drop_tables, url, table)

    def transaction() -> None:
        with connection.transaction():
            connection.execute(f"SELECT value FROM {table} WHERE key = 'k' FOR UPDATE")
            connection.execute(f"UPDATE {table} SET value = %s WHERE key = 'k'", (PAYLOAD + str(time.perf_counter()),))

    return transaction


def _drop_tables(url: str, prefix: str) -> None:
    import psycopg

    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE tablename LIKE %s", (f"{prefix}%",)).fetchall()
        for (name,) in found:
            connection.execute(f"DROP TABLE {name} CASCADE")


if __name__ == "__main__":
    main()
