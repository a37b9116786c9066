"""What a thousand sessions cost and what a million cost: fire, a page of a listing, a sweep, a deletion.

``python benchmarks/scale.py --storage sql --url postgresql://… --sessions 1000000``; also ``--storage redis``, or a SQLite
file. The sessions lie under a prefix of the run, and are removed after it.
"""

from __future__ import annotations

import argparse
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
    """Measures with few sessions, makes many, and measures again."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=20_000)
    parser.add_argument("--storage", choices=["redis", "sql"], default="sql")
    parser.add_argument("--url", help="the server; by default a SQLite file that goes away")
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    with working_folder() as folder:
        bench = Bench(folder, options.rounds, quick=False)
        place = _place(bench, options.storage, options.url)
        place.open("any").store.setup()
        try:
            rows = _measure(bench, place, options.sessions)
        finally:
            began = time.perf_counter()
            clean_up(place)
            print(f"cleaned up in {time.perf_counter() - began:.0f} s", flush=True)
        print(table(rows, [machine()]))


def _place(bench: Bench, storage: str, url: str | None) -> Place:
    if storage == "redis":
        address = url or "redis://127.0.0.1:6379/0"
        return Place("Redis", "redis", {"url": address, "prefix": f"scale-{bench.run}:"}, address)
    if url is None or url.startswith("sqlite"):
        return Place("SQLite", "sql", {"url": url or f"sqlite:///{bench.folder}/scale.db"})
    plain = url.replace("+psycopg", "")
    options = {"url": plain.replace("postgresql://", "postgresql+psycopg://"), "table_prefix": f"scale_{bench.run}_"}
    return Place("PostgreSQL", "sql", options, plain)


def _measure(bench: Bench, place: Place, number: int) -> list[Row]:
    template = sessions.template(WAITING, fired=True)
    empty = take_size(place)
    fill(place, bench.uid("few"), FEW, template)
    few = _costs(bench, place, "few", FEW)
    began = time.perf_counter()
    before = take_size(place)
    fill(place, bench.uid("many"), number - FEW, template)
    print(f"made {number - FEW} sessions in {time.perf_counter() - began:.0f} s", flush=True)
    each = (take_size(place) - before) / max(1, number - FEW)
    many = _costs(bench, place, "many", number - FEW)
    section = f"{place.name}: {number} sessions beside {FEW}"
    rows = [Row(section, place.name, "bytes of one session", f"{each / 1024:.2f} KiB")]
    rows.append(Row(section, place.name, "bytes of all", f"{(take_size(place) - empty) / 2**20:.0f} MiB"))
    for what, took in many.items():
        value = f"{seconds(few[what])}, then {seconds(took)}"
        rows.append(Row(section, place.name, what, value, took / few[what], f"with {FEW}"))
    return rows


def _costs(bench: Bench, place: Place, name: str, number: int) -> dict[str, float]:
    """The medians, over sessions that lie far apart."""
    store = place.open("any").store
    process = manager(place.open("any"), remembered_sessions=0)._process
    step = max(1, number // (bench.rounds + 20))
    places: dict[str, int] = {}

    def next_uid(what: str) -> str:
        places[what] = places.get(what, -1) + 1
        return bench.uid(f"{name}-{places[what] * step % number}")

    middle = store.scan(None, None, FEW // 2).cursor

    def delete() -> float:
        uid = bench.uid(f"{name}-{uuid.uuid4().hex}")
        TriggerManager(place.open(uid), process=process).update_configuration(WAITING)
        began = time.perf_counter()
        store.delete(uid)
        return time.perf_counter() - began

    acts: list[tuple[Any, Callable[[], Any]]] = [
        ("a fire", lambda: TriggerManager(place.open(next_uid("fire")), process=process).fire("a", {"n": 1})),
        ("listing 100 sessions", lambda: store.scan(None, middle, 100)),
        ("a look for what is due, with nothing due", lambda: store.due(1, None, 100)),
        ("deleting a session", delete),
    ]
    costs: dict[str, float] = in_turn(acts, bench.rounds)
    costs["a sweep that runs 20 lost deliveries"] = sessions.sweep_lost(bench, place, f"due-{name}", 20)
    return costs


if __name__ == "__main__":
    main()
