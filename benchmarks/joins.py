"""A whole join, two fires and the work that follows, on threads and on Celery, beside DBOS and a Celery chord."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import JOIN, Bench, Place, in_turn, manager
from limits import limit
from report import Row, seconds

HERE = Path(__file__).resolve().parent


def measure(bench: Bench) -> list[Row]:
    """On threads, beside DBOS, and on Celery."""
    return [*_on_threads(bench), *_on_celery(bench)]


def _on_threads(bench: Bench) -> list[Row]:
    acts: list[tuple[Any, Callable[[], Any]]] = []
    peers = []
    for place in bench.places:
        bare = limit(bench, place)
        if bare is not None:
            acts.append(((place.name, "limit"), bare))
        acts.append(((place.name, "join"), _join(bench, place, prepared=True)))
        acts.append(((place.name, "whole"), _join(bench, place, prepared=False)))
        if importlib.util.find_spec("dbos") and place.name in ("SQLite", "PostgreSQL"):
            peers.append(_Dbos(bench, place))
            acts.append(((place.name, "DBOS"), peers[-1].join))
    try:
        medians = in_turn(acts, max(5, bench.rounds // 10), warm=3)
    finally:
        for peer in peers:
            peer.close()
    rows = []
    section = "A join of two triggers on threads"
    for place in bench.places:
        join, whole = medians[place.name, "join"], medians[place.name, "whole"]
        bare_call, dbos = medians.get((place.name, "limit")), medians.get((place.name, "DBOS"))
        ratio = join / bare_call if bare_call else None
        aim = "≤ 12" if place.name == "Redis" else ""
        rows.append(
            Row(section, place.name, "fire, fire, start, finish", seconds(join), ratio, "the bare call" if ratio else "", aim)
        )
        rows.append(Row(section, place.name, "the same with making the session", seconds(whole)))
        if dbos:
            what = "DBOS: a workflow, two messages, a step"
            rows.append(Row(section, place.name, what, seconds(dbos), dbos / whole, "Triggers with making the session", "≥ 5"))
    return rows


def _join(bench: Bench, place: Place, *, prepared: bool) -> Callable[[], float]:
    first = manager(place.open(bench.uid("join")), runner="threading")
    process = first._process
    numbers = itertools.count()

    def join() -> float:
        made = type(first)(place.open(bench.uid(f"join-{prepared}-{next(numbers)}")), process=process)
        if prepared:
            made.update_configuration(JOIN)
        began = time.perf_counter()
        if not prepared:
            made.update_configuration(JOIN)
        made.fire("a", {"n": 1})
        made.fire("b", {"n": 2})
        for runner in process.runners.opened():
            runner.join_all(30)
        return time.perf_counter() - began

    return join


class _Dbos:
    """DBOS in a process of its own, for it has one instance in each."""

    def __init__(self, bench: Bench, place: Place) -> None:
        self.place = place
        self.database = f"bench_dbos_{bench.run}"
        url = f"sqlite:///{bench.folder}/dbos.db"
        if place.name == "PostgreSQL":
            url = place.url.rpartition("/")[0] + f"/{self.database}"
        command = [sys.executable, str(HERE / "peer_dbos.py"), url]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=bench.folder
        )

    def join(self) -> float:
        """One workflow; returns its seconds."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("no pipes")
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        while not (line := self.process.stdout.readline()).startswith("took "):
            if not line:
                raise RuntimeError(f"the process with DBOS ended with {self.process.wait()}")
        return float(line.split()[1])

    def close(self) -> None:
        """Ends it and drops its database."""
        self.process.communicate()
        if self.place.name == "PostgreSQL":
            import psycopg

            with psycopg.connect(self.place.url, autocommit=True) as connection:
                connection.execute(f"DROP DATABASE IF EXISTS {self.database} WITH (FORCE)")


def _on_celery(bench: Bench) -> list[Row]:
    place = bench.place("Redis")
    if place is None or not importlib.util.find_spec("triggers_celery"):
        return []
    number = 5 if bench.quick else 50
    os.environ["BENCH_CELERY"] = json.dumps({"url": place.url, "queue": f"bench-{bench.run}", "prefix": place.options["prefix"]})
    import celery_work

    client = celery_work.results()
    log = bench.folder / "worker.log"
    command = [sys.executable, "-m", "celery", "-A", "celery_work", "worker", "--pool", "solo", "--loglevel", "WARNING"]
    quiet = [
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "-Q",
        f"bench-{bench.run}",
        "-n",
        f"{bench.run}@bench",
    ]
    with log.open("wb") as output:
        worker = subprocess.Popen(
            [*command, *quiet], cwd=HERE, stdout=output, stderr=output, env={**os.environ, "C_FORCE_ROOT": "1"}
        )
    names = itertools.count()

    def wait(count: int) -> None:
        for _ in range(count):
            if client.blpop([celery_work.DONE], timeout=30) is None:
                raise RuntimeError(f"the worker does not answer:\n{log.read_text(encoding='utf-8')}")

    def chords(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            celery_work.start_chord()
        wait(count)
        return (time.perf_counter() - began) / count

    def joins(count: int, *, prepared: bool = True) -> float:
        starting = time.perf_counter()
        made = [celery_work.prepare(bench.uid(f"celery-{next(names)}")) for _ in range(count)]
        began = time.perf_counter() if prepared else starting
        for one in made:
            one.fire("a", {"n": 1})
            one.fire("b", {"n": 2})
        wait(count)
        return (time.perf_counter() - began) / count

    acts: list[tuple[Any, Callable[[], Any]]] = [
        ("publish", celery_work.publish),
        ("one chord", lambda: chords(1)),
        ("one join", lambda: joins(1)),
        ("chords", lambda: chords(number)),
        ("joins", lambda: joins(number)),
        ("whole joins", lambda: joins(number, prepared=False)),
    ]
    try:
        took = in_turn(acts, 3 if bench.quick else 15, warm=1)
    finally:
        worker.terminate()
        worker.wait(60)
        celery_work.clean_up(client)
    section = "A join of two on Celery with Redis, one solo worker"
    many = f"{number} at once"
    return [
        Row(section, "Celery", "limit: apply_async", seconds(took["publish"])),
        Row(section, "Celery", "a chord of two, alone", seconds(took["one chord"])),
        Row(
            section,
            "Triggers",
            "two fires and the work, alone",
            seconds(took["one join"]),
            took["one join"] / took["one chord"],
            "the chord",
        ),
        Row(section, "Celery", f"chords of two, {many}", f"{1 / took['chords']:.0f}/s"),
        Row(
            section,
            "Triggers",
            f"joins, {many}",
            f"{1 / took['joins']:.0f}/s",
            took["chords"] / took["joins"],
            "the chords",
            "≥ 2",
        ),
        Row(
            section,
            "Triggers",
            f"the same with making the sessions, {many}",
            f"{1 / took['whole joins']:.0f}/s",
            took["chords"] / took["whole joins"],
            "the chords",
        ),
    ]
