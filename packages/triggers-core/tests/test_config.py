"""The configuration: each mistake is told with its place and what was expected."""

from __future__ import annotations

import enum
import pickle
from types import MappingProxyType
from typing import Any

import pytest

from triggers.config import Configuration, RetryPolicy, TaskConfig, merge_tasks, parse_configuration
from triggers.errors import ConfigurationError

GOOD: dict[str, Any] = {"after": ["a"], "run": "w"}


def deep_list() -> list[Any]:
    """A list nested 100 000 deep."""
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    "document, place, expected",
    [
        (5, "$", "a configuration is an object of tasks, got 5"),
        ([], "$", "a configuration is an object of tasks, got []"),
        (None, "$", "a configuration is an object of tasks"),
        ({5: GOOD}, "$", "the name of a task must be a string, got 5"),
        ({"": GOOD}, "$", "the name of a task must not be empty"),
        ({"t#": GOOD}, "$", "must not have a '#'"),
        ({"t": "after a"}, "$.t", "a task is an object of directives, got 'after a'"),
        ({"t": []}, "$.t", "a task is an object of directives"),
        ({"t": {5: 1}}, "$.t", "directives are strings, got 5"),
        ({"t": {**GOOD, "x-\ud800": 1}}, "$.t", "has the key 'x-\\ud800', which has a lone surrogate"),
        ({"t": {**GOOD, "x-\0": 1}}, "$.t", "has the key 'x-\\x00', which has a NUL character"),
        ({"t": {}}, "$.t", "'run' is missing"),
        ({"t": {"after": ["a"]}}, "$.t", "'run' is missing"),
        ({"t": {**GOOD, "run": ""}}, "$.t.run", "the name of a work must not be empty"),
        ({"t": {**GOOD, "run": None}}, "$.t.run", "the name of a work must be a string"),
        ({"t": {"run": "w"}}, "$.t", "name at least one trigger in 'after'"),
        ({"t": {"run": "w", "after": []}}, "$.t.after", "name at least one trigger in 'after'"),
        ({"t": {"run": "w", "unless": ["a"]}}, "$.t", "name at least one trigger in 'after'"),
        ({"t": {**GOOD, "after": "a"}}, "$.t.after", "expected a list of triggers, got 'a'"),
        ({"t": {**GOOD, "after": {"a": 1}}}, "$.t.after", "expected a list of triggers"),
        ({"t": {**GOOD, "after": ["a", 5]}}, "$.t.after[1]", "the name of a trigger must be a string, got 5"),
        ({"t": {**GOOD, "after": [""]}}, "$.t.after[0]", "must not be empty"),
        ({"t": {**GOOD, "after": deep_list()}}, "$.t.after[0]", "the name of a trigger must be a string"),
        ({"t": {**GOOD, "unless": [["a"]]}}, "$.t.unless[0]", "must be a string"),
        ({"t": {**GOOD, "andEvery": 5}}, "$.t.andEvery", "the name of a trigger must be a string"),
        ({"t": {**GOOD, "andEvery": "t"}}, "$.t.andEvery", "would run for ever"),
        ({"t": {**GOOD, "andEvery": "b", "unless": ["b"]}}, "$.t.unless", "'b' is also the task's andEvery"),
        ({"t": {**GOOD, "using": 5}}, "$.t.using", "expected a runner's key or an object"),
        ({"t": {**GOOD, "using": ""}}, "$.t.using", "expected a runner's key or an object"),
        ({"t": {**GOOD, "using": {"runner": 5}}}, "$.t.using.runner", "the key of a runner must be a string"),
        ({"t": {**GOOD, "using": {"queue": {1}}}}, "$.t.using.queue", "the value is of type set"),
        ({"t": {**GOOD, "withParams": []}}, "$.t.withParams", "expected an object of objects"),
        ({"t": {**GOOD, "withParams": {"a": 5}}}, "$.t.withParams.a", "expected an object of kwargs, got 5"),
        ({"t": {**GOOD, "withParams": {"a": {"b": {1}}}}}, "$.t.withParams.a.b", "the value is of type set"),
        ({"t": {**GOOD, "withParams": {5: {}}}}, "$.t.withParams", "no string"),
        ({"t": {**GOOD, "onLost": "again"}}, "$.t.onLost", 'expected "retry" or "fail", got \'again\''),
        ({"t": {**GOOD, "onLost": ["fail"]}}, "$.t.onLost", 'expected "retry" or "fail"'),
        ({"t": {**GOOD, "timeout": 0}}, "$.t.timeout", "expected seconds, more than 0, got 0"),
        ({"t": {**GOOD, "timeout": True}}, "$.t.timeout", "expected seconds"),
        ({"t": {**GOOD, "timeout": float("nan")}}, "$.t.timeout", "expected seconds"),
        ({"t": {**GOOD, "timeout": 1e300}}, "$.t.timeout", "expected seconds"),
        ({"t": {**GOOD, "timeout": "5"}}, "$.t.timeout", "expected seconds"),
        ({"t": {**GOOD, "retry": 5}}, "$.t.retry", "expected an object like"),
        ({"t": {**GOOD, "retry": {}}}, "$.t.retry.times", "a whole number from 1, got None"),
        ({"t": {**GOOD, "retry": {"times": 0}}}, "$.t.retry.times", "a whole number from 1"),
        ({"t": {**GOOD, "retry": {"times": True}}}, "$.t.retry.times", "a whole number from 1"),
        ({"t": {**GOOD, "retry": {"times": 2**63}}}, "$.t.retry.times", "a whole number from 1, got 9223372036854775808"),
        ({"t": {**GOOD, "retry": {"times": 1, "dellay": 1}}}, "$.t.retry", "unknown key 'dellay', did you mean 'delay'?"),
        ({"t": {**GOOD, "retry": {"times": 1, "wait": 1}}}, "$.t.retry", "unknown key 'wait'; known are times, delay"),
        ({"t": {**GOOD, "retry": {"times": 1, "delay": -1}}}, "$.t.retry.delay", "seconds, 0 or more, got -1"),
        (
            {"t": {**GOOD, "retry": {"times": 1, "delay": 1e12}}},
            "$.t.retry.delay",
            "0 or more, at most 316224000 (ten years)",
        ),
        ({"t": {**GOOD, "retry": {"times": 1, "factor": 0.5}}}, "$.t.retry.factor", "a number from 1, got 0.5"),
        ({"t": {**GOOD, "retry": {"times": 1, "max": -1}}}, "$.t.retry.max", "seconds, 0 or more"),
        ({"t": {**GOOD, "retry": {"times": 1, "jitter": 1}}}, "$.t.retry.jitter", "expected true or false, got 1"),
        ({"t": {**GOOD, "retry": {"times": 1, "on": "x"}}}, "$.t.retry.on", "expected a list of exception types"),
        ({"t": {**GOOD, "retry": {"times": 1, "on": ["a b"]}}}, "$.t.retry.on[0]", "the name of an exception type"),
        ({"t": {**GOOD, "retry": {"times": 1, "on": [5]}}}, "$.t.retry.on[0]", "the name of an exception type"),
        ({"t": {**GOOD, "own": {1}}}, "$.t.own", "is of type set"),
        ({"t": {**GOOD, "own": float("inf")}}, "$.t.own", "floats must be finite"),
        ({"t": {**GOOD, "Retry": {}}}, "$.t", "unknown directive 'Retry', did you mean 'retry'?"),
        (
            {"t": GOOD, "u": {**GOOD, "afte": []}},
            "$.u",
            "unknown directive 'afte', did you mean 'after'? (an own key may begin with 'x-')",
        ),
    ],
)
def test_r3_mistakes(document: Any, place: str, expected: str) -> None:
    """The error has the place, begins with it, and says what was expected."""
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration(document)
    assert caught.value.place == place
    assert str(caught.value).startswith(f"{place}: ")
    assert expected in str(caught.value)
    assert len(str(caught.value)) < 400


