"""What runs in processes that race."""

from __future__ import annotations

import time

from triggers.store import ABSENT, EVERYTHING, Change, Want
from triggers.testing.conformance.children import Say, increments
from triggers.testing.conformance.space import OpenStore

GO = "the signal"


def race(open_store: OpenStore, say: Say, uid: str, name: str, count: int) -> int:
    """Says that it is ready, waits for the signal, increments; returns how often it met a conflict."""
    store = open_store()
    say("ready")
    while store.load(GO, EVERYTHING).version == ABSENT:
        time.sleep(0.01)
    store.close()
    return increments(open_store, say, uid, name, count)


def give_signal(open_store: OpenStore) -> None:
    """Lets the others go."""
    store = open_store()
    store.commit(GO, Change("go", {}), ABSENT, Want())
    store.close()
