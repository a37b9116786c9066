"""``triggers schema`` agrees with the parser."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

from calling import Call
from triggers.config import DIRECTIVES, parse_configuration
from triggers.errors import ConfigurationError
from triggers_cli.schema import configuration_schema

RIGHT: list[Any] = [
    {},
    {"t": None},
    {"t": {"after": ["a"], "run": "x"}},
    {"t": {"andEvery": "a", "run": "x", "after": []}},
    {"t": {"after": ["a"], "andEvery": None, "run": "x", "unless": ["b"], "using": None, "timeout": None, "retry": None}},
    {"t": {"after": ["a"], "run": "x", "using": {"runner": "celery", "queue": "gpu"}, "withParams": {"a": {"n": 1}}}},
    {"t": {"after": ["a"], "run": "x", "onLost": "fail", "timeout": 3, "x-mine": [1], "note": "own"}},
    {"t": {"after": ["a"], "run": "x", "retry": {"times": 2, "delay": 0, "factor": 1, "max": None, "jitter": False}}},
    {"t": {"after": ["a"], "run": "x", "retry": {"times": 1, "on": ["requests.Timeout"], "max": 2.5}, "using": "celery"}},
]
WRONG: list[Any] = [
    [],
    {"t": 3},
    {"t": {}},
    {"t": {"run": "x"}},
    {"t": {"run": "x", "after": []}},
    {"t": {"run": "x", "after": [], "andEvery": None}},
    {"t": {"run": "", "after": ["a"]}},
    {"t": {"run": "x", "after": "a"}},
    {"t": {"run": "x", "after": [1]}},
    {"t": {"run": "x", "after": ["a\n"]}},
    {"t": {"run": "x", "after": ["a"], "unless": [""]}},
    {"t": {"run": "x", "after": ["a"], "using": 3}},
    {"t": {"run": "x", "after": ["a"], "using": {"runner": 1}}},
    {"t": {"run": "x", "after": ["a"], "withParams": {"a": 1}}},
    {"t": {"run": "x", "after": ["a"], "onLost": "die"}},
    {"t": {"run": "x", "after": ["a"], "timeout": 0}},
    {"t": {"run": "x", "after": ["a"], "timeout": True}},
    {"t": {"run": "x", "after": ["a"], "retry": {}}},
    {"t": {"run": "x", "after": ["a"], "retry": {"times": 0}}},
    {"t": {"run": "x", "after": ["a"], "retry": {"times": 1, "dely": 1}}},
    {"t": {"run": "x", "after": ["a"], "retry": {"times": 1, "delay": -1}}},
    {"t": {"run": "x", "after": ["a"], "retry": {"times": 1, "on": ["a b"]}}},
    {"t#0": {"run": "x", "after": ["a"]}},
    {"sessionFinalized": {"run": "x", "after": ["a"]}},
]


@pytest.mark.parametrize("document", RIGHT)
def test_what_the_parser_takes_fits(document: Any) -> None:
    """Examples with every directive."""
    parse_configuration(document)
    assert fits(document, configuration_schema())


@pytest.mark.parametrize("document", WRONG)
def test_what_the_parser_refuses_does_not_fit(document: Any) -> None:
    """Whatever a schema can say."""
    with pytest.raises(ConfigurationError):
        parse_configuration(document)
    assert not fits(document, configuration_schema())


def test_every_directive_is_described(command: Call) -> None:
    """All that the parser knows, and no other; also of ``retry``. What is stored beside them is not shown."""
    answer = command("schema")
    assert answer.code == 0
    definitions = answer.json()["$defs"]
    assert set(definitions["task"]["properties"]) == set(DIRECTIVES)
    assert set(definitions["retry"]["properties"]) == {"times", "delay", "factor", "max", "jitter", "on"}
    for part in definitions.values():
        for name, schema in part["properties"].items():
            assert schema.get("description"), name


TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str, "null": type(None), "boolean": bool}


def fits(value: Any, schema: Any, root: Any = None) -> bool:
    """Whether a value fits a schema: the words of JSON Schema that ours uses; another word is an error."""
    root = root or schema
    return all(
        _holds(word, argument, value, schema, root)
        for word, argument in schema.items()
        if word not in ("$schema", "$defs", "title", "description", "default")
    )


def _holds(word: str, argument: Any, value: Any, schema: Any, root: Any) -> bool:
    number = type(value) in (int, float)
    checks: dict[str, Callable[[], bool]] = {
        "$ref": lambda: fits(value, root["$defs"][argument.rpartition("/")[2]], root),
        "type": lambda: (
            type(value) is int
            if argument == "integer"
            else number
            if argument == "number"
            else isinstance(value, TYPES[argument])
        ),
        "anyOf": lambda: any(fits(value, each, root) for each in argument),
        "not": lambda: not fits(value, argument, root),
        "const": lambda: value == argument,
        "enum": lambda: value in argument,
        "required": lambda: not isinstance(value, dict) or all(name in value for name in argument),
        "properties": lambda: (
            not isinstance(value, dict) or all(fits(value[name], each, root) for name, each in argument.items() if name in value)
        ),
        "additionalProperties": lambda: (
            not isinstance(value, dict)
            or all(
                argument is not False and fits(each, argument, root)
                for name, each in value.items()
                if name not in schema.get("properties", {})
            )
        ),
        "propertyNames": lambda: not isinstance(value, dict) or all(fits(name, argument, root) for name in value),
        "items": lambda: not isinstance(value, list) or all(fits(each, argument, root) for each in value),
        "minItems": lambda: not isinstance(value, list) or len(value) >= argument,
        "minLength": lambda: not isinstance(value, str) or len(value) >= argument,
        "maxLength": lambda: not isinstance(value, str) or len(value) <= argument,
        "pattern": lambda: not isinstance(value, str) or re.search(argument.replace("$", r"\Z"), value) is not None,
        "minimum": lambda: not number or value >= argument,
        "maximum": lambda: not number or value <= argument,
        "exclusiveMinimum": lambda: not number or value > argument,
    }
    return bool(checks[word]())
