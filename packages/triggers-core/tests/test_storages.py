"""A session's handle: what can be read of it, and how its store is found."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from processes import START, Bench, bench
from triggers.context import TaskContext
from triggers.errors import InvalidName, SettingsError, UnknownInstance, UnknownKey
from triggers.instance import TaskInstance
from triggers.settings import configure, reset
from triggers.storages import BaseTriggerStorage, storage_backends
from triggers.storages.base import forget_shared_stores
from triggers.storages.memory import MemoryStorageBackend, MemoryStore
from triggers.store import ABSENT, EVERYTHING, Change, Record


@pytest.fixture
def made() -> Iterator[Bench]:
    """A bench with the inline runner."""
    with bench() as found:
        yield found


class OptionStore(MemoryStore):
    """A store with an option; notes that it was closed."""

    closed: ClassVar[list[str]] = []

    def __init__(self, *, url: str = "default", password: str = "") -> None:
        super().__init__()
        self.url = url

    def close(self) -> None:
        """Noted."""
        self.closed.append(self.url)


class OptionBackend(BaseTriggerStorage):
    """A backend on that store."""

    api_version = 1
    key = "option"
    store_class = OptionStore


@pytest.fixture
def option() -> Iterator[None]:
    """Registers it."""
    storage_backends.register("option", OptionBackend)
    OptionStore.closed.clear()
    yield
    forget_shared_stores()
    storage_backends.unregister("option")
    reset()


def url(storage: BaseTriggerStorage) -> str:
    """The option of its store."""
    assert isinstance(storage.store, OptionStore)
    return storage.store.url


def test_one_store_per_process(option: None) -> None:
    """Handles of one key share a store; other options have another; the settings give the options."""
    configure(storages={"option": {"url": "configured"}, "archive": {"backend": "option", "url": "archive"}})
    first, second = storage_backends.get("option", "a"), storage_backends.get("option", "b")
    assert first.store is second.store
    assert url(first) == "configured"
    assert first.configured
    archive = storage_backends.get("archive", "a")
    assert (url(archive), archive.key) == ("archive", "archive")
    other = storage_backends.get("option", "a", url="explicit")
    assert url(other) == "explicit"
    assert not other.configured
    assert storage_backends.get("option", "b", url="explicit").store is other.store
    assert storage_backends.open_store("option") is first.store


def test_changed_settings_give_a_new_store(option: None) -> None:
    """A handle made before keeps its own; what did not change is kept; forgetting closes all."""
    configure(storages={"option": {"url": "one"}})
    before = storage_backends.get("option", "a")
    explicit = storage_backends.get("option", "a", url="explicit")
    configure(lease=5)
    assert storage_backends.get("option", "a").store is before.store
    configure(storages={"option": {"url": "two"}})
    assert url(storage_backends.get("option", "a")) == "two"
    assert url(before) == "one"
    assert storage_backends.get("option", "a", url="explicit").store is explicit.store
    forget_shared_stores()
    assert sorted(OptionStore.closed) == ["explicit", "two"]


def test_options_that_the_store_does_not_take(option: None) -> None:
    """Are refused by name, without passwords."""
    with pytest.raises(SettingsError) as caught:
        storage_backends.get("option", "a", host="x", password="secret")
    assert "storage 'option' cannot be made with the options" in str(caught.value)
    assert "host" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(SettingsError, match="there is no option 'ulr', did you mean 'url'"):
        storage_backends.get("option", "a", ulr="x")


@pytest.mark.parametrize("uid", ["", "a\n", "x" * 256, None, [], 5])
def test_what_is_no_session(uid: Any) -> None:
    """A session's name is a name."""
    with pytest.raises(InvalidName, match="the name of a session"):
        storage_backends.get("memory", uid)


def test_unknown_storages() -> None:
    """The error lists the known ones."""
    with pytest.raises(UnknownKey, match=r"known are .*memory"):
        storage_backends.get("memori", "a")


def test_a_second_key_needs_its_backend() -> None:
    """Whoever has forgotten to say which backend a key of their own is for, is told to."""
    configure(storages={"archive": {"url": "x"}, "other": {"backend": "sqll"}})
    try:
        with pytest.raises(UnknownKey, match=r"has the key 'archive'; known are .*its options must say which, as 'backend'"):
            storage_backends.get("archive", "a")
        for key in ("other", "memori"):
            with pytest.raises(UnknownKey) as caught:
                storage_backends.get(key, "a")
            assert "must say which" not in str(caught.value)
    finally:
        reset()


