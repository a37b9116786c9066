"""Whether a storage is swept, by what can be known of it: wake-ups that are overdue.

No record says when a sweep last ran: a sweep that finds nothing to do writes nothing. But what is due for longer than the
longest pause between two sweeps was found by none, or could not be served where they run.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from triggers.records import to_microseconds
from triggers.store import Store

_LONGEST_PAUSE = 4
"""How many intervals an idle sweep waits at most."""
_PAGE = 200
_MOST = 1000


class Overdue(NamedTuple):
    """What has been due for longer than any sweep should leave it.

    ``due`` counts the wake-ups whose time has come, up to a thousand; ``oldest_seconds`` is for how long the oldest has waited.
    """

    on_time: bool
    due: int
    oldest_seconds: float
    allowed_seconds: float

    def sentence(self) -> str:
        """The same in words."""
        count = f"{_MOST} or more" if self.due >= _MOST else str(self.due)
        if not self.due:
            return "nothing is overdue"
        return f"{count} wake-ups are due, the oldest for {duration(self.oldest_seconds)}"


def overdue(store: Store, now: datetime, sweep_interval: float) -> Overdue:
    """Looks at what a storage has due; changes nothing.

    Args:
        store: one that can list what is due.
        now: the time, UTC.
        sweep_interval: the setting; a sweep is late after two of its longest pauses.
    """
    before = to_microseconds(now)
    oldest, count, cursor = before, 0, None
    while count < _MOST:
        page = store.due(before, cursor, _PAGE)
        oldest = min([oldest, *(entry.wake_at for entry in page.entries)])
        count += len(page.entries)
        cursor = page.cursor
        if cursor is None:
            break
    waited = (before - oldest) / 1_000_000
    allowed = 2 * _LONGEST_PAUSE * (sweep_interval or 10.0)
    return Overdue(waited <= allowed, min(count, _MOST), round(waited, 1), allowed)


def duration(seconds: float) -> str:
    """``90`` as ``1 min 30 s``; the two largest units."""
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if rest >= size or (unit == "s" and not parts):
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts[:2])
