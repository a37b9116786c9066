"""When a session may go: finalized, or idle, for long enough. The head's wake-up is the clock of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from triggers.engine.decision import Terms
from triggers.records import Head


def deletion_time(head: Head, terms: Terms) -> datetime | None:
    """When the sweep next looks at the session for deletion; ``None`` for never."""
    times = []
    if terms.keep_finalized and head.finalized is not None:
        times.append(max(head.finalized, head.touched) + timedelta(seconds=terms.keep_finalized))
    if terms.keep_idle:
        times.append(head.touched + timedelta(seconds=terms.keep_idle))
    return min(times) if times else None


def may_go(head: Head, terms: Terms, now: datetime) -> bool:
    """Whether the session is to be deleted: its time has come, and no work is unresolved (unless that is allowed)."""
    at = deletion_time(head, terms)
    if at is None or at > now:
        return False
    return terms.delete_unresolved or not has_work(head)


def has_work(head: Head) -> bool:
    """Whether an instance (not a task that waits for its first trigger) is unresolved, or the parent has not heard all."""
    return head.open > 0 or head.delivered < head.outbox
