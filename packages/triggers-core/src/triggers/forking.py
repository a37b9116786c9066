"""Forks: what this process shares must start anew in a child, where the parent's threads and locks are not."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from typing import Any, Protocol


class Forkable(Protocol):
    """Something that has to know when it finds itself in the child of a fork."""

    def after_fork(self) -> None:
        """Called in the child."""


_known: weakref.WeakSet[Forkable] = weakref.WeakSet()


def tell_after_fork(thing: Forkable) -> None:
    """Calls ``thing.after_fork()`` in each child of a fork, as long as the thing is alive."""
    _known.add(thing)


def renew_after_fork(module: dict[str, Any], name: str, make: Callable[[], Any]) -> None:
    """Puts a new lock into the module, its ``globals()``, in each child: a thread of the parent may hold the old one for ever.

    For locks that guard what is replaced whole, so that a child finds nothing half done.
    """
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: module.update({name: make()}))


def _after_fork() -> None:
    for thing in list(_known):
        thing.after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
