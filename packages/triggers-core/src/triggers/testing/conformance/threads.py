"""Threads of a test: they begin together, and the first error of any of them fails the test."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator

PATIENCE = 60.0


@contextlib.contextmanager
def quick_switches() -> Iterator[None]:
    """Lets threads take turns a thousand times as often as usual, which shows races that are otherwise rare."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(5e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def run_threads(*works: Callable[[], object], stop: threading.Event | None = None) -> None:
    """Runs each work in a thread of its own, all from one moment on.

    With ``stop``, the event is set as soon as one of them has failed or the first has ended, and the others are
    expected to look at it.

    Raises:
        AssertionError: one of them hangs.
        BaseException: what the first failing work raised.
    """
    together = threading.Barrier(len(works))
    errors: list[BaseException] = []

    def run(number: int, work: Callable[[], object]) -> None:
        try:
            together.wait(PATIENCE)
            work()
        except BaseException as error:
            errors.append(error)
        finally:
            if stop is not None and (number == 0 or errors):
                stop.set()

    threads = [threading.Thread(target=run, args=entry, daemon=True) for entry in enumerate(works)]
    with quick_switches():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
    if errors:
        raise errors[0]
    hanging = [thread for thread in threads if thread.is_alive()]
    assert not hanging, f"{len(hanging)} of {len(threads)} threads still run after {PATIENCE:.0f} seconds: the store hangs"
