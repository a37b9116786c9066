"""The JSON Schema (2020-12) of configurations, made from the types that the parser fills."""

from __future__ import annotations

from typing import Any

import msgspec

from triggers.config import DIRECTIVES, MAX_SECONDS, TaskConfig
from triggers.names import MAX_NAME_BYTES, SESSION_FINALIZED

_NAME = {"type": "string", "minLength": 1, "maxLength": MAX_NAME_BYTES, "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*$"}
_EXCEPTION = {"type": "string", "pattern": r"^[^\W\d]\w*(\.[^\W\d]\w*)*$"}
_TRIGGERS = {"items": _NAME}
_SECONDS = {"minimum": 0, "maximum": MAX_SECONDS}
_ABOUT: dict[str, dict[str, Any]] = {
    "after": {"description": "Triggers that must all have fired, in any order.", **_TRIGGERS},
    "andEvery": {
        "description": "One more trigger that must have fired, and that makes a new instance each time it fires.",
        "anyOf": [_NAME, {"type": "null"}],
    },
    "unless": {"description": "Triggers that, once all have fired, forbid an instance that is not scheduled yet.", **_TRIGGERS},
    "run": {"description": 'The name of the work: what @task("…") says.', **_NAME},
    "using": {
        "description": 'The key of the runner, or an object with options for it: {"runner": "celery", "queue": "gpu"}.',
        "anyOf": [_NAME, {"type": "object", "properties": {"runner": _NAME}}, {"type": "null"}],
    },
    "withParams": {
        "description": "Static kwargs, {trigger: {name: value}}; what was fired is merged over them.",
        "additionalProperties": {"type": "object"},
    },
    "onLost": {"description": "What becomes of a running attempt whose worker is lost."},
    "retry": {"description": "How a failed instance is replayed by itself."},
    "timeout": {
        "description": "Seconds after which a running attempt fails.",
        "anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": MAX_SECONDS}, {"type": "null"}],
    },
}
_RETRY: dict[str, dict[str, Any]] = {
    "times": {"description": "How often at most.", "minimum": 1},
    "delay": {"description": "Seconds before the first.", **_SECONDS},
    "factor": {"description": "By how much the delay grows each time.", "minimum": 1, "maximum": MAX_SECONDS},
    "max": {
        "description": "The longest delay in seconds.",
        "anyOf": [{"type": "number", **_SECONDS}, {"type": "null"}],
    },
    "jitter": {"description": "Whether the delay lies between half and all of it, by chance."},
    "on": {"description": "Names of exception types; a failure that is none of them fails at once.", "items": _EXCEPTION},
}


def configuration_schema() -> dict[str, Any]:
    """The schema of a configuration; ``$defs`` has that of a task and that of its ``retry``."""
    (_, definitions) = msgspec.json.schema_components([TaskConfig], ref_template="#/$defs/{name}")
    task, retry = definitions["TaskConfig"], definitions["RetryPolicy"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A configuration of Triggers",
        "description": "Tasks by name; null removes a task.",
        "type": "object",
        "propertyNames": {**_NAME, "pattern": r"^[^\u0000-\u001f\u007f-\u009f#]*$", "not": {"const": SESSION_FINALIZED}},
        "additionalProperties": {"anyOf": [{"$ref": "#/$defs/task"}, {"type": "null"}]},
        "$defs": {
            "task": {
                "description": "When to run what. Other keys are the application's own; those with x- stay so for ever.",
                "type": "object",
                "properties": {name: _property(task["properties"][name], _ABOUT.get(name, {})) for name in DIRECTIVES},
                "required": ["run"],
                "anyOf": [
                    {"required": ["after"], "properties": {"after": {"minItems": 1}}},
                    {"required": ["andEvery"], "properties": {"andEvery": {"type": "string"}}},
                ],
            },
            "retry": {
                "description": "The delay before a replay is delay · factor^n seconds, at most max.",
                "type": "object",
                "properties": {name: _property(typed, _RETRY.get(name, {})) for name, typed in retry["properties"].items()},
                "required": ["times"],
                "additionalProperties": False,
            },
        },
    }


def _property(typed: dict[str, Any], about: dict[str, Any]) -> dict[str, Any]:
    """What the type says, in our words where they say more."""
    if "$ref" in str(typed):
        return {**about, "anyOf": [{"$ref": "#/$defs/retry"}, {"type": "null"}]}
    if "anyOf" in about:
        typed = {name: value for name, value in typed.items() if name not in ("anyOf", "type")}
    return {**typed, **about}
