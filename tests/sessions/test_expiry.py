"""A server that deletes sessions by itself deletes none whose parent has not heard all."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

import triggers
from tests.servers.plugin import Space
from triggers import TriggerManager
from triggers.errors import SessionClosed, StorageUnavailable
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


@pytest.mark.parametrize("seconds", [0.2, 1.2])
def test_it_is_kept_at_least_as_long_as_the_setting_says(child: TriggerManager, seconds: float) -> None:
    """The server counts whole seconds; less than one of them is no reason to delete at once, and nothing is rounded down."""
    triggers.configure(expire_finished=seconds)
    started = time.monotonic()
    child.fire("a")
    assert child.storage.metadata["unresolved_tasks"] == 0
    while child.storage.exists():
        assert time.monotonic() < started + PATIENCE, "it does not expire"
        time.sleep(0.02)
    assert time.monotonic() - started > seconds


def test_r31_the_mark_of_a_moved_session_does_not_expire(child: TriggerManager) -> None:
    """A finished session that was moved leaves its mark for good, so a late fire makes no second session; the copy expires."""
    triggers.configure(expire_finished=5.0)
    child.fire("a")
    triggers.move_session("child", "redis", "memory")
    triggers.configure(expire_finished=0.0)
    time.sleep(6)
    with pytest.raises(SessionClosed, match="was moved to the storage 'memory'"):
        child.fire("a")
    triggers.delete_session("child", "redis")
    triggers.configure(expire_finished=KEPT)
    triggers.move_session("child", "memory", "redis")
    end = time.monotonic() + PATIENCE
    while child.storage.exists():
        assert time.monotonic() < end, "what was moved here does not expire"
        time.sleep(0.05)
