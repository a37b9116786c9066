"""What a thousand sessions cost and what a million cost: fire, a page of a listing, a sweep, a deletion.

``python benchmarks/scale.py --storage sql --url postgresql://… --sessions 1000000``; also ``--storage redis``, or without
a URL a SQLite file. The sessions lie under a prefix of the run, and are removed after it.
"""

from __future__ import annotations

import argparse
import itertools
import time
import uuid
from collections.abc import Callable
from typing import Any

import sessions
from bench import WAITING, Bench, Place, clean_up, in_turn, manager, working_folder
from fill import fill, take_size
from report import Row, machine, seconds, table
from triggers.manager import TriggerManager
from triggers.tasks import task

FEW = 1000


@task("bench.nothing")
def nothing(context: Any) -> None:
    """A work that does nothing."""


def main() -> None:
    """Makes few sessions and many, beside each other, and measures both in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--storage", choices=["redis", "sql"], default="sql")
    parser.add_argument("--url", help="the server; by default a SQLite file that goes away")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    if options.url and options.url.startswith("sqlite"):
        parser.error("SQLite is measured on a file of its own: leave --url out")
    with working_folder() as folder:
        bench = Bench(folder, options.rounds, quick=False)
        small, large = (_place(bench, size, options.storage, options.url) for size in ("small", "large"))
        try:
            small.open("any").store.setup()
            large.open("any").store.setup()
            rows = _measure(bench, small, large, options.sessions)
        finally:
            began = time.perf_counter()
            clean_up(small)
            clean_up(large)
            print(f"cleaned up in {time.perf_counter() - began:.0f} s", flush=True)
        print(table(rows, [machine()]))


def _place(bench: Bench, size: str, storage: str, url: str | None) -> Place:
    name = f"scale_{bench.run}_{size}"
    if storage == "redis":
        address = url or "redis://127.0.0.1:6379/0"
        return Place("Redis", "redis", {"url": address, "prefix": f"{name}:"}, address)
    if url is None:
        return Place("SQLite", "sql", {"url": f"sqlite:///{bench.folder}/{size}.db"})
    plain = url.replace("+psycopg", "")
    options = {"url": plain.replace("postgresql://", "postgresql+psycopg://"), "table_prefix": f"{name}_"}
    return Place("PostgreSQL", "sql", options, plain)


def _measure(bench: Bench, small: Place, large: Place, number: int) -> list[Row]:
    template = sessions.template(WAITING, fired=True)
    fill(small, bench.uid("idle"), FEW, template)
    before = take_size(large)
    began = time.perf_counter()
    fill(large, bench.uid("idle"), number, template)
    print(f"made {number} sessions in {time.perf_counter() - began:.0f} s", flush=True)
    taken = take_size(large) - before
    rows = [
        Row(
            f"{large.name}: {number} sessions",
            large.name,
            "bytes",
            f"{taken / 2**20:.0f} MiB, {taken / number / 1024:.2f} KiB each",
        )
    ]
    acts = [
        *((("small", what), act) for what, act in _acts(bench, small, FEW).items()),
        *((("large", what), act) for what, act in _acts(bench, large, number).items()),
    ]
    medians = in_turn(acts, bench.rounds)
    lost = "a sweep that runs 20 lost deliveries"
    swept = in_turn(
        [
            (("small", lost), lambda: sessions.sweep_lost(bench, small, uuid.uuid4().hex, 20)),
            (("large", lost), lambda: sessions.sweep_lost(bench, large, uuid.uuid4().hex, 20)),
        ],
        max(1, bench.rounds // 30),
        warm=1,
    )
    medians |= swept
    for size, what in medians:
        if size == "large":
            few, many = medians["small", what], medians["large", what]
            value = f"{seconds(few)}, then {seconds(many)}"
            rows.append(Row(rows[0].section, large.name, what, value, many / few, f"with {FEW}"))
    return rows


def _acts(bench: Bench, place: Place, number: int) -> dict[str, Callable[[], Any]]:
    """What is measured, on sessions that lie far apart."""
    store = place.open("any").store
    process = manager(place.open("any"), remembered_sessions=0)._process
    step = max(1, number // (bench.rounds + 20))
    fired = itertools.count()
    middle = store.scan(None, None, FEW // 2).cursor

    def fire() -> None:
        uid = bench.uid(f"idle-{next(fired) * step % number}")
        TriggerManager(place.open(uid), process=process).fire("a", {"n": 1})

    def delete() -> float:
        uid = bench.uid(f"gone-{uuid.uuid4().hex}")
        TriggerManager(place.open(uid), process=process).update_configuration(WAITING)
        began = time.perf_counter()
        store.delete(uid)
        return time.perf_counter() - began

    return {
        "a fire": fire,
        "listing 100 sessions": lambda: store.scan(None, middle, 100),
        "a look for what is due, with nothing due": lambda: store.due(1, None, 100),
        "deleting a session": delete,
    }


if __name__ == "__main__":
    main()
