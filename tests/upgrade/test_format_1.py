"""A session as the first version wrote it, before leases were swept and sessions had parents, goes on in this one."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from triggers.codec import encode
from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.settings import Settings
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import ABSENT, Change, Record, Want
from triggers.tasks import registered, task

NOW = dt.datetime(2026, 11, 22, 13, tzinfo=dt.UTC)
"""An hour after the session was written."""


@pytest.fixture
def manager() -> Iterator[TriggerManager]:
    """A manager of the old session, in a process whose works run in the caller."""
    stored = json.loads((Path(__file__).parent / "session-of-format-1.json").read_text(encoding="utf-8"))
    put = {
        (collection, key): Record(encode(value), wake_at)
        for collection, entries in stored["records"].items()
        for key, (value, wake_at) in entries.items()
    }
    store = MemoryStore()
    store.commit("old", Change(stored["version"], put, labels=frozenset()), ABSENT, Want())
    settings = Settings(runner="inline", sweep_interval=0.0)
    process = Process(settings=lambda: settings, clock=lambda: NOW)
    for name in ("good", "bad"):
        task(name)(_body)
    storage = MemoryStorageBackend("old", store=store)
    process.use(storage)
    yield TriggerManager(storage, process=process)
    for name in ("good", "bad"):
        registered.remove(name)


def _body(context: object) -> dict[str, int]:
    return {"v": 2}


def statuses(manager: TriggerManager) -> dict[str, str]:
    """The status of each instance."""
    return {found.name: str(found.status) for found in manager.storage}


def test_everything_in_it_is_read(manager: TriggerManager) -> None:
    """Instances, kwargs, configuration and counts are what they were."""
    assert statuses(manager) == {
        "t_done#0": "finished",
        "t_each#0": "unstarted",
        "t_each#1": "unstarted",
        "t_fail#0": "failed",
        "t_run#0": "running",
        "t_wait#0": "unstarted",
    }
    assert manager.storage["t_each#1"].kwargs == {"p": {"n": 2}}
    assert manager.storage["t_fail#0"].metadata["exception"]["message"] == "no paper"
    assert manager.storage.get_unresolved_tasks() == ["t_each", "t_fail", "t_run", "t_wait"]
    assert str(manager.explain("t_wait")) == "t_wait waits for b (1 of 2)"


def test_it_goes_on(manager: TriggerManager) -> None:
    """The join completes, both queued instances run, the failed one is replayed, the lost attempt is run again."""
    assert manager.fire("a", {"n": 1}, event_id="e1").created == ("t_done#0", "t_fail#0", "t_run#0", "t_wait#0")
    assert manager.fire("b").scheduled == ("t_each#0", "t_each#1", "t_wait#0")
    manager.replay_failed_instance("t_fail#0")
    assert manager._process.sweep() == 1
    assert statuses(manager) == {
        "t_done#0": "finished",
        "t_each#0": "finished",
        "t_each#1": "finished",
        "t_fail#0": "replayed",
        "t_fail#1": "finished",
        "t_run#0": "finished",
        "t_wait#0": "finished",
    }
    assert manager.storage["t_run#0"].attempt == 2
    assert manager.storage.get_unresolved_tasks() == []
