"""What the tests of this distribution share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from triggers_sql import SqlStore, Statement

OpenStore = Callable[..., SqlStore]


@contextmanager
def statements_of(store: SqlStore) -> Iterator[list[Statement]]:
    """The statements that the store runs meanwhile."""
    seen: list[Statement] = []
    stop = store.observe(seen.append)
    try:
        yield seen
    finally:
        stop()
