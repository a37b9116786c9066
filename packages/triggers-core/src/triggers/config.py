"""The configuration of a session: parse, check, merge, hash (R1–R3).

A document is checked by hand rather than by a schema library, because the error must say what a person should do about it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import msgspec

from triggers.codec import decode, encode, json_problem
from triggers.errors import ConfigurationError, UnreadableRecord
from triggers.names import SESSION_FINALIZED, name_problem, plain, shorten, suggestion, task_name_problem


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How a failed instance is replayed by itself: at most ``times``, after ``delay · factor^n`` seconds, at most ``max``."""

    times: int
    delay: float = 0.0
    factor: float = 2.0
    max: float | None = None
    jitter: bool = True
    on: tuple[str, ...] = ()
    """Names of exception types, ``requests.Timeout``; a failure that is none of them fails at once. Empty: all."""


class TaskConfig(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, rename="camel"):
    """One task: when to run what. ``since`` is the serial since which its triggers are as they are."""

    run: str
    after: tuple[str, ...] = ()
    and_every: str | None = None
    unless: tuple[str, ...] = ()
    using: str | dict[str, Any] | None = None
    with_params: dict[str, Any] = {}
    on_lost: Literal["retry", "fail"] = "retry"
    retry: RetryPolicy | None = None
    timeout: float | None = None
    extra: dict[str, Any] = {}
    since: int = 0

    @property
    def needs(self) -> tuple[str, ...]:
        """The triggers that must all have fired: ``after``, then ``andEvery``. Their kwargs reach the work (R11)."""
        return self.after if self.and_every is None else (*self.after, self.and_every)

    @property
    def names(self) -> tuple[str, ...]:
        """Every trigger that concerns this task (R4)."""
        return (*self.needs, *self.unless)

    def same_triggers(self, other: TaskConfig) -> bool:
        """Whether instances need not be sorted anew when one replaces the other."""
        return (self.after, self.and_every, self.unless) == (other.after, other.and_every, other.unless)

    def document(self) -> dict[str, Any]:
        """The task as a user would write it, with the application's own keys."""
        written: dict[str, Any] = decode(encode(self))
        written.pop("since", None)
        extra: dict[str, Any] = written.pop("extra", {})
        return written | extra


class _Stored(msgspec.Struct, frozen=True):
    tasks: dict[str, TaskConfig]


_stored_decoder = msgspec.json.Decoder(_Stored)
_encoder = msgspec.json.Encoder(order="deterministic")


class Configuration:
    """All tasks of a session, with what a fire needs to know about them. Immutable; shared by sessions with the same hash."""

    __slots__ = ("awaiting_finalization", "encoded", "fire_wants", "hash", "naming", "tasks")

    def __init__(self, tasks: Mapping[str, TaskConfig]) -> None:
        self.tasks: dict[str, TaskConfig] = dict(tasks)
        self.encoded = _encoder.encode(_Stored(self.tasks))
        self.hash = hashlib.blake2b(self.encoded, digest_size=16).hexdigest() if tasks else ""
        naming: dict[str, dict[str, None]] = {}
        for name, task in self.tasks.items():
            for trigger in task.names:
                naming.setdefault(trigger, {})[name] = None
        self.naming: dict[str, tuple[str, ...]] = {trigger: tuple(names) for trigger, names in naming.items()}
        self.fire_wants: dict[str, Any] = {}
        """What firing each named trigger reads; filled by the engine."""
        self.awaiting_finalization = self._awaiting_finalization()

    @classmethod
    def decode(cls, encoded: bytes) -> Configuration:
        """Reads the stored record.

        Raises:
            UnreadableRecord: it is none that this version knows.
        """
        try:
            return cls(_stored_decoder.decode(encoded).tasks)
        except msgspec.DecodeError as error:
            raise UnreadableRecord(f"the configuration cannot be read: {error}; was it stored by a newer version?") from error

    def _awaiting_finalization(self) -> frozenset[str]:
        """The tasks that wait for ``sessionFinalized``, directly or through a cascade of such tasks (R29)."""
        waiting: set[str] = set()
        reached = [SESSION_FINALIZED]
        while reached:
            trigger = reached.pop()
            for name in self.naming.get(trigger, ()):
                if name not in waiting and trigger in self.tasks[name].needs:
                    waiting.add(name)
                    reached.append(name)
        return frozenset(waiting)


NO_TASKS = Configuration({})


