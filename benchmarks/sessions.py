"""Sessions from end to end: made, worked on, related, swept, and how many bytes they take."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from bench import JOIN, WAITING, Bench, Place, in_turn, manager
from fill import fill, take_size
from limits import NAMES, limit
from report import Row, seconds
from triggers.codec import EMPTY
from triggers.engine.application import Fire
from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.runtime import utc_now
from triggers.settings import Settings

ONE_SHOT: dict[str, Any] = {"t": {"after": ["a"], "run": "bench.nothing"}}


def measure(bench: Bench) -> list[Row]:
    """All of them."""
    return [*_lives(bench), *_families(bench), *_sizes(bench), *_sweeps(bench)]


def _lives(bench: Bench) -> list[Row]:
    acts: list[tuple[Any, Callable[[], Any]]] = []
    for place in bench.places:
        bare = limit(bench, place)
        if bare is not None:
            acts.append(((place.name, "limit"), bare))
        acts.append(((place.name, "made: a configuration"), _configure(bench, place)))
        acts.append(((place.name, "fire, start and finish in the caller"), _work(bench, place)))
    medians = in_turn(acts, max(10, bench.rounds // 3))
    rows = []
    for (name, what), median in medians.items():
        bare_call = medians.get((name, "limit"))
        if what != "limit":
            of = f"a {NAMES[name]}" if bare_call else ""
            rows.append(Row("Sessions", name, what, seconds(median), median / bare_call if bare_call else None, of))
    return rows


def _configure(bench: Bench, place: Place) -> Callable[[], Any]:
    process = manager(place.open(bench.uid("any")))._process

    def act() -> None:
        TriggerManager(place.open(uuid.uuid4().hex), process=process).update_configuration(JOIN)

    return act


def _work(bench: Bench, place: Place) -> Callable[[], Any]:
    made = manager(place.open(bench.uid("work")))
    made.update_configuration({"t": {"andEvery": "a", "run": "bench.nothing"}})
    return lambda: made.fire("a", {"n": 1})


def _families(bench: Bench) -> list[Row]:
    """Children that all join one parent and fire once; the parent's ``*.done`` fires with the last."""
    number = 20 if bench.quick else 1000
    rows = []
    for place in bench.places:
        if place.name == "PostgreSQL" and not bench.quick:
            continue
        parent = manager(place.open(bench.uid("parent")))
        process = parent._process
        parent.update_configuration({"all": {"after": ["*.done"], "run": "bench.nothing"}})
        began = time.perf_counter()
        children = [TriggerManager(place.open(bench.uid(f"child-{n}")), process=process) for n in range(number)]
        for at, child in enumerate(children):
            child.join(parent.uid, alias=f"c{at}")
        parent.children_complete()
        joined = time.perf_counter()
        quarter: list[float] = []
        for child in children:
            start = time.perf_counter()
            child.fire("done")
            quarter.append(time.perf_counter() - start)
        if parent.storage["all#0"].status != "finished":
            raise RuntimeError("the parent has not heard of all children")
        section = f"{number} children"
        rows.append(Row(section, place.name, "one joins its parent", seconds((joined - began) / number)))
        part = max(1, number // 4)
        first, last = sum(quarter[:part]) / part, sum(quarter[-part:]) / part
        rows.append(
            Row(section, place.name, "one fires, and its parent hears of it", seconds(last), last / first, "the first quarter")
        )
    return rows


def _sizes(bench: Bench) -> list[Row]:
    number = 200 if bench.quick else 5000
    rows = []
    for place in bench.places:
        before = take_size(place)
        fill(place, bench.uid("size"), number, template(WAITING, fired=True))
        taken = (take_size(place) - before) / number
        what = f"a session with a task that waits, of {number}"
        rows.append(Row("Bytes", place.name, what, f"{taken / 1024:.1f} KiB"))
    return rows


def _sweeps(bench: Bench) -> list[Row]:
    number = int(os.environ.get("TRIGGERS_BENCH_SESSIONS", "1000" if bench.quick else "100000"))
    due = 10 if bench.quick else 100
    rows = []
    for place in bench.places:
        if place.name == "memory":
            continue
        few = sweep_lost(bench, place, f"few-{number}", due)
        fill(place, bench.uid("idle"), number, template(WAITING, fired=True))
        many = sweep_lost(bench, place, f"many-{number}", due)
        section = f"A sweep that finds {due} lost deliveries and runs them"
        rows.append(Row(section, place.name, "among few sessions", seconds(few)))
        rows.append(Row(section, place.name, f"among {number} sessions", seconds(many), many / few, "among few", "≤ 1.15"))
    return rows


def template(tasks: dict[str, Any], *, fired: bool) -> Any:
    """The records of a session, made in memory."""
    from triggers.storages.memory import MemoryStorageBackend, MemoryStore
    from triggers.store import EVERYTHING

    store = MemoryStore()
    made = manager(MemoryStorageBackend("template", store=store))
    made.update_configuration(tasks)
    if fired:
        made.fire("a", {"page": 3, "by": "somebody"})
    return store.load("template", EVERYTHING)


def sweep_lost(bench: Bench, place: Place, name: str, due: int) -> float:
    """Schedules work an hour ago of which no runner has heard, then sweeps."""
    settings = Settings(sweep_interval=0.0, runner="inline")
    early = Process(settings=lambda: settings, clock=lambda: utc_now() - timedelta(hours=1))
    for number in range(due):
        lost = TriggerManager(place.open(bench.uid(f"{name}-{number}")), process=early)
        lost.update_configuration(ONE_SHOT)
        early.execute(lost, Fire("a", EMPTY, None, "default"))
    process = manager(place.open(bench.uid("sweep")))._process
    process.use(place.open(bench.uid("sweep")))
    from triggers.sweeping import sweep

    began = time.perf_counter()
    handled = sweep(process, place.open)
    took = time.perf_counter() - began
    if handled != due:
        raise RuntimeError(f"the sweep handled {handled} wake-ups, not {due}")
    return took
