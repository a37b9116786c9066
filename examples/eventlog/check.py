"""The check: what the works wrote down, against what the rows say had to run. Does not know Triggers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from expectation import Rulebook, Seen
from reading import Event


@dataclass
class Verdict:
    """What was found."""

    expected: Counter[str] = field(default_factory=Counter)
    """How often each task had to run."""
    ran: Counter[str] = field(default_factory=Counter)
    abandoned: Counter[str] = field(default_factory=Counter)
    """How many of its instances had to be abandoned."""
    wrong: list[str] = field(default_factory=list)
    """What is not as it has to be, a line each."""
    again: int = 0
    """How many works were begun anew because a process was killed."""


@dataclass(frozen=True)
class Claims:
    """What an earlier run, or this one, set out to do."""

    events: Mapping[str, list[Event]]
    """The rows of each session, as the log has them."""
    shared: frozenset[str]
    """The sessions into which several processes fired, so that nobody knows the order."""
    prefix: str
    interrupted: bool
    """Whether a process was killed, so that a work may have begun more than once."""


def check(book: Rulebook, claims: Claims, fired: Iterable[dict[str, Any]], works: Iterable[dict[str, Any]]) -> Verdict:
    """Compares."""
    verdict = Verdict()
    orders = _orders(fired)
    found = _works(book, claims, works, verdict)
    for session, events in claims.events.items():
        order = orders.pop(session, [])
        _compare_rows(session, events, order, verdict)
        known = session not in claims.shared
        expected = book.expect(order, known_order=known)
        verdict.expected.update(task for task, _ in expected.works.elements())
        verdict.abandoned.update(expected.abandoned)
        ran = found.pop(session, Counter())
        verdict.ran.update(task for task, _ in ran.elements())
        for task, seen in (expected.works - ran).elements():
            verdict.wrong.append(f"{session}: {task} did not run with {_told(seen)}")
        for task, seen in (ran - expected.works).elements():
            verdict.wrong.append(f"{session}: {task} ran, and should not have, with {_told(seen)}")
    for session in [*orders, *found]:
        verdict.wrong.append(f"{session}: is not in the log")
    return verdict


def _orders(fired: Iterable[dict[str, Any]]) -> dict[str, list[tuple[int, str]]]:
    """In which order the rows of each session were fired; a row that was fired again counts the first time."""
    seen: set[int] = set()
    orders: dict[str, list[tuple[int, str]]] = {}
    for line in fired:
        if line["row"] not in seen:
            seen.add(line["row"])
            orders.setdefault(line["session"], []).append((line["row"], line["trigger"]))
    return orders


def _compare_rows(session: str, events: list[Event], order: list[tuple[int, str]], verdict: Verdict) -> None:
    in_log, in_records = {(event.row, event.trigger) for event in events}, set(order)
    for row, trigger in sorted(in_log - in_records):
        verdict.wrong.append(f"{session}: row {row} ({trigger}) was not fired")
    for row, trigger in sorted(in_records - in_log):
        verdict.wrong.append(f"{session}: row {row} ({trigger}) was fired and is not in the log")


def _works(
    book: Rulebook, claims: Claims, works: Iterable[dict[str, Any]], verdict: Verdict
) -> dict[str, Counter[tuple[str, Seen]]]:
    """What ran in each session; where a process was killed, the attempts of one instance count once."""
    attempts: set[tuple[str, str]] = set()
    found: dict[str, Counter[tuple[str, Seen]]] = {}
    for line in works:
        session = line["session"].removeprefix(claims.prefix)
        if claims.interrupted and (session, line["instance"]) in attempts:
            verdict.again += 1
            continue
        attempts.add((session, line["instance"]))
        seen = book.shown(line["task"], line["seen"], known_order=session not in claims.shared)
        found.setdefault(session, Counter())[line["task"], seen] += 1
    return found


def _told(seen: Seen) -> str:
    return "; ".join(f"{trigger}: row {', '.join(map(str, rows))}" for trigger, rows in seen) or "what nobody can foretell"
