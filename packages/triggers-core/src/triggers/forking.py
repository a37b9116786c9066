"""Forks: what this process shares must start anew in a child, where the parent's threads and locks are not."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forkable(Protocol):
    """Something that has to know when it finds itself in the child of a fork."""

    def after_fork(self) -> None:
        """Called in the child."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


def tell_after_fork(thing: Forkable) -> None:
    """Calls ``thing.after_fork()`` in each child of a fork, as long as the thing is alive."""
    _known.add(thing)


def _after_fork() -> None:
    for thing in list(_known):
        thing.after_fork()


os.register_at_fork(after_in_child=_after_fork)
