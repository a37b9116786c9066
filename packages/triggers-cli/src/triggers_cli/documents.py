"""Configuration files as values, with the line of every place in them: JSON, YAML and TOML."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import PurePath
from typing import Any, NamedTuple

FORMATS = ("json", "yaml", "toml")
_SUFFIXES = {".json": "json", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml"}


class Problem(NamedTuple):
    """Something wrong at a line and a place (``$.t_score.after[1]``); a ``warning`` is not certainly wrong."""

    line: int
    place: str
    severity: str
    code: str
    message: str


class Document(NamedTuple):
    """A file as a value; ``lines`` has the line of each place, ``problems`` what is wrong with the file itself."""

    value: Any
    lines: dict[str, int]
    problems: list[Problem]

    def line_of(self, place: str) -> int:
        """The line of a place, or of the innermost known one around it."""
        return next((self.lines[outer] for outer in outwards(place) if outer in self.lines), 1)


class Unreadable(Exception):
    """The file is not of its format."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line


def format_of(name: str, text: str) -> str:
    """The format that a file has by its name, or else by how it begins."""
    return _SUFFIXES.get(PurePath(name).suffix.lower()) or ("json" if text.lstrip()[:1] in ("{", "[") else "yaml")


def read_document(name: str, raw: bytes, form: str | None = None) -> Document:
    """Reads a file; what cannot be read has no value, and one problem.

    Args:
        name: its name, which gives the format where ``form`` does not.
        raw: its content.
        form: ``json``, ``yaml`` or ``toml``.
    """
    try:
        text = raw.decode("utf-8-sig")
        form = form or format_of(name, text)
        return _reader(form)(text)
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return Document(None, {}, [Problem(line, "$", "error", "syntax", f"no UTF-8: {error.reason}")])
    except Unreadable as error:
        return Document(None, {}, [Problem(error.line, "$", "error", "syntax", f"no {str(form).upper()}: {error}")])
    except RecursionError:
        return Document(None, {}, [Problem(1, "$", "error", "syntax", "nested too deeply")])


def duplicate(line: int, place: str, first: int) -> Problem:
    """The problem of a key that an object has twice."""
    return Problem(line, place, "error", "duplicate", f"the same key stands in line {first} already; only one would count")


def outwards(place: str) -> Iterator[str]:
    """The place, and the places around it, the nearest first."""
    yield place
    for end in range(len(place) - 1, 0, -1):
        if place[end] in ".[":
            yield place[:end]


def _reader(form: str) -> Callable[[str], Document]:
    if form == "yaml":
        from triggers_cli.lines_of_yaml import read_yaml

        return read_yaml
    if form == "toml":
        from triggers_cli.lines_of_toml import read_toml

        return read_toml
    from triggers_cli.lines_of_json import read_json

    return read_json
