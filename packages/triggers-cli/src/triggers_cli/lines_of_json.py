"""JSON with lines: the library reads it, and a walk over the tokens of what is known to be JSON finds the places."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterator

from triggers_cli.documents import Document, Problem, Unreadable, duplicate

_TOKEN = re.compile(r'[{}\[\],:]|"(?:[^"\\]|\\.)*"|[^\s,:\[\]{}"]+')


def read_json(text: str) -> Document:
    """Reads JSON.

    Raises:
        Unreadable: it is none.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise Unreadable(error.lineno, f"{error.msg} (column {error.colno})") from None
    walk = _Walk(text)
    walk.value("$")
    return Document(value, walk.lines, walk.problems)


class _Walk:
    def __init__(self, text: str) -> None:
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        ends = [match.start() for match in re.finditer("\n", text)]
        self._tokens: Iterator[tuple[str, int]] = (
            (match.group(), bisect_right(ends, match.start()) + 1) for match in _TOKEN.finditer(text)
        )

    def value(self, place: str) -> None:
        sign, line = next(self._tokens)
        self._value(place, sign, line)

    def _value(self, place: str, sign: str, line: int) -> None:
        self.lines.setdefault(place, line)
        if sign == "{":
            self._object(place)
        elif sign == "[":
            self._list(place)

    def _object(self, place: str) -> None:
        seen: dict[str, int] = {}
        sign, line = next(self._tokens)
        while sign != "}":
            if sign != ",":
                key = json.loads(sign, strict=False)
                inner = f"{place}.{key}"
                if key in seen:
                    self.problems.append(duplicate(line, inner, seen[key]))
                seen.setdefault(key, line)
                self.lines[inner] = line
                next(self._tokens)
                self.value(inner)
            sign, line = next(self._tokens)

    def _list(self, place: str) -> None:
        index = 0
        sign, line = next(self._tokens)
        while sign != "]":
            if sign != ",":
                self._value(f"{place}[{index}]", sign, line)
                index += 1
            sign, line = next(self._tokens)
