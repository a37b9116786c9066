"""Decisions on top of each other: one commit of all leaves what a commit of each would."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from triggers import records
from triggers.config import parse_configuration
from triggers.engine.application import Configure, Fire
from triggers.engine.attempts import Finish, Start
from triggers.engine.commands import Command, decide
from triggers.engine.decision import Terms
from triggers.engine.view import View
from triggers.errors import TriggersError
from triggers.storages.memory import MemoryStore
from triggers.store import ABSENT, EVERYTHING, NOTHING, Want

TASKS = {
    "t": {"after": ["a", "b"], "run": "w"},
    "u": {"after": ["a"], "andEvery": "c", "unless": ["x"], "run": "w"},
    "v": {"after": ["t"], "run": "w"},
}
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TERMS = Terms(history=5, finalize=True)


def fires() -> st.SearchStrategy[Command[Any]]:
    """A fire, sometimes of an event that comes again."""
    return st.builds(
        lambda trigger, number, event: Fire(trigger, msgspec.Raw(b'{"n":%d}' % number), event),
        st.sampled_from(["a", "b", "c", "x", "other"]), st.integers(0, 9), st.sampled_from([None, "e1", "e2"]),
    )  # fmt: skip


def runs() -> st.SearchStrategy[Command[Any]]:
    """A start or the report of a finished attempt, of an instance that may be there."""
    names = st.sampled_from([f"{task}#{number}" for task in TASKS for number in range(2)])
    return st.one_of(
        st.builds(lambda name: Start(name, 1, "claim"), names),
        st.builds(lambda name: Finish(name, msgspec.Raw(b"{}"), 1, "claim"), names),
    )


def one_by_one(commands: list[Command[Any]]) -> tuple[Any, list[Any]]:
    """The session and the outcomes after a commit of each."""
    store, outcomes = MemoryStore(), []
    for command in commands:
        found = store.load("s", EVERYTHING)
        try:
            decision = decide("s", View(found, EVERYTHING, {}), command, NOW, TERMS)
        except TriggersError as error:
            outcomes.append(type(error))
            continue
        outcomes.append(decision.result)
        if decision.changed:
            store.commit("s", decision.change("c:1", 32)._replace(version=f"{len(outcomes)}"), found.version, Want())
    return contents(store), outcomes


def together(commands: list[Command[Any]]) -> tuple[Any, list[Any]]:
    """The same after one commit of all."""
    store, outcomes, labels = MemoryStore(), [], None
    view, top = View(NOTHING, EVERYTHING, {}), None
    for command in commands:
        try:
            decision = decide("s", view if top is None else top.on_top(), command, NOW, TERMS)
        except TriggersError as error:
            outcomes.append(type(error))
            continue
        outcomes.append(decision.result)
        if decision.changed:
            top = decision.seal("c:1", 32)
            labels = labels if decision.labels is None else decision.labels
    if top is not None:
        store.commit("s", top.change("v", labels), ABSENT, Want())
    return contents(store), outcomes


def contents(store: MemoryStore) -> Any:
    """All records, wake-ups and labels."""
    found = store.load("s", EVERYTHING).records
    kept = {
        (name, key): (msgspec.json.decode(record.value), record.wake_at)
        for name, entries in found.items()
        for key, record in entries.items()
    }
    labels = {label: uids for label, uids in store._uids.items() if uids}
    return kept, store.due(2**62, None, 1000).entries, labels


@settings(deadline=None, max_examples=150)
@given(st.lists(st.one_of(fires(), fires(), runs()), max_size=12))
def test_together_as_one_by_one(commands: list[Command[Any]]) -> None:
    """The same records, wake-ups, labels, history and results."""
    configured: list[Command[Any]] = [Configure(parse_configuration(TASKS))]
    assert together(configured + commands) == one_by_one(configured + commands)


def test_a_decision_that_is_left_out_leaves_nothing() -> None:
    """What was decided on top and is not committed changes nothing below."""
    view = View(NOTHING, EVERYTHING, {})
    first = decide("s", view, Fire("a", msgspec.Raw(b"{}")), NOW, TERMS)
    below = first.seal("c:1", 32)
    decide("s", below.on_top(), Fire("b", msgspec.Raw(b"{}")), NOW, TERMS).seal("c:1", 32)
    change = below.change("v", first.labels)
    assert [key for collection, key in change.put if collection == "trigger"] == ["a"]
    assert records.read(records.HEAD, "head", change.put["session", "head"].value).fires == 1
