"""The inline runner: the work runs in the caller, after the commit."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import datetime

from triggers.runners.base import BaseTaskRunner, Delivery


class InlineTaskRunner(BaseTaskRunner):
    """Performs attempts in the thread that fires; ``fire`` returns when the work and its cascades are done.

    What a work schedules waits until that work has ended, so a cascade of any length needs no deeper stack. It has no clock of
    its own:
    cooldowns end with ``triggers.sweep()``.
    """

    api_version = 1

    def __init__(self, perform: Callable[[Delivery], None], clock: Callable[[], datetime]) -> None:
        super().__init__(perform, clock)
        self._local = threading.local()

    def deliver(self, delivery: Delivery) -> None:
        """Performs the attempt now, or after the work that is scheduling it."""
        queue: deque[Delivery] | None = getattr(self._local, "queue", None)
        if queue is not None:
            queue.append(delivery)
            return
        queue = self._local.queue = deque([delivery])
        try:
            while queue:
                self.perform(queue.popleft())
        finally:
            self._local.queue = None
