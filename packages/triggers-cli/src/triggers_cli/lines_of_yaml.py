"""YAML with lines. Words mean what they mean in YAML 1.2: ``yes``, ``no``, ``on`` and dates are strings."""

from __future__ import annotations

import re
from typing import Any

import yaml  # type: ignore[import-untyped]

from triggers_cli.documents import Document, Problem, Unreadable, duplicate

_MOST_PLACES = 200_000
"""A file may have so many values, those behind aliases counted where they are used: nine lines can make billions of them."""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}


_NULL, _BOOL, _INT, _FLOAT, _STR = (f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str"))
for _tag, _pattern, _first in (
    (_NULL, r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    (_BOOL, r"true|True|TRUE|false|False|FALSE", list("tTfF")),
    (_INT, r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", list("-+0123456789")),
    (_FLOAT, r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)", list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(_tag, re.compile(rf"(?:{_pattern})\Z"), _first)


def read_yaml(text: str) -> Document:
    """Reads one YAML document.

    Raises:
        Unreadable: it is none, or has what JSON does not have.
    """
    try:
        node = yaml.compose(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        said = getattr(error, "problem", None) or str(error)
        raise Unreadable(mark.line + 1 if mark else 1, said) from None
    walk = _Walk()
    value = None if node is None else walk.value(node, "$")
    return Document(value, walk.lines, walk.problems)


class _Walk:
    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.problems: list[Problem] = []
        self._around: list[Any] = []
        self._places = 0

    def value(self, node: Any, place: str) -> Any:
        line = node.start_mark.line + 1
        self.lines.setdefault(place, line)
        self._places += 1
        if self._places > _MOST_PLACES:
            raise Unreadable(line, f"its aliases stand for more than {_MOST_PLACES} values")
        if any(node is outer for outer in self._around):
            raise Unreadable(line, f"{place} contains itself")
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, line)
        self._around.append(node)
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.value(inner, f"{place}[{index}]") for index, inner in enumerate(node.value)]
            return self._mapping(node, place)
        finally:
            self._around.pop()

    def _mapping(self, node: Any, place: str) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        merged: dict[Any, Any] = {}
        seen: dict[Any, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode):
                raise Unreadable(line, "a key is a list or an object")
            key = _scalar(key_node, line)
            inner = f"{place}.{key}"
            if key == "<<" and not key_node.style:
                for base in value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]:
                    if not isinstance(base, yaml.MappingNode):
                        raise Unreadable(line, "what '<<' merges is no object")
                    merged = self._mapping(base, place) | merged
                continue
            if key in seen:
                self.problems.append(duplicate(line, inner, seen[key]))
            seen.setdefault(key, line)
            self.lines[inner] = line
            found[key] = self.value(value_node, inner)
        return merged | found


def _scalar(node: Any, line: int) -> Any:
    text: str = node.value
    try:
        if node.tag == _STR:
            return text
        if node.tag == _NULL:
            return None
        if node.tag == _BOOL:
            return text.lower() == "true"
        if node.tag == _INT:
            return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
        if node.tag == _FLOAT:
            return float(text.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        raise Unreadable(line, f"{text!r} is no {node.tag.rpartition(':')[2]}") from None
    raise Unreadable(line, f"the tag {node.tag!r} has no meaning in a configuration")
