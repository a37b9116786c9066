"""Everything that is wrong with a configuration, not only the first error, and what is probably not meant."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from triggers.config import TaskConfig, parse_configuration, parse_task
from triggers.errors import ConfigurationError, TriggersError
from triggers.names import suggestion
from triggers.settings import redact
from triggers_cli.analysis import findings
from triggers_cli.documents import Document, Problem

_STAND_IN = "\u2060stand-in"
"""A name that nobody writes, in the place of a directive that is missing or wrong while the others are looked at."""


def problems_of(document: Document, known: KnownNames | None = None) -> list[Problem]:
    """All problems of a file, errors and warnings, by line.

    Args:
        document: the file.
        known: the works and runners that exist; without it ``run`` and ``using`` are not looked at.
    """
    problems = list(document.problems)
    if any(problem.code == "syntax" for problem in problems):
        return problems
    tasks, errors = parse_all(document.value)
    problems += [Problem(document.line_of(place), place, "error", "configuration", message) for place, message in errors]
    warnings = [(name, directive, code, message) for name, directive, code, message in findings(tasks)]
    if known is not None:
        warnings += _unknown_names(tasks, known)
    for name, directive, code, message in warnings:
        place = f"$.{name}.{directive}"
        problems.append(Problem(document.line_of(place), place, "warning", code, message))
    return sorted(problems, key=lambda problem: (problem.line, problem.severity))


def parse_all(value: Any) -> tuple[dict[str, TaskConfig], list[tuple[str, str]]]:
    """The tasks that are right, and what is wrong with the others: places with messages."""
    if not isinstance(value, Mapping):
        return {}, list(_refused(lambda: parse_configuration(value)))
    tasks: dict[str, TaskConfig] = {}
    errors: list[tuple[str, str]] = []
    for name, directives in value.items():
        found = [(f"$.{name}", message) for _, message in _refused(functools.partial(parse_configuration, {name: None}))]
        if not found and directives is not None:
            found = list(dict.fromkeys(_errors_of_task(name, directives)))
            if not found:
                tasks[name] = parse_task(name, directives)
        errors += found
    return tasks, errors


def _errors_of_task(name: str, directives: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(directives, Mapping):
        yield from _errors(name, directives)
        return
    whole = dict(directives)
    for key, value in directives.items():
        wrong = dict(_errors_of_directive(name, key, value))
        yield from wrong.items()
        if wrong:
            whole.pop(key)
            if key in ("run", "after", "andEvery"):
                whole.setdefault("run" if key == "run" else "andEvery", _STAND_IN)
    # What concerns several directives; each turn mends the error of the one before.
    for _ in range(len(directives) + 2):
        found = dict(_errors(name, whole))
        yield from found.items()
        if not found:
            return
        if "run" not in whole:
            whole["run"] = _STAND_IN
        elif not whole.get("after") and whole.get("andEvery") is None:
            whole["andEvery"] = _STAND_IN
        elif any(place.endswith(".unless") for place in found):
            whole.pop("unless", None)
        else:
            return


def _errors_of_directive(name: str, key: Any, value: Any) -> Iterator[tuple[str, str]]:
    """The errors of one directive by itself, and of each entry of it."""
    place = f"$.{name}.{key}"
    right = {"run": _STAND_IN, "andEvery": _STAND_IN}
    whole = dict(_errors(name, right | {key: value}))
    if not whole:
        return
    found: dict[str, str] = {}
    if isinstance(value, list):
        for index, entry in enumerate(value):
            for inner, message in _errors(name, right | {key: [entry]}):
                found[inner.replace(f"{place}[0]", f"{place}[{index}]", 1)] = message
    elif isinstance(value, Mapping):
        least = {"times": 1} if key == "retry" else {}
        for entry, content in value.items():
            for inner, message in _errors(name, right | {key: least | {entry: content}}):
                found[f"{place}.{entry}" if inner == place else inner] = message
        if key == "retry" and "times" in value:
            whole = {}
    if isinstance(value, Mapping) and found:
        whole = {inner: message for inner, message in whole.items() if inner != place}
    for inner, message in (whole | found).items():
        yield (place if inner == f"$.{name}" else inner), message


def _errors(name: str, directives: Any) -> Iterator[tuple[str, str]]:
    return _refused(lambda: parse_task(name, directives))


def _refused(parse: Callable[[], object]) -> Iterator[tuple[str, str]]:
    try:
        parse()
    except ConfigurationError as error:
        yield error.place, str(error).removeprefix(f"{error.place}: ")


class KnownNames:
    """The works and the runners that exist where the check runs: those of the settings in force, looked up when needed.

    ``problem`` says why the works are not known though they should be.
    """

    problem = ""

    @functools.cached_property
    def works(self) -> list[str] | None:
        """The registered works, or ``None`` if no module of tasks is configured or one of them cannot be imported."""
        from triggers.settings import get_settings

        if not get_settings().tasks:
            return None
        from triggers.tasks import registered

        try:
            return registered.names()
        except TriggersError as error:
            self.problem = redact(f"{error}; no 'run' was checked")
        except Exception as error:
            self.problem = redact(f"a module of tasks raised {type(error).__name__}: {error}; no 'run' was checked")
        return None

    @functools.cached_property
    def runners(self) -> list[str]:
        """The keys of the runners; imports none of them."""
        from triggers.runners import task_runners

        return list(task_runners.keys())


def _unknown_names(tasks: Mapping[str, TaskConfig], known: KnownNames) -> Iterator[tuple[str, str, str, str]]:
    from triggers.instance import runner_of

    for name, task in tasks.items():
        if known.works is not None and task.run not in known.works:
            yield name, "run", "run", f"no task is registered as {task.run!r}{_hint(task.run, known.works)}"
        runner = runner_of(task.using)
        if runner is not None and runner not in known.runners:
            yield name, "using", "using", f"no runner has the key {runner!r}{_hint(runner, known.runners)}"


def _hint(name: str, known: list[str]) -> str:
    meant = suggestion(name, known)
    return f", did you mean {meant!r}?" if meant else f"; known are {', '.join(known) or 'none'}"