def merge_tasks(old: Configuration, parsed: Mapping[str, TaskConfig | None], serial: int) -> dict[str, TaskConfig]:
    """The tasks after an update: new ones added, others replaced, ``None`` removed; ``serial`` marks changed ones."""
    tasks = dict(old.tasks)
    for name, new in parsed.items():
        known = tasks.get(name)
        if new is None:
            tasks.pop(name, None)
        else:
            since = known.since if known is not None and known.same_triggers(new) else serial
            tasks[name] = msgspec.structs.replace(new, since=since)
    return tasks


def parse_configuration(document: Any) -> dict[str, TaskConfig | None]:
    """Checks a configuration and returns its tasks; ``None`` for those that are to be removed.

    Raises:
        ConfigurationError: the place of the first error and what was expected there.
    """
    if not isinstance(document, Mapping):
        raise ConfigurationError(f"a configuration is an object of tasks, got {shorten(document)}")
    parsed: dict[str, TaskConfig | None] = {}
    for name, directives in document.items():
        problem = task_name_problem(name)
        if problem:
            raise ConfigurationError(f"the name of a task {problem}, got {shorten(name)}")
        parsed[plain(name)] = None if directives is None else parse_task(plain(name), directives)
    return parsed


def parse_task(name: str, directives: Any) -> TaskConfig:
    """Checks the directives of one task.

    Raises:
        ConfigurationError: the place of the first error and what was expected there.
    """
    place = f"$.{name}"
    if not isinstance(directives, Mapping):
        raise ConfigurationError(f"a task is an object of directives, got {shorten(directives)}", place)
    known: dict[str, Any] = {}
    extra: dict[str, Any] = {}
    for key, value in directives.items():
        if not isinstance(key, str):
            raise ConfigurationError(f"directives are strings, got {shorten(key)}", place)
        if key in _PARSERS:
            known[key] = _PARSERS[key](value, f"{place}.{key}")
            continue
        _json({plain(key): None}, place)
        meant = None if key.startswith("x-") else suggestion(key, _PARSERS)
        if meant:
            raise ConfigurationError(
                f"unknown directive {key!r}, did you mean {meant!r}? (an own key may begin with 'x-')", place
            )
        extra[plain(key)] = _json(value, f"{place}.{key}")
    return _checked(name, place, known, extra)


def _checked(name: str, place: str, known: dict[str, Any], extra: dict[str, Any]) -> TaskConfig:
    if "run" not in known:
        raise ConfigurationError("'run' is missing: the name of the work, as in \"survey.score\"", place)
    every = known.get("andEvery")
    after = tuple(trigger for trigger in known.get("after", ()) if trigger != every)
    if not after and every is None:
        raise ConfigurationError(
            "name at least one trigger in 'after' (it may be empty only with 'andEvery')",
            f"{place}.after" if "after" in known else place,
        )
    if every is not None and every in known.get("unless", ()):
        raise ConfigurationError(f"{every!r} is also the task's andEvery, so no instance could ever run", f"{place}.unless")
    if every == name:
        raise ConfigurationError("a task that runs at every finish of itself would run for ever", f"{place}.andEvery")
    return TaskConfig(
        run=known["run"],
        after=after,
        and_every=every,
        unless=known.get("unless", ()),
        using=known.get("using"),
        with_params=known.get("withParams", {}),
        on_lost=known.get("onLost", "retry"),
        retry=known.get("retry"),
        timeout=known.get("timeout"),
        extra=extra,
    )


def _triggers(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f"expected a list of triggers, got {shorten(value)}", place)
    return tuple(dict.fromkeys(_trigger(trigger, f"{place}[{index}]") for index, trigger in enumerate(value)))


def _trigger(value: Any, place: str) -> str:
    problem = name_problem(value)
    if problem:
        raise ConfigurationError(f"the name of a trigger {problem}, got {shorten(value)}", place)
    return plain(value)


def _optional_trigger(value: Any, place: str) -> str | None:
    return None if value is None else _trigger(value, place)


def _run(value: Any, place: str) -> str:
    problem = name_problem(value)
    if problem:
        raise ConfigurationError(f"the name of a work {problem}, got {shorten(value)}", place)
    return plain(value)


