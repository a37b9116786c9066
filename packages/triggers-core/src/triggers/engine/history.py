"""The history of a session: what each commit did, written with it, in a ring of a limited number of entries."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from triggers.engine.decision import (
    Cancelled,
    Configured,
    Delivered,
    Finalized,
    Fired,
    ManagerChanged,
    Notice,
    Recovered,
    Replayed,
    Skipped,
    StatusChanged,
)
from triggers.engine.view import View
from triggers.records import HISTORY, Entry

Fact = tuple[str, str, str]


def write_history(view: View, number: int, notices: Sequence[Notice], now: datetime, limit: int) -> int:
    """Writes what a decision did over the oldest entry; returns the number of entries that were ever written."""
    if not limit or not notices:
        return number
    view.put(HISTORY, str(number % limit), Entry(number=number, at=now, facts=tuple(facts(notices))))
    return number + 1


def facts(notices: Iterable[Notice]) -> Iterator[Fact]:
    """What happened as ``(kind, subject, detail)``."""
    for notice in notices:
        match notice:
            case Fired(trigger, _, _, cause, origin):
                yield "fired", trigger, origin if origin else "" if cause == "fire" else cause
            case StatusChanged(instance, before):
                yield "status", instance.name, f"{before or 'new'} → {instance.status}"
            case Replayed(name, replacement):
                yield "replayed", name, replacement
            case Skipped(name, cascade):
                yield "skipped", name, "with a cascade" if cascade else ""
            case Recovered(name, attempt, reason):
                yield "recovered", name, f"attempt {attempt}: {reason}"
            case Delivered(name, attempt):
                yield "delivered", name, f"attempt {attempt}, again"
            case Configured(serial, tasks):
                yield "configured", f"serial {serial}", ", ".join(tasks[:20]) + (" …" if len(tasks) > 20 else "")
            case Cancelled(name, reason):
                yield "cancelled", name or "session", reason
            case ManagerChanged(before, after):
                yield "manager", after, f"instead of {before}"
            case Finalized():
                yield "finalized", "session", ""
