"""Sessions are found by their attributes and by what they are in, page by page, at a fixed cost."""

from __future__ import annotations

import enum
import inspect
import sqlite3
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from tests.rules.backends import Backend, opened
from tests.rules.scene import Scene
from triggers.context import TaskContext
from triggers.engine.lifecycle import NOT_SEARCHABLE
from triggers.errors import InvalidName, StorageError
from triggers.finalizing import FinalizingTriggerManager
from triggers.sessions import find_sessions
from triggers.store import ABSENT, Capability, Change, Record, Want

ONE = {"t": {"after": ["a"], "run": "w"}}


def found(scene: Scene, **conditions: Any) -> list[str]:
    """All sessions of a search, through all of its pages."""
    handle, uids, cursor = scene.backend.session("any"), [], None
    while True:
        page = find_sessions(storage=handle, cursor=cursor, limit=2, **conditions)
        uids += page.uids
        cursor = page.cursor
        if cursor is None:
            assert len(set(uids)) == len(uids)
            return sorted(uids)


@pytest.fixture
def listed(scene: Scene) -> Scene:
    """A scene on a store that lists its sessions; the others say that they cannot."""
    if Capability.SCAN not in scene.backend.store.capabilities:
        with pytest.raises(StorageError, match="cannot list its sessions"):
            found(scene, customer="7")
        pytest.skip("this store lists no sessions, and says so")
    return scene


def test_by_attributes(listed: Scene) -> None:
    """One condition, several, none that fits; an attribute that is changed or removed is not found any more."""
    mark = uuid.uuid4().hex
    managers = [listed.configured(ONE) for _ in range(5)]
    for number, manager in enumerate(managers):
        assert manager.label(mark=mark, odd=str(number % 2)) == {"mark": mark, "odd": str(number % 2)}
    uids = [manager.uid for manager in managers]
    assert found(listed, mark=mark) == sorted(uids)
    assert found(listed, mark=mark, odd="1") == sorted(uids[1::2])
    assert found(listed, mark=mark, odd="2") == []
    managers[0].label(mark=None)
    managers[1].label(mark=f"{mark}!")
    assert found(listed, mark=mark) == sorted(uids[2:])
    managers[2].storage.delete()
    assert found(listed, mark=mark) == sorted(uids[3:])


class Kind(str, enum.Enum):  # noqa: UP042, whose str() is the value
    """Attributes as applications like to name them."""

    GOLD = "gold"


def test_by_a_member_of_an_enumeration(listed: Scene) -> None:
    """A member of a string enumeration is its value, as an attribute and in a search."""
    manager = listed.configured(ONE)
    mark = uuid.uuid4().hex
    assert manager.label(kind=Kind.GOLD, mark=mark) == {"kind": "gold", "mark": mark}
    manager.fire("a")
    assert found(listed, kind=Kind.GOLD, mark=mark) == found(listed, kind="gold", mark=mark) == [manager.uid]


def test_by_what_they_are_in(listed: Scene) -> None:
    """Failed while an instance is failed, finalized, cancelled."""
    mark = uuid.uuid4().hex

    def works(context: TaskContext) -> None:
        if context.trigger_kwargs["a"]:
            raise ValueError

    listed.works("w", works)
    managers = [listed.configured(ONE, kind=FinalizingTriggerManager) for _ in range(3)]
    for number, manager in enumerate(managers):
        manager.label(mark=mark)
        manager.fire("a", {"fail": 1} if number == 0 else {})
    managers[2].cancel()
    listed.perform_all()
    uids = [manager.uid for manager in managers]
    for status, expected in (("failed", uids[:1]), ("finalized", uids[1:2]), ("cancelled", uids[2:]), ("moved", [])):
        assert found(listed, mark=mark, status=status) == expected, status
    managers[0].skip_failed_instance("t#0")
    assert found(listed, mark=mark, status="failed") == []
    assert found(listed, mark=mark, status="finalized") == sorted(uids[:2])


