"""Threads and processes that fire at once: into one session, and into one session each."""

from __future__ import annotations

import multiprocessing
import threading
import time
from typing import Any

from bench import WAITING, Bench, Place, manager
from report import Row, seconds

SHAPES = ((1, 1), (1, 2), (1, 8), (4, 1), (8, 1))
"""Processes, and threads in each."""


def measure(bench: Bench) -> list[Row]:
    """Every shape on every storage that processes share."""
    shapes = SHAPES[2:4] if bench.quick else SHAPES
    rows = []
    for place in bench.places:
        if place.name == "memory":
            continue
        for processes, threads in shapes:
            many = _run(bench, place, processes, threads, hot=False)
            hot = _run(bench, place, processes, threads, hot=True)
            who = f"{processes} × {threads} threads" if processes > 1 else f"{threads} threads"
            for what, times in (("one each", many), ("one session", hot)):
                ratio = len(hot) / len(many) if times is hot else None
                section = "Many at once: fires per second"
                rate = f"{len(times) / _length(bench):.0f}/s"
                rows.append(Row(section, place.name, f"{who}, {what}", rate, ratio, "one each", "≥ 0.5" if times is hot else ""))
                median, late = _quantile(times, 0.5), _quantile(times, 0.99)
                value = f"{seconds(median)}, 99 %: {seconds(late)}, longest {seconds(times[-1])}"
                rows.append(
                    Row("Many at once: waiting", place.name, f"{who}, {what}", value, late / median, "the median", "≤ 10")
                )
    return sorted(rows, key=lambda row: row.section)


def _length(bench: Bench) -> float:
    return 0.5 if bench.quick else 3.0


def _quantile(times: list[float], part: float) -> float:
    return times[int(len(times) * part)]


def _run(bench: Bench, place: Place, processes: int, threads: int, *, hot: bool) -> list[float]:
    name = f"contention-{processes}-{threads}"
    uids = [[bench.uid(f"{name}-hot" if hot else f"{name}-{p}-{t}") for t in range(threads)] for p in range(processes)]
    for uid in {uid for found in uids for uid in found}:
        made = manager(place.open(uid))
        made.update_configuration(WAITING)
        made.fire("a")
    context = multiprocessing.get_context("spawn")
    barrier, answers = context.Barrier(processes * threads), context.Queue()
    started = [context.Process(target=_fires, args=(place, found, _length(bench), barrier, answers)) for found in uids]
    for process in started:
        process.start()
    times = sorted(took for _ in started for took in answers.get(timeout=120))
    for process in started:
        process.join()
    return times


def _fires(place: Place, uids: list[str], length: float, barrier: Any, answers: Any) -> None:
    shared = manager(place.open(uids[0]))._process
    times: list[float] = []

    def fire(uid: str) -> None:
        made = type(manager(place.open(uid)))(place.open(uid), process=shared)
        made.fire("a", {"n": 0})
        barrier.wait()
        end = time.perf_counter() + length
        began = time.perf_counter()
        while began < end:
            made.fire("a", {"n": 1})
            now = time.perf_counter()
            times.append(now - began)
            began = now

    running = [threading.Thread(target=fire, args=(uid,)) for uid in uids]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    answers.put(times)
