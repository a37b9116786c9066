"""Every order of up to five fires, in small configurations, against the literal model (R4–R10)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.rules.model import Model
from tests.rules.session_of_records import Kept, check_same, expected_of, same_fire, seen_in

DEPTH = 5

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "one-shot join": {"t": {"after": ["a", "b", "c"], "run": "w"}},
    "one trigger": {"t": {"after": ["a"], "run": "w"}},
    "and every": {"t": {"after": ["a", "b"], "andEvery": "c", "run": "w"}},
    "and every alone": {"t": {"andEvery": "a", "run": "w"}},
    "and every, repeated in after": {"t": {"after": ["b", "a"], "andEvery": "a", "run": "w"}},
    "unless": {"t": {"after": ["a", "b"], "unless": ["c"], "run": "w"}},
    "unless of two": {"t": {"after": ["a"], "unless": ["b", "c"], "run": "w"}},
    "after and unless overlap": {"t": {"after": ["a", "b"], "unless": ["b", "c"], "run": "w"}},
    "after within unless": {"t": {"after": ["a"], "unless": ["a", "b"], "run": "w"}},
    "after equals unless": {"t": {"after": ["a", "b"], "unless": ["a", "b"], "run": "w"}},
    "and every with unless": {"t": {"after": ["a"], "andEvery": "b", "unless": ["c"], "run": "w"}},
    "and every with unless that overlaps": {"t": {"after": ["a"], "andEvery": "b", "unless": ["a", "c"], "run": "w"}},
    "and every alone with unless of two": {"t": {"andEvery": "a", "unless": ["b", "c"], "run": "w"}},
    "two tasks share triggers": {
        "t": {"after": ["a", "b"], "run": "w"},
        "u": {"after": ["b"], "andEvery": "c", "unless": ["d"], "run": "w"},
    },
    "roles differ by task": {
        "t": {"after": ["a"], "andEvery": "b", "run": "w"},
        "u": {"after": ["b"], "unless": ["a"], "run": "w"},
        "v": {"after": ["c"], "andEvery": "a", "unless": ["b"], "run": "w"},
    },
    "cascade names": {
        "t": {"after": ["a"], "run": "w"},
        "u": {"after": ["t", "b"], "run": "w"},
        "v": {"andEvery": "t", "unless": ["u"], "run": "w"},
    },
    "a task that names itself": {"t": {"after": ["t", "a"], "run": "w"}, "u": {"andEvery": "t", "run": "w"}},
    "params": {"t": {"after": ["a"], "andEvery": "b", "run": "w", "withParams": {"a": {"x": 0}, "z": {"y": 1}}}},
}

CHANGES: dict[str, list[dict[str, Any]]] = {
    "and every comes and goes": [
        {"t": {"after": ["a", "b"], "run": "w"}},
        {"t": {"after": ["a"], "andEvery": "b", "run": "w2"}},
    ],
    "and every becomes unless": [
        {"t": {"after": ["a"], "andEvery": "b", "run": "w"}},
        {"t": {"after": ["a", "c"], "unless": ["b"], "run": "w2"}},
    ],
    "and every moves": [
        {"t": {"after": ["a", "c"], "andEvery": "b", "run": "w"}},
        {"t": {"after": ["b"], "andEvery": "c", "run": "w2"}},
    ],
    "a trigger comes": [
        {"t": {"after": ["a"], "andEvery": "b", "run": "w"}},
        {"t": {"after": ["a", "c"], "andEvery": "b", "run": "w"}},
    ],
    "an unless comes": [
        {"t": {"after": ["a"], "andEvery": "b", "run": "w"}},
        {"t": {"after": ["a"], "andEvery": "b", "unless": ["c"], "run": "w"}},
    ],
}
"""Two configurations, A and B, between which a session goes back and forth."""

Step = Callable[[Kept, Model], Kept]


def triggers_of(*documents: dict[str, Any]) -> list[str]:
    """The triggers that the tasks name."""
    tasks = [task for document in documents for task in document.values()]
    names = [(*task.get("after", ()), task.get("andEvery"), *task.get("unless", ())) for task in tasks]
    return sorted({name for some in names for name in some if name is not None})


def firing(trigger: str, number: int) -> Step:
    """Fires on both; the kwargs are different each time."""

    def step(kept: Kept, model: Model) -> Kept:
        kept, told = kept.fire(trigger, {"n": number})
        expected = model.fire(trigger, {"n": number})
        assert same_fire(told, expected), f"the fire told {told}, expected {expected}"
        return kept

    return step


def configuring(document: dict[str, Any]) -> Step:
    """Changes the configuration of both."""

    def step(kept: Kept, model: Model) -> Kept:
        model.configure(document)
        return kept.configure(document)

    return step


def walk(kept: Kept, model: Model, steps: Callable[[int], Iterator[tuple[str, Step]]], depth: int, path: tuple[str, ...]) -> int:
    """Tries all orders of ``depth`` steps; returns how many states were compared."""
    if not depth:
        return 0
    compared = 0
    for name, step in steps(len(path)):
        branch = model.copy()
        try:
            after = step(kept, branch)
            check_same(after.places, branch)
        except AssertionError as error:
            raise AssertionError(f"after {' '.join((*path, name))}: {error}") from error
        compared += 1 + walk(after, branch, steps, depth - 1, (*path, name))
    return compared


def configured(document: dict[str, Any]) -> tuple[Kept, Model]:
    """A session with these tasks, on both sides."""
    model = Model()
    model.configure(document)
    return Kept().configure(document), model


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_r4_to_r10_all_orders_of_five_fires(name: str) -> None:
    """Every order of up to five fires gives the instances, kwargs, counts and results of the model."""
    document = CONFIGURATIONS[name]
    triggers = triggers_of(document)
    compared = walk(*configured(document), lambda n: ((one, firing(one, n)) for one in triggers), DEPTH, ())
    assert compared == sum(len(triggers) ** length for length in range(1, DEPTH + 1))


@pytest.mark.parametrize("name", CHANGES)
def test_r3_all_orders_with_a_change_and_its_return(name: str) -> None:
    """Every order of up to six fires and changes of the configuration (A, B, A, …) gives what the model says."""
    documents = CHANGES[name]
    triggers = triggers_of(*documents)

    def steps(number: int) -> Iterator[tuple[str, Step]]:
        for trigger in triggers:
            yield trigger, firing(trigger, number)
        for letter, document in zip("AB", documents, strict=True):
            yield f"[{letter}]", configuring(document)

    compared = walk(*configured(documents[0]), steps, DEPTH + 1, ())
    options = len(triggers) + len(documents)
    assert compared == sum(options**length for length in range(1, DEPTH + 2))


@pytest.mark.parametrize(
    "name", ["one-shot join", "unless", "after and unless overlap", "and every with unless", "roles differ by task"]
)
def test_r3_evaluate_is_as_if_the_task_had_been_there(name: str) -> None:
    """Wherever between distinct triggers it is configured with ``evaluate``: the same runs as if the tasks had been there."""
    document = CONFIGURATIONS[name]
    triggers = triggers_of(document)
    for order in itertools.permutations(triggers):
        for cut in range(len(order) + 1):
            late, model = Kept(), Model()
            model.configure(document)
            for number, trigger in enumerate(order):
                if number == cut:
                    late = late.configure(document, evaluate=True)
                late, _ = late.fire(trigger, {"n": number})
                model.fire(trigger, {"n": number})
            if cut == len(order):
                late = late.configure(document, evaluate=True)
            assert runs(seen_in(late.places)) == runs(expected_of(model)), f"{order}, configured before number {cut}"


def runs(instances: dict[str, dict[str, Any]]) -> list[tuple[str, str, dict[str, Any]]]:
    """What was not abandoned: task, status and kwargs."""
    return [
        (name.partition("#")[0], one["status"], one["received"])
        for name, one in sorted(instances.items())
        if one["status"] != "abandoned"
    ]