def test_reading_a_session(made: Bench) -> None:
    """Everything that the handle tells, of a small session."""

    def body(context: TaskContext) -> None:
        with context.get_logger_context() as logger:
            logger.warning("odd")
        raise ValueError("no")

    made.work(body)
    manager = made.manager("the session")
    storage = manager.storage
    assert (len(storage), list(storage), bool(storage), storage.exists()) == (0, [], True, False)
    assert [storage.tasks, storage.instances, storage.metadata, storage.latest_kwargs] == [{}, {}, {}, {}]
    assert [*storage.get_unresolved_tasks(), *storage.get_unresolved_instances()] == []
    assert storage.debug_repr() == "session 'the session': not there"
    manager.update_configuration(
        {
            "b": {"after": ["x"], "unless": ["y"], "run": "w"},
            "a": {"andEvery": "x", "run": "w"},
            "c": {"after": ["x", "z"], "run": "w"},
        }
    )
    for _ in range(2):
        manager.fire("x", {"n": 1})
    assert list(storage.instances) == ["a#0", "a#1", "b#0", "c#0"]
    assert [one.name for one in storage] == ["a#0", "a#1", "b#0", "c#0"]
    assert len(storage) == 4
    assert [one.name for one in storage.instances_of_task("a")] == ["a#0", "a#1"]
    assert storage.instances_of_task("absent") == []
    assert "a#1" in storage
    assert "a#2" not in storage
    assert "no name" not in storage
    assert 5 not in storage
    assert sorted(storage.get_unresolved_tasks()) == ["a", "b", "c"]
    expected: dict[str, Any] = {
        "created_at": START,
        "touched_at": START,
        "finalized_at": None,
        "manager": "default",
        "attributes": {},
        "tasks": 3,
        "unresolved_tasks": 3,
        "instances": 4,
        "failed_instances": 3,
        "fires": 2,
    }
    assert {key: storage.metadata[key] for key in expected} == expected
    assert repr(storage) == "MemoryStorageBackend('the session')"
    assert storage.debug_repr().splitlines() == [
        "session 'the session'",
        "  fired: x",
        "  a: after x",
        "  b: after x unless y",
        "  c: after x, z",
        "  a#0: failed (has x)",
        "  a#1: failed (has x)",
        "  b#0: failed (has x)",
        "  c#0: unstarted (has x)",
    ]
    found = storage["a#0"]
    assert isinstance(found, TaskInstance)
    assert str(found) == "a#0 (failed)"
    assert not found.resolved
    assert found.runner is None
    assert [one.name for one in storage.get_instances_with_unresolved_logs()] == ["a#0", "a#1", "b#0"]
    with pytest.raises(UnknownInstance, match="session 'the session' has no instance 'a#7'"):
        storage["a#7"]
    with pytest.raises(InvalidName, match="t_score#0"):
        storage["a"]


def test_it_is_never_stale(made: Bench) -> None:
    """Reading gives the stored truth of now, whoever changed it."""
    manager = made.manager()
    storage = MemoryStorageBackend("s", store=made.store)
    manager.update_configuration({"t": {"after": ["a"], "run": "nobody has it"}})
    manager.fire("a")
    assert str(storage["t#0"].status) == "scheduled"
    manager.update_instance_status("t#0", "running")
    assert str(storage["t#0"].status) == "running"


def test_ctrl_c_amid_a_change_in_memory() -> None:
    """At whatever line it comes, a commit or a delete is stored whole or not at all, and nothing is left behind."""
    first = Change("v1", {("c", "k"): Record(b"1", 5), ("c", "gone"): Record(b"1", 6)}, labels=frozenset({"a", "b"}))
    second = Change(
        "v2", {("c", "k"): Record(b"2", 7), ("d", "k"): Record(b"2")}, frozenset({("c", "gone")}), frozenset({"b", "x"})
    )

    def contents(store: MemoryStore) -> tuple[Any, ...]:
        listed = {label: store.scan(label, None, 9).uids for label in (None, "a", "b", "x")}
        return store.load("s", EVERYTHING), store.due(100, None, 9).entries, listed

    def changed(*changes: Callable[[MemoryStore], object]) -> tuple[Any, ...]:
        store = MemoryStore()
        for change in changes:
            change(store)
        return contents(store)

    steps: list[Callable[[MemoryStore], object]] = [
        lambda store: store.commit("s", first, ABSENT, EVERYTHING),
        lambda store: store.commit("s", second, "v1", EVERYTHING),
        lambda store: store.delete("s"),
    ]
    for number, step in enumerate(steps):
        whole = [changed(*steps[:number]), changed(*steps[: number + 1])]
        assert whole[0] != whole[1]
        interrupted = 0
        for line in range(1000):
            store = MemoryStore()
            for before in steps[:number]:
                before(store)
            if not interrupt_at(line, lambda step=step, store=store: step(store)):  # type: ignore[misc]
                break
            interrupted += 1
            assert contents(store) in whole, f"step {number} was interrupted at line event {line}"
        assert interrupted > 10


def interrupt_at(line: int, call: Callable[[], object]) -> bool:
    """Calls something with Ctrl-C before a line of the changes that it makes in memory; whether there is such a line."""
    seen = 0
    interrupted = False

    def trace(frame: Any, event: str, argument: Any) -> Any:
        nonlocal seen, interrupted
        if frame.f_globals["__name__"] != MemoryStore.__module__ or not frame.f_code.co_name.startswith("_"):
            return None
        if event == "line" and not interrupted:
            if seen == line:
                interrupted = True
                raise KeyboardInterrupt
            seen += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            call()
    finally:
        sys.settrace(before)
    return interrupted
