"""A recorded fire beside the bare call of its server, in a fresh session and in full ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench import WAITING, Bench, Place, in_turn, manager
from limits import NAMES, limit
from report import Row, seconds

CASES = ("fresh", "1000 tasks", "3000 finished", "3000 queued")
AIMS = {
    ("Redis", "loading"): "≤ 2.5",
    ("Redis", "remembering"): "≤ 1.5",
    ("SQLite", "loading"): "≤ 1.5",
    ("PostgreSQL", "loading"): "≤ 1.5",
}


def measure(bench: Bench) -> list[Row]:
    """All cases and all limits, in turn."""
    acts: list[tuple[Any, Callable[[], Any]]] = []
    for place in bench.places:
        bare = limit(bench, place)
        if bare is not None:
            acts.append(((place.name, "limit", ""), bare))
        for case in CASES:
            acts += [((place.name, case, how), _fire(bench, place, case, how)) for how in ("loading", "remembering")]
    medians = in_turn(acts, bench.rounds, warm=20)
    rows = []
    for (name, case, how), median in medians.items():
        if case == "limit":
            rows.append(Row("A recorded fire", name, f"limit: a {NAMES[name]}", seconds(median)))
        elif case == "fresh":
            bare_call = medians.get((name, "limit", ""))
            ratio = median / bare_call if bare_call else None
            of = f"a {NAMES.get(name)}"
            rows.append(Row("A recorded fire", name, f"fresh, {how}", seconds(median), ratio, of, AIMS.get((name, how), "")))
    for (name, case, how), median in medians.items():
        if case not in ("limit", "fresh"):
            ratio = median / medians[name, "fresh", how]
            rows.append(
                Row("A recorded fire in a full session", name, f"{case}, {how}", seconds(median), ratio, "fresh", "≤ 1.15")
            )
    return rows


def _fire(bench: Bench, place: Place, case: str, how: str) -> Callable[[], Any]:
    fill = 300 if bench.quick else 3000
    made = manager(place.open(bench.uid(f"{case}-{how}")), remembered_sessions=1000 if how == "remembering" else 0)
    tasks: dict[str, Any] = dict(WAITING)
    if case == "1000 tasks":
        tasks |= {f"t{number}": {"after": [f"x{number}"], "run": "bench.nothing"} for number in range(1000)}
    if case == "3000 finished":
        tasks["e"] = {"after": ["a"], "andEvery": "p", "run": "bench.nothing"}
    if case == "3000 queued":
        tasks["e"] = {"after": ["a", "never"], "andEvery": "p", "run": "bench.nothing"}
    made.update_configuration(tasks)
    made.fire("a")
    if case.startswith("3000"):
        for _ in range(fill):
            made.fire("p")
    return lambda: made.fire("a", {"n": 1})
