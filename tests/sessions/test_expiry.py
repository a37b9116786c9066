"""A server that deletes sessions by itself deletes none whose parent has not heard all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import triggers
from tests.servers.plugin import Space
from triggers import TriggerManager
from triggers.errors import StorageUnavailable
from triggers.process import forget_shared_stores
from triggers.settings import reset
from triggers.storages import storage_backends
from triggers.tasks import registered, task

KEPT, PATIENCE = 1.0, 30.0


@pytest.fixture
def child(redis_space: Space) -> Iterator[TriggerManager]:
    """A session on Redis that finalizes and expires, and whose parent is in another storage."""
    storages = {"redis": {"url": redis_space.url, "prefix": redis_space.prefix}, "memory": {}}
    triggers.configure(
        storage="redis", storages=storages, runner="inline", sweep_interval=0.0, expire_finished=KEPT, finalize=True
    )
    task("expiry.w")(lambda context: None)
    child = triggers.get_manager("child")
    child.update_configuration({"t": {"after": ["a"], "run": "expiry.w"}})
    child.join("father", alias="c", storage="memory")
    yield child
    registered.remove("expiry.w")
    forget_shared_stores()
    reset()


@contextmanager
def nobody_answers() -> Iterator[None]:
    """The parent's storage is down."""

    def down(*arguments: object) -> None:
        raise StorageUnavailable("down")

    store = storage_backends.open_store("memory")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "load", down)
        patch.setattr(store, "commit", down)
        yield


def test_r30_what_the_parent_has_not_heard_outlives_the_expiry(child: TriggerManager) -> None:
    """A finished child stays until its parent has heard all, and only then expires."""
    with nobody_answers():
        child.fire("a")
        assert child.storage.metadata["finalized_at"] is not None
        time.sleep(2 * KEPT)
        assert child.storage.exists()
        triggers.sweep()
        time.sleep(KEPT)
    triggers.sweep()
    father = triggers.get_manager("father", storage="memory")
    assert set(father.storage.latest_kwargs) == {"c.a", "c.t", "c.sessionFinalized"}
    end = time.monotonic() + PATIENCE
    while child.storage.exists():
        assert time.monotonic() < end, "it does not expire"
        time.sleep(0.05)
