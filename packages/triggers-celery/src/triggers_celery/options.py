"""The options that a task's ``using`` may give: ``{"runner": "celery", "queue": "gpu", "priority": 3}``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from triggers.errors import SettingsError
from triggers.names import shorten, suggestion

_HIGHEST_PRIORITY = 255


def _text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _priority(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _HIGHEST_PRIORITY


def _seconds(value: Any) -> bool:
    return type(value) in (int, float) and value > 0


_OPTIONS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "queue": (_text, "the name of a queue"),
    "exchange": (_text, "the name of an exchange"),
    "routing_key": (_text, "a routing key"),
    "priority": (_priority, f"a whole number from 0 to {_HIGHEST_PRIORITY}"),
    "time_limit": (_seconds, "seconds, more than 0"),
    "soft_time_limit": (_seconds, "seconds, more than 0"),
    "serializer": (_text, "the name of a serializer"),
    "compression": (_text, "the name of a compression"),
}

_NOT_OURS = {
    "countdown": "a retry has a cooldown",
    "eta": "a retry has a cooldown",
    "expires": "scheduled work does not expire: what a broker dropped, the sweep delivers again",
    "task_id": "each attempt has one of its own",
    "retry": "the sweep delivers again what the broker did not take",
    "ignore_result": "results are kept in the session",
}


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Checks options by name and value, and returns them.

    Raises:
        SettingsError: one is unknown, with a suggestion, or has a value that it cannot have.
    """
    for name, value in options.items():
        if name in _NOT_OURS:
            raise SettingsError(f"the runner 'celery' takes no option {name!r}: {_NOT_OURS[name]}")
        if name not in _OPTIONS:
            meant = suggestion(str(name), _OPTIONS)
            hint = f"did you mean {meant!r}?" if meant else f"it takes {', '.join(_OPTIONS)}"
            raise SettingsError(f"the runner 'celery' takes no option {shorten(name)}; {hint}")
        fits, expected = _OPTIONS[name]
        if not fits(value):
            raise SettingsError(f"option {name!r} of the runner 'celery' is {expected}; got {shorten(value)}")
    return dict(options)
