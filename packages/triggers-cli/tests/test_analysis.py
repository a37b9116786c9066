"""What a configuration can never do: circles, tasks that nothing can start, an unless that always wins."""

from __future__ import annotations

from typing import Any

import pytest

from triggers.config import TaskConfig, parse_task
from triggers_cli.analysis import always_forbidden, endless_circles, findings, startable


def tasks(**directives: dict[str, Any]) -> dict[str, TaskConfig]:
    """Tasks that run something."""
    return {name: parse_task(name, {"run": "x"} | given) for name, given in directives.items()}


def test_a_sound_configuration_has_no_findings() -> None:
    """Joins, cascades, repeated tasks, an unless of the application, a task that stops after its own first finish."""
    sound = tasks(
        a={"after": ["x", "y"]},
        b={"after": ["a"], "andEvery": "page", "unless": ["closed"]},
        c={"andEvery": "b", "unless": ["c"]},
        d={"after": ["a", "c"], "unless": ["x", "z"]},
        e={"after": ["sessionFinalized"]},
    )
    assert findings(sound) == []
    assert startable(sound) == set(sound)


@pytest.mark.parametrize(
    "given, circles",
    [
        ({"a": {"andEvery": "b"}, "b": {"andEvery": "a"}}, [["a", "b"]]),
        ({"a": {"andEvery": "c"}, "b": {"andEvery": "a"}, "c": {"andEvery": "b"}}, [["a", "b", "c"]]),
        ({"a": {"andEvery": "b"}, "b": {"andEvery": "a", "unless": ["stop"]}}, []),
        ({"a": {"andEvery": "b"}, "b": {"after": ["a"]}}, []),
        ({"a": {"andEvery": "b", "after": ["c"]}, "b": {"andEvery": "a"}, "c": {"after": ["c"]}}, []),
        ({"a": {"andEvery": "b"}, "b": {"andEvery": "a"}, "c": {"andEvery": "a"}, "d": {"andEvery": "x"}}, [["a", "b"]]),
        (
            {"a": {"andEvery": "b"}, "b": {"andEvery": "a"}, "c": {"andEvery": "d"}, "d": {"andEvery": "c"}},
            [["a", "b"], ["c", "d"]],
        ),
    ],
)
def test_endless_circles(given: dict[str, Any], circles: list[list[str]]) -> None:
    """Only circles of andEvery go on for ever, and only if nothing ends them and all of them can run."""
    assert endless_circles(tasks(**given)) == circles


def test_a_circle_is_told_once_in_the_order_in_which_it_runs() -> None:
    """And its tasks are not called unreachable besides; what follows them is not, either."""
    found = findings(tasks(a={"andEvery": "c"}, b={"andEvery": "a"}, c={"andEvery": "b"}, d={"after": ["c"]}))
    assert [(finding.task, finding.code) for finding in found] == [("a", "circle")]
    assert "a → b → c → a" in found[0].message


@pytest.mark.parametrize(
    "given, unreachable",
    [
        ({"a": {"after": ["a"]}}, {"a": "it waits for itself"}),
        ({"a": {"after": ["b"]}, "b": {"after": ["a", "x"]}}, {"a": "a ← b ← a", "b": "b ← a ← b"}),
        (
            {"a": {"after": ["a"]}, "b": {"after": ["x", "a"]}, "c": {"andEvery": "b"}},
            {"a": "itself", "b": "waits for 'a', which nothing can start", "c": "waits for 'b', which nothing can start"},
        ),
        ({"a": {"after": ["x"], "unless": ["x"]}, "b": {"after": ["a"]}}, {"b": "waits for 'a', which can never run"}),
    ],
)
def test_tasks_that_nothing_can_start(given: dict[str, Any], unreachable: dict[str, str]) -> None:
    """Those that wait for themselves, and those that wait for one of them; each with its reason."""
    found = {finding.task: finding for finding in findings(tasks(**given)) if finding.code == "unreachable"}
    assert set(found) == set(unreachable)
    for name, words in unreachable.items():
        assert words in found[name].message


def test_the_directive_of_an_unreachable_task_is_where_it_waits() -> None:
    """So that the line is right."""
    found = findings(tasks(a={"after": ["a"]}, b={"andEvery": "a"}))
    assert [(finding.task, finding.directive) for finding in found] == [("a", "after"), ("b", "andEvery")]


@pytest.mark.parametrize(
    "given, forbidden",
    [
        ({"a": {"after": ["x"], "unless": ["x"]}}, {"a": {"x": None}}),
        ({"a": {"after": ["x", "y"], "unless": ["x"]}}, {"a": {"x": None}}),
        ({"a": {"after": ["x"], "unless": ["x", "y"]}}, {}),
        ({"a": {"after": ["x"]}, "b": {"after": ["a"], "unless": ["x"]}}, {"b": {"x": "a"}}),
        (
            {"a": {"after": ["x"]}, "b": {"after": ["a"]}, "c": {"andEvery": "b", "unless": ["x", "a"]}},
            {"c": {"x": "a", "a": "b"}},
        ),
        ({"a": {"after": ["x"]}, "b": {"after": ["a"], "unless": ["y"]}}, {}),
        ({"a": {"andEvery": "x", "unless": ["a"]}}, {}),
        ({"a": {"after": ["b"], "unless": ["a"]}, "b": {"after": ["a"]}}, {}),
    ],
)
def test_an_unless_that_always_wins(given: dict[str, Any], forbidden: dict[str, dict[str, str | None]]) -> None:
    """It is complete by the time the task is ready: of its own triggers, or of those that must have fired before them."""
    assert always_forbidden(tasks(**given)) == forbidden


def test_large_configurations_are_quick() -> None:
    """A chain and a circle of a thousand tasks are no matter of seconds."""
    chain = {f"t{n}": {"after": [f"t{n - 1}" if n else "x"]} for n in range(1000)}
    circle = {f"c{n}": {"andEvery": f"c{(n + 999) % 1000}"} for n in range(1000)}
    found = findings(tasks(**chain, **circle))
    assert [finding.code for finding in found] == ["circle"]
