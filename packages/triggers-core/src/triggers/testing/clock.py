"""A clock that stands still until a test moves it, and what time brings on the way."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class MovableClock:
    """Gives the time of a test: ``clock()``. It stands still; ``move`` lets time pass.

    Args:
        now: where it stands at first; noon of 1 January 2026, UTC, by default.
    """

    def __init__(self, now: datetime = START) -> None:
        self._now = _utc(now)
        self._pass_time: Callable[[datetime, bool], None] | None = None

    def __call__(self) -> datetime:
        """The time, UTC."""
        return self._now

    def move(
        self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0, wait: bool = True
    ) -> datetime:
        """Lets time pass, and all that is due on the way happen in its order: cooldowns end, leases run out, the sweep delivers.

        Args:
            seconds: how long; with ``minutes``, ``hours`` and ``days``, which are added. At least a microsecond in all.
            minutes: more of it.
            hours: more of it.
            days: more of it.
            wait: whether to wait, at each step, for the work that has begun; without, a body may run while time passes.

        Returns:
            The time that it is then.

        Raises:
            ValueError: the time would stand still or go back.
            TimeoutError: work did not end within ten real seconds.
        """
        return self.move_to(self._now + timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds), wait=wait)

    def move_to(self, moment: datetime, *, wait: bool = True) -> datetime:
        """Lets time pass until a moment, like ``move``."""
        moment = _utc(moment)
        if moment <= self._now:
            raise ValueError(f"time only goes forward: it is {self._now.isoformat()}, and {moment.isoformat()} is not later")
        if self._pass_time is not None:
            self._pass_time(moment, wait)
        self._now = moment
        return moment

    def drive(self, pass_time: Callable[[datetime, bool], None] | None) -> None:
        """Says who is told to let things happen while time passes, until a moment, with or without waiting for work."""
        self._pass_time = pass_time

    def set(self, moment: datetime) -> None:
        """Sets the time and lets nothing happen."""
        self._now = _utc(moment)

    def __repr__(self) -> str:
        """The time."""
        return f"MovableClock({self._now.isoformat()})"


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError(f"a time needs its zone: datetime(..., tzinfo=UTC), got {moment!r}")
    return moment.astimezone(UTC)
