"""Whether a storage is swept: when it last was, by the note that sweeps leave once a minute, and what is overdue.

What is due for longer than the longest pause between two sweeps was found by none, or could not be served where they run.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from triggers.records import to_microseconds
from triggers.store import Store
from triggers.sweeping import LONGEST_PAUSE, NOTE_EVERY, last_sweep

_PAGE = 200
_MOST = 1000


class Sweeping(NamedTuple):
    """How a storage is swept.

    ``last_seconds`` is for how long no sweep has left a note (``None``: none ever did), ``running`` whether that is short enough
    for one to run. ``due`` counts the wake-ups whose time has come, up to a thousand; ``oldest_seconds`` is for how long the
    oldest has waited, and ``on_time`` whether that is at most ``allowed_seconds``.
    """

    running: bool
    last_seconds: float | None
    on_time: bool
    due: int
    oldest_seconds: float
    allowed_seconds: float

    def sentence(self) -> str:
        """The same in words."""
        last = "no sweep was ever noted" if self.last_seconds is None else f"last swept {duration(self.last_seconds)} ago"
        return f"{last}; {self.waiting()}"

    def waiting(self) -> str:
        """What is due, in words."""
        count = f"{_MOST} or more" if self.due >= _MOST else str(self.due)
        if not self.due:
            return "nothing is overdue"
        return f"{count} wake-ups are due, the oldest for {duration(self.oldest_seconds)}"


def sweeping(store: Store, now: datetime, sweep_interval: float) -> Sweeping:
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
    allowed = 2 * LONGEST_PAUSE * (sweep_interval or 10.0)
    noted = last_sweep(store)
    last = None if noted is None else max((before - noted) / 1_000_000, 0.0)
    running = last is not None and last <= allowed + 2 * NOTE_EVERY / 1_000_000
    return Sweeping(
        running, None if last is None else round(last, 1), waited <= allowed, min(count, _MOST), round(waited, 1), allowed
    )


def duration(seconds: float) -> str:
    """``90`` as ``1 min 30 s``; the two largest units."""
    parts: list[str] = []
    rest = int(seconds)
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if rest >= size or (unit == "s" and not parts):
            parts.append(f"{rest // size} {unit}")
            rest %= size
    return " ".join(parts[:2])