@pytest.mark.parametrize("attributes", [{"x": 7}, {"x": ["a"]}, {"x": "a\n"}, {"x": "y" * 254}, {"x": True}])
def test_what_an_attribute_must_not_be(scene: Scene, attributes: dict[str, Any]) -> None:
    """What is no string, or is no name, is refused before anything is written; the session can be read as before."""
    manager = scene.configured(ONE)
    with pytest.raises(InvalidName, match="x"):
        manager.label(**attributes)
    assert manager.storage.metadata["attributes"] == {}


@pytest.mark.parametrize("name", ["", "a=b", "="])
def test_what_the_name_of_an_attribute_must_not_be(scene: Scene, name: str) -> None:
    """A name with ``=`` would be found as another attribute, and one without a letter is none."""
    manager = scene.configured(ONE)
    with pytest.raises(InvalidName, match="must not be empty or have a '='"):
        manager.label(**{name: "c"})
    assert manager.storage.metadata["attributes"] == {}


def test_an_attribute_that_could_not_be_searched_for(scene: Scene) -> None:
    """What ``find_sessions`` takes for something else is refused as an attribute, and can only be removed."""
    parameters = inspect.signature(find_sessions).parameters.values()
    assert {parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY} == NOT_SEARCHABLE
    manager = scene.configured(ONE)
    for name in NOT_SEARCHABLE:
        with pytest.raises(InvalidName, match=f"'{name}' could not be searched for"):
            manager.label(**{name: "open"})
        assert manager.label(**{name: None}) == {}


@pytest.mark.parametrize(
    "conditions, said",
    [
        ({"status": "fialed"}, "did you mean 'failed'"),
        ({"status": "open"}, "there are failed, finalized, cancelled, moved, copy"),
        ({"limit": 0}, "from 1 to 1000000, got 0"),
        ({"limit": -1}, "got -1"),
        ({"limit": "5"}, "got '5'"),
        ({"limit": 10**30}, "from 1 to 1000000"),
    ],
)
def test_a_search_that_means_nothing(scene: Scene, conditions: dict[str, Any], said: str) -> None:
    """A status that no session can have finds nothing for ever, and a page of no sessions never ends: both are refused."""
    with pytest.raises(ValueError, match=said):
        find_sessions(storage=scene.backend.session("any"), **conditions)


@pytest.fixture
def count_statements(tmp_path: Path) -> Iterator[tuple[Backend, Callable[[], int]]]:
    """An SQLite store with ten thousand sessions, and a count of statements."""
    statements = [0]

    def note(statement: str) -> None:
        statements[0] += 1

    def trace(connection: sqlite3.Connection, *arguments: Any) -> None:
        connection.set_trace_callback(note)

    sqlalchemy.event.listen(sqlalchemy.Pool, "connect", trace)
    try:
        with opened("sqlite", tmp_path) as backend:
            yield backend, lambda: statements[0]
    finally:
        sqlalchemy.event.remove(sqlalchemy.Pool, "connect", trace)


def test_a_page_costs_the_same_among_ten_thousand_sessions(
    count_statements: tuple[Backend, Callable[[], int]],
) -> None:
    """The number of statements for a page is the same among a hundred and ten thousand sessions, on every page."""
    backend, count = count_statements
    made, costs = 0, {}
    for total in (100, 10_000):
        while made < total:
            uid, label = f"s{made:05}", f"customer={made % 2}"
            change = Change(f"v{made}", {("session", "x"): Record(b"1")}, labels=frozenset({label}))
            backend.store.commit(uid, change, ABSENT, Want())
            made += 1
        cursor, pages = None, []
        while True:
            before = count()
            page = find_sessions(storage=backend.session("any"), cursor=cursor, limit=25, customer="1")
            pages.append(count() - before)
            cursor = page.cursor
            if cursor is None or len(pages) > 300:
                break
        costs[total] = set(pages)
        assert len(pages) >= total // 50
    assert costs[100] == costs[10_000]
    assert len(costs[100]) == 1
    assert 1 <= min(costs[100]) <= 4