def _using(value: Any, place: str) -> str | dict[str, Any] | None:
    if value is None:
        return None
    if isinstance(value, Mapping):
        if "runner" in value:
            problem = name_problem(value["runner"])
            if problem:
                raise ConfigurationError(f"the key of a runner {problem}, got {shorten(value['runner'])}", f"{place}.runner")
        return _json(dict(value), place)  # type: ignore[no-any-return]
    problem = name_problem(value)
    if problem:
        raise ConfigurationError(
            f'expected a runner\'s key or an object like {{"runner": "celery", "queue": "gpu"}}, got {shorten(value)}',
            place,
        )
    return plain(value)


def _with_params(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ConfigurationError(f"expected an object of objects, {{trigger: {{name: value}}}}, got {shorten(value)}", place)
    for key, params in value.items():
        if not isinstance(params, Mapping):
            raise ConfigurationError(f"expected an object of kwargs, got {shorten(params)}", f"{place}.{key}")
    return _json(dict(value), place)  # type: ignore[no-any-return]


def _on_lost(value: Any, place: str) -> str:
    if value not in ("retry", "fail"):
        raise ConfigurationError(f'expected "retry" or "fail", got {shorten(value)}', place)
    return str(value)


def _timeout(value: Any, place: str) -> float | None:
    return None if value is None else _number(value, place, "seconds, more than 0", above=0)


def _retry(value: Any, place: str) -> RetryPolicy | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise ConfigurationError(f'expected an object like {{"times": 5, "delay": 10}}, got {shorten(value)}', place)
    known = RetryPolicy.__struct_fields__
    for key in value:
        if key not in known:
            meant = suggestion(str(key), known)
            hint = f", did you mean {meant!r}?" if meant else f"; known are {', '.join(known)}"
            raise ConfigurationError(f"unknown key {shorten(key)}{hint}", place)
    times = value.get("times")
    if type(times) is not int or not 1 <= times <= _MOST_TIMES:
        raise ConfigurationError(f"expected how often to retry, a whole number from 1, got {shorten(times)}", f"{place}.times")
    jitter = value.get("jitter", True)
    if type(jitter) is not bool:
        raise ConfigurationError(f"expected true or false, got {shorten(jitter)}", f"{place}.jitter")
    longest = value.get("max")
    return RetryPolicy(
        times=times,
        delay=_number(value.get("delay", 0.0), f"{place}.delay", "seconds, 0 or more", at_least=0),
        factor=_number(value.get("factor", 2.0), f"{place}.factor", "a number from 1", at_least=1),
        max=None if longest is None else _number(longest, f"{place}.max", "seconds, 0 or more", at_least=0),
        jitter=jitter,
        on=_exception_names(value.get("on", []), f"{place}.on"),
    )


def _exception_names(value: Any, place: str) -> tuple[str, ...]:
    if not isinstance(value, list | tuple):
        raise ConfigurationError(f'expected a list of exception types, ["requests.Timeout"], got {shorten(value)}', place)
    for index, name in enumerate(value):
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise ConfigurationError(f"expected the name of an exception type, got {shorten(name)}", f"{place}[{index}]")
    return tuple(dict.fromkeys(value))


_MOST_TIMES = 2**63 - 1
"""The largest integer that every store gives back (R12)."""
MAX_SECONDS = 10 * 366 * 86_400.0
"""The longest time that a configuration may ask for: ten years."""


def _number(value: Any, place: str, expected: str, *, above: float | None = None, at_least: float | None = None) -> float:
    fits = type(value) in (int, float)
    if fits and value > MAX_SECONDS:
        raise ConfigurationError(f"expected {expected}, at most {MAX_SECONDS:.0f} (ten years), got {shorten(value)}", place)
    if not fits or (above is not None and not value > above) or (at_least is not None and not value >= at_least):
        raise ConfigurationError(f"expected {expected}, got {shorten(value)}", place)
    return float(value)


def _json(value: Any, place: str) -> Any:
    problem = json_problem(value, place)
    if problem is not None:
        raise ConfigurationError(f"the value {problem[1]}", problem[0])
    return value


_PARSERS: dict[str, Callable[[Any, str], Any]] = {
    "after": _triggers,
    "andEvery": _optional_trigger,
    "unless": _triggers,
    "run": _run,
    "using": _using,
    "withParams": _with_params,
    "onLost": _on_lost,
    "retry": _retry,
    "timeout": _timeout,
}

DIRECTIVES: Iterable[str] = tuple(_PARSERS)
"""The keys of a task that Triggers gives a meaning."""
