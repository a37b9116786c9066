"""What every measurement needs: the servers, the storages, and times taken in turn."""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.settings import Settings
from triggers.storages import storage_backends
from triggers.storages.base import BaseTriggerStorage

ROOT = Path(__file__).resolve().parents[1]
JOIN: dict[str, Any] = {"t": {"after": ["a", "b"], "run": "bench.nothing"}}
WAITING: dict[str, Any] = {"t": {"after": ["a", "never"], "run": "bench.nothing"}}
"""A task whose instance waits for ever: a fire of ``a`` is recorded, and nothing follows."""


@dataclass
class Place:
    """A storage that is measured."""

    name: str
    key: str
    options: dict[str, Any]
    url: str = ""

    def open(self, uid: str) -> BaseTriggerStorage:
        """The handle of a session."""
        storage: BaseTriggerStorage = storage_backends.get(self.key, uid, **self.options)
        return storage


@dataclass
class Bench:
    """One run: where to measure, and how much."""

    folder: Path
    rounds: int
    quick: bool
    places: list[Place] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    run: str = field(default_factory=lambda: uuid.uuid4().hex[:8])

    def place(self, name: str) -> Place | None:
        """A storage by name, if it is there."""
        return next((place for place in self.places if place.name == name), None)

    def uid(self, name: str) -> str:
        """A session of this run."""
        return f"{self.run}-{name}"


def manager(storage: BaseTriggerStorage, runner: str = "inline", **settings: Any) -> TriggerManager:
    """A manager in a process of its own, without a sweep."""
    made = Settings(sweep_interval=0.0, runner=runner, **settings)
    return TriggerManager(storage, process=Process(settings=lambda: made))


def in_turn(acts: Sequence[tuple[Any, Callable[[], Any]]], rounds: int, warm: int = 5) -> dict[Any, float]:
    """The median seconds of each; in each round all take their turn, so that what disturbs one disturbs all."""
    times: dict[Any, list[float]] = {name: [] for name, _ in acts}
    for number in range(rounds + warm):
        for name, act in acts:
            began = time.perf_counter()
            took = act()
            if not isinstance(took, float):
                took = time.perf_counter() - began
            if number >= warm:
                times[name].append(took)
    return {name: statistics.median(found) for name, found in times.items()}


@contextlib.contextmanager
def servers(bench: Bench) -> Iterator[None]:
    """Finds the servers: those that the environment names, or private ones with their usual durability; cleans up after."""
    sys.path.insert(0, str(ROOT))
    from tests.servers import client
    from tests.servers.recipes import RECIPES

    keeper: subprocess.Popen[bytes] | None = None

    def url(service: str, variable: str, *arguments: str) -> str | None:
        nonlocal keeper
        if found := os.environ.get(variable):
            return found
        if not RECIPES[service].installed():
            bench.notes.append(f"Not measured: {service}, for it is not installed and {variable} names none.")
            return None
        keeper = keeper or client.start_keeper()
        return client.own(service, *arguments).url

    try:
        redis_url = url("redis", "TRIGGERS_TEST_REDIS_URL")
        postgres_url = url("postgres", "TRIGGERS_TEST_POSTGRES_URL", "-c", "fsync=on", "-c", "shared_buffers=128MB")
        bench.places = [
            Place("memory", "memory", {}),
            Place("SQLite", "sql", {"url": f"sqlite:///{bench.folder}/bench.db"}),
        ]
        if redis_url:
            bench.places.append(Place("Redis", "redis", {"url": redis_url, "prefix": f"bench-{bench.run}:"}, redis_url))
        if postgres_url:
            bench.places.append(_postgres(bench, postgres_url))
        yield
        for place in bench.places:
            clean_up(place)
    finally:
        if keeper is not None:
            keeper.terminate()
            keeper.wait(60)


def _postgres(bench: Bench, found: str) -> Place:
    import psycopg

    plain = found.replace("+psycopg", "")
    with psycopg.connect(plain) as connection:
        row = connection.execute("SELECT current_setting('fsync'), current_setting('synchronous_commit')").fetchone()
    if row is not None and row != ("on", "on"):
        bench.notes.append(f"PostgreSQL runs with fsync={row[0]}, synchronous_commit={row[1]}: it is faster than a durable one.")
    options = {"url": plain.replace("postgresql://", "postgresql+psycopg://"), "table_prefix": f"bench_{bench.run}_"}
    place = Place("PostgreSQL", "sql", options, plain)
    place.open("any").store.setup()
    return place


def clean_up(place: Place) -> None:
    """Removes what was stored: the keys of the prefix, the tables of the run."""
    if place.name == "Redis":
        import redis

        client = redis.Redis.from_url(place.url)
        keys: list[bytes] = []
        for key in client.scan_iter(match=f"{place.options['prefix']}*", count=5000):
            keys.append(key)
            if len(keys) == 5000:
                client.unlink(*keys)
                keys.clear()
        if keys:
            client.unlink(*keys)
        client.close()
    elif place.name == "PostgreSQL":
        import psycopg

        with psycopg.connect(place.url, autocommit=True) as connection:
            query = "SELECT tablename FROM pg_tables WHERE tablename LIKE %s"
            for (name,) in connection.execute(query, (f"{place.options['table_prefix']}%",)).fetchall():
                connection.execute(f"DROP TABLE {name} CASCADE")


@contextlib.contextmanager
def working_folder() -> Iterator[Path]:
    """A folder for files, which goes away."""
    with tempfile.TemporaryDirectory(prefix="triggers-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)
