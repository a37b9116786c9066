"""The names of sessions, tasks, triggers and events (R2), and what somebody may have meant by a misspelt word."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from triggers.errors import InvalidName

MAX_NAME_BYTES = 255
SESSION_FINALIZED = "sessionFinalized"
"""The trigger that a finalizing session fires when every task is resolved (R29)."""


def check_name(kind: str, name: str) -> str:
    """Returns the name, as a plain string, if it is 1 to 255 bytes of UTF-8 without control characters.

    Args:
        kind: what it names, for the message: ``"trigger"``.
        name: the name.

    Raises:
        InvalidName: it is not.
    """
    try:
        problem = _problem_of(name)
    except TypeError:  # it cannot be looked up in the cache, so it is no string
        problem = name_problem(name)
    if problem:
        raise InvalidName(f"the name of {'an' if kind[0] in 'aeiou' else 'a'} {kind} {problem}, got {shorten(name)}")
    return plain(name)


def plain(name: object) -> str:
    """The text of a name alone: a member of a string enumeration is its value, whatever its ``str()`` says."""
    return str.__str__(name) if isinstance(name, str) else str(name)


def name_problem(name: object) -> str | None:
    """Why this is no name (``"must not be empty"``), or ``None``."""
    if not isinstance(name, str):
        return "must be a string"
    if not name:
        return "must not be empty"
    if any(character < " " or "\x7f" <= character <= "\x9f" for character in name):
        return "must not have control characters"
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return "must not have lone surrogates"
    if size > MAX_NAME_BYTES:
        return f"must have at most {MAX_NAME_BYTES} bytes of UTF-8 (it has {size})"
    return None


_problem_of = functools.lru_cache(maxsize=8192)(name_problem)


def task_name_problem(name: object) -> str | None:
    """Why this is no name of a task, or ``None``."""
    problem = name_problem(name)
    if problem is None and isinstance(name, str):
        if "#" in name:
            return "must not have a '#' (instances are named task#0, task#1, …)"
        if name == SESSION_FINALIZED:
            return f"must not be {SESSION_FINALIZED!r}, which finalizing sessions fire themselves"
    return problem


_NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")


def split_instance_name(name: str) -> tuple[str, int]:
    """The task and the number of ``task#0``.

    Raises:
        InvalidName: it does not look like that.
    """
    task, mark, number = str(name).rpartition("#")
    if not mark or not _NUMBER.fullmatch(number) or task_name_problem(task):
        raise InvalidName(f"the name of a task instance looks like 't_score#0', got {shorten(name)}")
    return task, int(number)


def shorten(value: object, limit: int = 60) -> str:
    """The value's ``repr``, cut in the middle where it is long; its type where it has none."""
    try:
        text = repr(value)
    except Exception:
        text = f"an object of type {type(value).__qualname__}"
    return text if len(text) <= limit else f"{text[: limit - 20]}…{text[-15:]}"


def suggestion(word: str, known: Iterable[str]) -> str | None:
    """The known word that is one slip away: another case or separator, or one letter more, less, other or swapped."""
    plain = _plain(word)
    return next((candidate for candidate in known if one_slip(plain, _plain(candidate))), None)


def _plain(word: str) -> str:
    return word.lower().replace("_", "").replace("-", "").replace(" ", "")


def one_slip(left: str, right: str) -> bool:
    """Whether at most one letter was added, left out, changed, or swapped with its neighbour."""
    if len(left) > len(right):
        left, right = right, left
    if len(right) - len(left) > 1:
        return False
    start = next((i for i, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), len(left))
    if len(left) < len(right):
        return left[start:] == right[start + 1 :]
    rest_left, rest_right = left[start:], right[start:]
    return rest_left[1:] == rest_right[1:] or (rest_left[:2] == rest_right[1::-1] and rest_left[2:] == rest_right[2:])
