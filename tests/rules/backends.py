"""The backends on which the rules are tested. One more is one more line in ``BACKENDS``."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.servers import client, databases
from tests.servers.plugin import fresh_name
from triggers.storages import storage_backends
from triggers.storages.base import BaseTriggerStorage
from triggers.store import Store


class Backend(NamedTuple):
    """A storage and an opened store of it, which the tests of a run share; each test has sessions of its own."""

    name: str
    storage_class: type[BaseTriggerStorage]
    store: Store

    def session(self, uid: str) -> BaseTriggerStorage:
        """The handle of one session."""
        return self.storage_class(uid, store=self.store)


Opened = Iterator[tuple[str, dict[str, object]]]


def _memory(folder: Path) -> Opened:
    yield "memory", {}


def _sqlite(folder: Path) -> Opened:
    yield "sql", {"url": f"sqlite:///{folder / 'rules.db'}", "synchronous": "NORMAL"}


def _postgres(folder: Path) -> Opened:
    with databases.postgres(client.shared("postgres").url, fresh_name()) as url:
        yield "sql", {"url": url, "auto_setup": True}


def _mysql(folder: Path) -> Opened:
    with databases.mysql(client.shared("mysql").url, fresh_name()) as url:
        yield "sql", {"url": url, "auto_setup": True}


def _redis(folder: Path) -> Opened:
    yield "redis", {"url": client.shared("redis").url, "prefix": f"{fresh_name()}:"}


def _redis_cluster(folder: Path) -> Opened:
    url = client.shared("redis-cluster").url.replace("redis://", "redis+cluster://")
    yield "redis", {"url": url, "prefix": f"{fresh_name()}:"}


def _memcached(folder: Path) -> Opened:
    yield "cache", {"url": client.shared("memcached").url, "prefix": fresh_name()}


BACKENDS: dict[str, Callable[[Path], Opened]] = {
    "memory": _memory,
    "sqlite": _sqlite,
    "postgres": _postgres,
    "mysql": _mysql,
    "redis": _redis,
    "redis-cluster": _redis_cluster,
    "memcached": _memcached,
}


@contextmanager
def opened(name: str, folder: Path) -> Iterator[Backend]:
    """Opens the store of a backend; skips the test where its server is missing."""
    with ExitStack() as stack:
        key, options = stack.enter_context(contextmanager(BACKENDS[name])(folder))
        storage_class = storage_backends.get_class(key)
        store = storage_class.make_store(key, options)
        stack.callback(store.close)
        store.setup()
        yield Backend(name, storage_class, store)


def fresh_uid() -> str:
    """A session that nobody has used."""
    return f"session:{uuid.uuid4().hex[:12]}"
