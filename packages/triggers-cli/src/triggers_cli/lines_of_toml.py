"""TOML with lines: the library reads the whole, then each statement by itself, which says where its places are."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Any

from triggers_cli.documents import Document, Unreadable

_AT_LINE = re.compile(r"^(.*?) \(at line (\d+), column (\d+)\)$", re.DOTALL)


def read_toml(text: str) -> Document:
    """Reads TOML; keys that stand twice are no TOML.

    Raises:
        Unreadable: it is none.
    """
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = _AT_LINE.match(str(error))
        line = int(said.group(2)) if said else text.count("\n") + 1
        raise Unreadable(line, said.group(1) if said else str(error)) from None
    lines = {"$": 1}
    table = "$"
    lists: dict[str, int] = {}
    for line, statement in _statements(text):
        content = tomllib.loads(statement)
        if statement.lstrip().startswith("["):
            table = _header(content, line, lines, lists)
        else:
            _note(content, table, line, statement.splitlines(), lines)
    return Document(value, lines, [])


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Headers and assignments with the line in which they begin: the fewest lines that are TOML by themselves."""
    begun, line_of_begin = "", 1
    for number, line in enumerate(text.splitlines(keepends=True), 1):
        line_of_begin = line_of_begin if begun else number
        begun += line
        try:
            tomllib.loads(begun)
        except tomllib.TOMLDecodeError:
            continue
        if begun.strip():
            yield line_of_begin, begun
        begun = ""


def _header(content: Any, line: int, lines: dict[str, int], lists: dict[str, int]) -> str:
    place = "$"
    while content:
        if isinstance(content, list):
            number = lists[place] = lists.get(place, -1) + 1
            place, content = f"{place}[{number}]", content[0]
        else:
            key, content = next(iter(content.items()))
            place = f"{place}.{key}"
            if place in lists and isinstance(content, dict):
                place = f"{place}[{lists[place]}]"
        lines.setdefault(place, line)
    return place


def _note(content: Any, place: str, line: int, source: list[str], lines: dict[str, int]) -> None:
    if isinstance(content, dict):
        for key, inner in content.items():
            lines.setdefault(f"{place}.{key}", line)
            _note(inner, f"{place}.{key}", line, source, lines)
    elif isinstance(content, list):
        for index, inner in enumerate(content):
            lines[f"{place}[{index}]"] = line + _offset(index, len(content), source)
            _note(inner, f"{place}[{index}]", line + _offset(index, len(content), source), [], lines)


def _offset(index: int, count: int, source: list[str]) -> int:
    """In which line of an assignment the entry of a list stands: the first with which the list is long enough."""
    for number in range(1, len(source)):
        try:
            found: Any = tomllib.loads("\n".join(source[:number]) + "\n]")
        except tomllib.TOMLDecodeError:
            continue
        while isinstance(found, dict) and found:
            found = next(iter(found.values()))
        if isinstance(found, list) and len(found) > index:
            return number - 1
    return len(source) - 1 if count == 1 and source else 0
