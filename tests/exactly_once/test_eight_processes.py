"""Eight processes fire into one session and into a thousand on each server: nothing is lost, nothing doubled.

What each process was told is compared with what is stored. TRIGGERS_TEST_FIRES says how often each
process fires.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.exactly_once.faulty import Rates
from tests.exactly_once.firing import Told, check, configure, fire_all, found_in, in_processes, make_process
from tests.rules.backends import BACKENDS
from triggers import records
from triggers.manager import TriggerManager
from triggers.storages import storage_backends
from triggers.store import EVERYTHING, Store

PROCESSES = 8
FIRES = int(os.environ.get("TRIGGERS_TEST_FIRES", "1000"))
SERVERS = ("postgres", "mysql", "redis", "memcached")
NO_FAULTS = Rates(0, 0, 0, 0, 0, 0)
pytestmark = [pytest.mark.faults, pytest.mark.timeout(1200)]
Options = dict[str, Any]


def open_store(key: str, options: Options) -> Store:
    """A store of this process's own."""
    return storage_backends.get_class(key).make_store(key, options)


def fire_ticks(key: str, options: Options, uids: list[str], client: str, count: int) -> Told:
    """Fires from a process of its own; each fire makes an instance."""
    store = open_store(key, options)
    try:
        return fire_all(storage_backends.get_class(key), store, uids, client, count, rates=NO_FAULTS)
    finally:
        store.close()


def fire_own_trigger(key: str, options: Options, uid: str, client: str, count: int) -> Told:
    """Fires a trigger that only this process fires, and numbers the fires."""
    store = open_store(key, options)
    manager = TriggerManager(storage_backends.get_class(key)(uid, store=store), process=make_process(100))
    try:
        for number in range(count):
            manager.fire(client, {"number": number})
    finally:
        store.close()
    return Told(applied=tuple(f"{client}-{number}" for number in range(count)))


@pytest.fixture(params=SERVERS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, Options, Store]]:
    """A server: the key of its backend, its options, and a store of it."""
    with contextmanager(BACKENDS[request.param])(tmp_path) as (key, options):
        store = open_store(key, options)
        store.setup()
        yield key, options, store
        store.close()


def run(target: Callable[..., Told], arguments: list[tuple[Any, ...]]) -> Told:
    """Runs the processes; each fire was confirmed."""
    told = in_processes(target, arguments)
    assert len(told.applied) == PROCESSES * FIRES
    assert (told.unknown, told.refused) == ((), ())
    return told


def test_into_a_thousand_sessions(place: tuple[str, Options, Store]) -> None:
    """Each process fires into each session, all in the same order, so that they meet."""
    key, options, store = place
    uids = [f"session{number}" for number in range(FIRES)]
    configure(storage_backends.get_class(key), store, uids)
    told = run(fire_ticks, [(key, options, uids, f"p{number}", FIRES) for number in range(PROCESSES)])
    found = found_in(store, uids)
    check(found, told)
    assert len(found) == PROCESSES * FIRES


def test_into_one_session(place: tuple[str, Options, Store]) -> None:
    """All processes fire into the same session at once; an instance of each fire is there, where they fit."""
    key, options, store = place
    if store.one_value and FIRES > 100:
        pytest.skip("a session that is kept in one value has no room for thousands of instances; the next test counts them")
    configure(storage_backends.get_class(key), store, ["one"])
    told = run(fire_ticks, [(key, options, ["one"], f"p{number}", FIRES) for number in range(PROCESSES)])
    found = found_in(store, ["one"])
    check(found, told)
    assert len(found) == PROCESSES * FIRES


def test_into_one_session_without_instances(place: tuple[str, Options, Store]) -> None:
    """Each process fires its own trigger, which the session has counted exactly and whose last kwargs it has."""
    key, options, store = place
    run(fire_own_trigger, [(key, options, "one", f"p{number}", FIRES) for number in range(PROCESSES)])
    fired = store.load("one", EVERYTHING).records["trigger"]
    counted = {name: records.read(records.TRIGGERS, name, record.value) for name, record in fired.items()}
    assert {name: one.count for name, one in counted.items()} == {f"p{number}": FIRES for number in range(PROCESSES)}
    assert {bytes(one.kwargs) for one in counted.values()} == {b'{"number":%d}' % (FIRES - 1)}
