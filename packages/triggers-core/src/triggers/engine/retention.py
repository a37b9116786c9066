"""When a session may go: finalized, or idle, for long enough. The head's wake-up is the clock of it."""

from __future__ import annotations

from datetime import datetime, timedelta

from triggers.engine.closing import COPY, MOVED
from triggers.engine.decision import Terms
from triggers.records import Head


def deletion_time(head: Head, terms: Terms) -> datetime | None:
    """When the sweep next looks at the session for deletion; ``None`` for never.

    The mark that a moved session leaves behind, and a copy that is not active, stay until somebody deletes them.
    """
    if head.closed in (MOVED, COPY):
        return None
    times = []
    if terms.keep_finalized and head.finalized is not None:
        times.append(max(head.finalized, head.touched) + timedelta(seconds=terms.keep_finalized))
    if terms.keep_idle:
        times.append(head.touched + timedelta(seconds=terms.keep_idle))
    return min(times) if times else None


def may_go(head: Head, terms: Terms, now: datetime) -> bool:
    """Whether the session is to be deleted: its time has come, its parent has heard all, and no work is unresolved.

    Unresolved is an instance, not a task that waits for its first trigger; ``delete_unresolved`` allows it.
    """
    at = deletion_time(head, terms)
    if at is None or at > now or head.delivered < head.outbox:
        return False
    return terms.delete_unresolved or not head.open
