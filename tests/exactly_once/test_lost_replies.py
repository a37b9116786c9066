"""Replies lost at every command of a whole fire, on each server: the fire is applied once.

The k-th request from the beginning of a fire is served, and its connection reset in place of the answer, for k = 1, 2, 3, … until
a fire gets by with fewer requests than k. ``LEAST`` says how many it takes at least, so that no command is left out unseen.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import make_url

from tests.exactly_once.firing import make_process
from tests.rules.backends import BACKENDS
from tests.servers import client
from tests.servers.client import Server
from tests.servers.proxy import FaultProxy
from triggers import FireResult, records
from triggers.errors import OutcomeUnknown, StorageUnavailable
from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.storages import storage_backends
from triggers.store import EVERYTHING, Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
TASKS = {
    "t_join": {"after": ["a", "b"], "run": "w"},
    "t_each": {"after": ["a"], "andEvery": "p", "run": "w"},
}
LEAST = {
    "redis": {"fresh": 4, "warm": 1},
    "postgres": {"fresh": 6, "warm": 1},
    "mysql": {"fresh": 12, "warm": 4},
    "memcached": {"fresh": 3, "warm": 2},
}
"""Requests of a fire: on a fresh connection with its greeting, set-up and load, and on a warm one in a remembered session."""
MOST = 60


class Line(NamedTuple):
    """A server, reached through a proxy and directly."""

    service: str
    key: str
    options: dict[str, Any]
    through: dict[str, Any]
    proxy: FaultProxy
    direct: Store

    def store(self) -> Store:
        """A store behind the proxy, without a connection yet."""
        return storage_backends.get_class(self.key).make_store(self.key, {**self.through})

    def manager(self, uid: str, process: Process, store: Store) -> TriggerManager:
        """A manager of a session."""
        return TriggerManager(storage_backends.get_class(self.key)(uid, store=store), process=process)


@pytest.fixture(params=LEAST)
def line(request: pytest.FixtureRequest, tmp_path: Path, fault_proxy: Callable[[Server], FaultProxy]) -> Iterator[Line]:
    """Each server behind a proxy."""
    with contextmanager(BACKENDS[request.param])(tmp_path) as (key, options):
        proxy = fault_proxy(client.shared(request.param))
        url = make_url(str(options["url"])).set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        direct = storage_backends.get_class(key).make_store(key, options)
        direct.setup()
        yield Line(request.param, key, options, {**options, "url": url}, proxy, direct)
        direct.close()


class Fire(NamedTuple):
    """A fire that is tried, and what must be there afterwards."""

    before: tuple[str, ...]
    trigger: str
    scheduled: tuple[str, ...]


FIRES = {
    "the first fire of a session": Fire((), "lonely", ()),
    "a later fire": Fire(("a",), "other", ()),
    "a join that makes an instance ready": Fire(("a",), "b", ("t_join#0",)),
    "another instance": Fire(("a", "p"), "p", ("t_each#1",)),
}


@pytest.mark.parametrize("connection", ["fresh", "warm"])
@pytest.mark.parametrize("named", [False, True], ids=["", "with an event id"])
@pytest.mark.parametrize("case", FIRES)
def test_each_reply_is_lost_once(line: Line, case: str, connection: str, named: bool) -> None:
    """Whatever reply is lost: the fire returns what it did and was applied once, or says that it cannot tell."""
    fire = FIRES[case]
    for nth in itertools.count(1):
        assert nth < MOST, "the fire never gets by"
        uid = f"{case}-{connection}-{named}-{nth}"
        store = line.store()
        process = make_process(100)
        prepare(line, uid, fire, process, store, warm=connection == "warm")
        lost = line.proxy.drop_reply(nth)
        manager = line.manager(uid, process, store)
        event_id = "e" if named else None
        told, possible = tell(manager, fire, event_id)
        assert told is not None or lost.is_set(), f"reply {nth}: refused though nothing was lost"
        assert told is None or told.scheduled == fire.scheduled, f"reply {nth}"
        check(line, uid, fire, possible)
        if named:
            again = manager.fire(fire.trigger, {"n": 1}, event_id=event_id)
            assert again.scheduled == fire.scheduled, f"reply {nth}"
            check(line, uid, fire, {1})
        line.proxy.heal()
        store.close()
        if not lost.is_set():
            least = LEAST[line.service][connection]
            assert nth > least, f"the fire took {nth - 1} requests, at least {least} are expected"
            return


def tell(manager: TriggerManager, fire: Fire, event_id: str | None) -> tuple[FireResult | None, set[int]]:
    """What the fire returns, if it does, and how often it may have been applied by what it says."""
    try:
        return manager.fire(fire.trigger, {"n": 1}, event_id=event_id), {1}
    except OutcomeUnknown:
        return None, {0, 1}
    except StorageUnavailable:
        return None, {0}


def prepare(line: Line, uid: str, fire: Fire, process: Process, store: Store, *, warm: bool) -> None:
    """Brings the session to where the fire finds it; a warm process has fired into another session through its connection."""
    manager = line.manager(uid, process, store) if warm else line.manager(uid, make_process(0), line.direct)
    if warm:
        line.manager(f"{uid}-warm", process, store).fire("warm")
    if fire.before:
        manager.update_configuration(TASKS)
    for trigger in fire.before:
        manager.fire(trigger, {"before": True})


def check(line: Line, uid: str, fire: Fire, times: set[int]) -> None:
    """Counts how often the fire is in the stored session, with all that belongs to it."""
    stored = line.direct.load(uid, EVERYTHING).records
    record = stored.get("trigger", {}).get(fire.trigger)
    count = 0 if record is None else records.read(records.TRIGGERS, fire.trigger, record.value).count
    count -= fire.before.count(fire.trigger)
    assert count in times
    for name in fire.scheduled:
        task, _, number = name.partition("#")
        found = stored.get(f"live/{task}", {})
        assert (number in found) == (count == 1)
        assert len(found) == int(number) + count