def test_every_directive() -> None:
    """All of them, parsed."""
    (task,) = parse_configuration(
        MappingProxyType(
            {
                "t": MappingProxyType(
                    {
                        "after": ("a", "b", "a"),
                        "andEvery": "b",
                        "unless": ["c"],
                        "run": "w",
                        "using": {"runner": "r", "queue": "q"},
                        "withParams": {"a": {"x": 1}},
                        "onLost": "fail",
                        "retry": {"times": 3, "delay": 1, "factor": 1.5, "max": 9, "jitter": False, "on": ["requests.Timeout"]},
                        "timeout": 5,
                        "x-own": 1,
                    }
                )
            }
        )
    ).values()
    assert task == TaskConfig(
        run="w",
        after=("a",),
        and_every="b",
        unless=("c",),
        using={"runner": "r", "queue": "q"},
        with_params={"a": {"x": 1}},
        on_lost="fail",
        retry=RetryPolicy(times=3, delay=1.0, factor=1.5, max=9.0, jitter=False, on=("requests.Timeout",)),
        timeout=5.0,
        extra={"x-own": 1},
    )
    assert task is not None
    assert task.needs == ("a", "b")
    assert task.names == ("a", "b", "c")


def test_optional_directives_may_be_null() -> None:
    """``null`` is as if it were not there."""
    (task,) = parse_configuration({"t": {**GOOD, "using": None, "andEvery": None, "timeout": None, "retry": None}}).values()
    assert task == TaskConfig(run="w", after=("a",))


