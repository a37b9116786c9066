"""Clients that fire through faulty connections, and the count of what they did; runs in the children of a test as well."""

from __future__ import annotations

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from tests.exactly_once.faulty import FaultyStore, Rates
from triggers import records
from triggers.errors import Conflict, OutcomeUnknown, StorageUnavailable
from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.runners import BaseTaskRunner, Delivery, task_runners
from triggers.settings import Settings
from triggers.storages.base import BaseTriggerStorage
from triggers.store import EVERYTHING, Store

TASKS = {"t": {"andEvery": "tick", "run": "w"}}

_SLOW_TO_IMPORT = [
    "triggers_sql.store",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.mysql.pymysql",
    "redis.cluster",
]


class Forgets(BaseTaskRunner):
    """Takes deliveries and loses them, as a runner may: the tests count fires, not runs."""

    api_version = 1

    def deliver(self, delivery: Delivery) -> None:
        """Lost."""


class Told(NamedTuple):
    """What the callers were told, by the id of the fire."""

    applied: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    faults: tuple[tuple[str, int], ...] = ()

    def __add__(self, other: object) -> Told:
        assert isinstance(other, Told)
        faults = Counter(dict(self.faults)) + Counter(dict(other.faults))
        return Told(
            self.applied + other.applied, self.unknown + other.unknown, self.refused + other.refused, tuple(faults.items())
        )


def make_process(remembered: int) -> Process:
    """A process of its own, whose runner loses everything."""
    task_runners.register("forgets", Forgets)
    settings = Settings(runner="forgets", remembered_sessions=remembered, sweep_interval=0.0, conflict_timeout=60.0)
    return Process(settings=lambda: settings)


def fire_all(
    storage_class: type[BaseTriggerStorage],
    inner: Store,
    uids: Sequence[str],
    client: str,
    count: int,
    *,
    remembered: int = 100,
    rates: Rates = Rates(),  # noqa: B008
    process: Process | None = None,
    faulty: FaultyStore | None = None,
) -> Told:
    """Fires ``count`` times, round robin over the sessions, through connections that fail; each fire has an id.

    Args:
        storage_class: the handle of a session.
        inner: the store that works.
        uids: the sessions.
        client: what the ids begin with.
        count: how many fires.
        remembered: how many sessions the process remembers.
        rates: how often faults happen.
        process: a process that several callers share; its own by default.
        faulty: the faulty store that they share.
    """
    store = faulty or FaultyStore(inner, seed=sum(map(ord, client)), rates=rates)
    process = process or make_process(remembered)
    told: dict[str, list[str]] = {"applied": [], "unknown": [], "refused": []}
    for number in range(count):
        uid = uids[(number + len(client)) % len(uids)]
        manager = TriggerManager(storage_class(uid, store=store), process=process)
        identity = f"{client}-{number}"
        try:
            manager.fire("tick", {"id": identity})
        except OutcomeUnknown:
            told["unknown"].append(identity)
        except (StorageUnavailable, Conflict):
            told["refused"].append(identity)
        else:
            told["applied"].append(identity)
    store.settle()
    faults = tuple(store.happened.items())
    return Told(tuple(told["applied"]), tuple(told["unknown"]), tuple(told["refused"]), faults)


def in_threads(works: Sequence[Callable[[], Told]]) -> Told:
    """All at once, in threads."""
    results: list[Told] = []
    errors: list[BaseException] = []

    def run(work: Callable[[], Told]) -> None:
        try:
            results.append(work())
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return sum(results, Told())


def in_processes(target: Callable[..., Told], arguments: Sequence[tuple[Any, ...]]) -> Told:
    """All at once, in fresh processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *_SLOW_TO_IMPORT])
    with context.Pool(len(arguments)) as pool:
        results = pool.starmap(target, arguments)
        pool.close()
        pool.join()
    return sum(results, Told())


def configure(storage_class: type[BaseTriggerStorage], store: Store, uids: Sequence[str]) -> None:
    """Gives each session the task that makes an instance of each fire."""
    process = make_process(0)
    for uid in uids:
        TriggerManager(storage_class(uid, store=store), process=process).update_configuration(TASKS)


def found_in(store: Store, uids: Sequence[str], *, always_configured: bool = True) -> Counter[str]:
    """How often each fire was applied; checks that the counts of the sessions say the same.

    A session that was deleted may have been fired into before it was configured again; then more was counted than made instances.
    """
    found: Counter[str] = Counter()
    for uid in uids:
        places = store.load(uid, EVERYTHING).records
        instances = [records.present(record) for record in places.get("live/t", {}).values()]
        tick = places.get("trigger", {}).get("tick")
        counted = 0 if tick is None else records.read(records.TRIGGERS, "tick", tick.value).count
        assert counted == len(instances) or (not always_configured and counted > len(instances))
        if instances:
            count = records.read(records.COUNTS, "t", places["count"]["t"].value)
            assert (count.next, count.unresolved) == (len(instances), len(instances))
        found.update(one.kwargs["tick"]["id"] for one in instances)
    return found


def check(found: Counter[str], told: Told) -> None:
    """Fails unless each fire was applied as often as its caller may believe."""
    doubled = {identity: times for identity, times in found.items() if times > 1}
    assert not doubled, f"applied more than once: {doubled}"
    lost = [identity for identity in told.applied if identity not in found]
    assert not lost, f"confirmed and lost: {lost}"
    ghosts = [identity for identity in told.refused if identity in found]
    assert not ghosts, f"refused and applied: {ghosts}"
    assert set(found) <= {*told.applied, *told.unknown}
