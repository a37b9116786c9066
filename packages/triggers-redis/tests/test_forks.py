"""Processes that fork while connections are open."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import redis

from tests.servers.plugin import Space
from triggers.store import ABSENT, Change, Record, Want
from triggers_redis import RedisStore

COUNT = Want(frozenset({("c", "k")}))


def connections(client: redis.Redis, space: Space) -> set[str]:
    """The numbers of this test's connections."""
    return {entry["id"] for entry in client.client_list() if entry["name"] == space.prefix.rstrip(":")}


def in_child(act: Callable[[], None]) -> int:
    """Runs something in a fork; returns its exit code, 0 if nothing was raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            act()
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_a_child_uses_connections_of_its_own(
    make_store: Callable[..., RedisStore], redis_space: Space, client: redis.Redis
) -> None:
    """A forked child opens its own connection, and the parent's stays open and in step."""
    name = redis_space.prefix.rstrip(":")
    store = make_store(url=f"{redis_space.url}?client_name={name}", prefix=redis_space.prefix)
    store.commit("s", Change("1", {("c", "k"): Record(b"1")}), ABSENT, Want())
    before = connections(client, redis_space)
    assert len(before) == 1

    def child() -> None:
        assert store.load("s", COUNT).version == "1"
        own = connections(redis.Redis.from_url(redis_space.url), redis_space) - before
        assert len(own) == 1
        store.commit("s", Change("2", {("c", "k"): Record(b"2")}), "1", Want())

    assert in_child(child) == 0
    assert store.load("s", COUNT) == ("2", {"c": {"k": Record(b"2")}}, False)
    assert connections(client, redis_space) == before


def test_a_child_is_not_held_by_its_parents_locks(make_store: Callable[..., RedisStore], redis_space: Space) -> None:
    """A fork in the middle of other threads' loads and commits leaves a child that works, every time."""
    store = make_store(url=redis_space.url, prefix=redis_space.prefix)
    store.commit("s", Change("1", {("c", "k"): Record(b"1")}), ABSENT, Want())
    stop = threading.Event()

    def work(name: str) -> None:
        version = ABSENT
        number = 0
        while not stop.is_set():
            number += 1
            store.commit(name, Change(str(number), {("c", "k"): Record(b"1")}), version, Want())
            version = str(number)
            assert store.load(name, COUNT).version == version

    threads = [threading.Thread(target=work, args=(f"t{number}",)) for number in range(3)]
    for thread in threads:
        thread.start()

    def child() -> None:
        assert store.load("s", COUNT).version == "1"

    try:
        assert [in_child(child) for _ in range(20)] == [0] * 20
    finally:
        stop.set()
        for thread in threads:
            thread.join()