def test_a_task_as_its_user_wrote_it() -> None:
    """``document`` gives back what was configured, own keys included, and parses to the same."""
    written = {
        "after": ["a"],
        "andEvery": "b",
        "run": "w",
        "withParams": {"a": {"x": 1}},
        "retry": {"times": 2, "delay": 1.0},
        "timeout": 5.0,
        "title": "T",
    }
    (task,) = parse_configuration({"t": written}).values()
    assert task is not None
    assert task.document() == written
    assert parse_configuration({"t": task.document()}) == {"t": task}


def test_encoded_and_back() -> None:
    """The stored record gives the same configuration, with the same hash; another one has another hash."""
    parsed = parse_configuration({"t": {**GOOD, "own": [1]}, "u": {"andEvery": "x", "run": "w"}})
    tasks = {name: task for name, task in parsed.items() if task is not None}
    configuration = Configuration(tasks)
    again = Configuration.decode(configuration.encoded)
    assert again.tasks == tasks
    assert again.hash == configuration.hash
    assert Configuration({"t": tasks["t"]}).hash != configuration.hash
    assert Configuration({}).hash == ""


def test_naming() -> None:
    """Which tasks name a trigger, in any role, each once."""
    parsed = parse_configuration({"t": {"after": ["a"], "unless": ["a", "b"], "run": "w"}, "u": {"andEvery": "a", "run": "w"}})
    configuration = Configuration({name: task for name, task in parsed.items() if task is not None})
    assert {trigger: sorted(names) for trigger, names in configuration.naming.items()} == {"a": ["t", "u"], "b": ["t"]}


class Word(str, enum.Enum):  # noqa: UP042, whose str() is the value
    """Names as applications like to write them; ``str(Word.PAID)`` is ``"Word.PAID"``."""

    TASK = "t"
    PAID = "paid"
    PACKED = "packed"
    CANCELLED = "cancelled"


def test_r2_names_of_an_enumeration_are_their_values() -> None:
    """Members of a string enumeration mean their values in every place of a configuration, and are stored as plain strings."""
    parsed = parse_configuration(
        {
            Word.TASK: {
                "after": [Word.PACKED],
                "andEvery": Word.PAID,
                "unless": [Word.CANCELLED],
                "run": Word.TASK,
                "using": Word.TASK,
                Word.PAID: 1,
            }
        }
    )
    meant = parse_configuration(
        {"t": {"after": ["packed"], "andEvery": "paid", "unless": ["cancelled"], "run": "t", "using": "t", "paid": 1}}
    )
    assert parsed == meant
    assert {type(name) for name in (*parsed, *parsed["t"].names, parsed["t"].run, *parsed["t"].extra)} == {str}  # type: ignore[union-attr]


def test_r3_merging_marks_what_changed() -> None:
    """``since`` is the serial of the last change of a task's triggers; other directives do not move it."""

    def parsed(**tasks: Any) -> dict[str, TaskConfig | None]:
        return parse_configuration(tasks)

    first = merge_tasks(Configuration({}), parsed(t=GOOD, u=GOOD), 1)
    second = merge_tasks(Configuration(first), parsed(t={**GOOD, "run": "w2"}, u={"after": ["b"], "run": "w"}), 2)
    assert {name: task.since for name, task in second.items()} == {"t": 1, "u": 2}
    third = merge_tasks(Configuration(second), parsed(u=GOOD, t=None, never=None), 3)
    assert {name: task.since for name, task in third.items()} == {"u": 3}
    fourth = merge_tasks(Configuration(third), parsed(t=GOOD), 4)
    assert fourth["t"].since == 4


def test_the_error_survives_pickling() -> None:
    """Place and message come back from another process."""
    with pytest.raises(ConfigurationError) as caught:
        parse_configuration({"t": {"run": 5}})
    again = pickle.loads(pickle.dumps(caught.value))
    assert (str(again), again.place) == (str(caught.value), "$.t.run")
