"""Reads an event log and the configuration that says what its columns mean and which tasks wait for which activities."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

NAME_BYTES = 200
"""How long a session or an activity may be; Triggers allows 255 bytes, and a session's name gets a prefix."""


class BadInput(Exception):
    """A file that cannot be used; says which, where, and what to do."""


@dataclass(frozen=True)
class Columns:
    """Which column of the log means what."""

    session: str
    trigger: str
    time: str | None = None
    kwargs: tuple[str, ...] = ()

    def named(self) -> list[str]:
        """All columns that must be there."""
        return [self.session, self.trigger, *([self.time] if self.time else []), *self.kwargs]


@dataclass(frozen=True)
class Plan:
    """A configuration file: the columns, and the tasks as Triggers takes them."""

    path: Path
    columns: Columns
    tasks: dict[str, dict[str, Any]]


class Event(NamedTuple):
    """One row of the log: its number, counted from 1 without the header, and what it says."""

    row: int
    session: str
    trigger: str
    time: datetime | None
    kwargs: dict[str, str]

    @property
    def moment(self) -> datetime:
        """The time, in a log that has such a column."""
        if self.time is None:
            raise BadInput(f"row {self.row} has no time; name the column with --time-column")
        return self.time


def read_plan(path: Path) -> Plan:
    """Reads a configuration file.

    Raises:
        BadInput: it is missing, no JSON, or lacks what it needs.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"there is no configuration {path}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"the configuration {path} cannot be read: {error}") from None
    except json.JSONDecodeError as error:
        raise BadInput(f"{path}, line {error.lineno}: no JSON: {error.msg}") from None
    if not isinstance(document, dict) or not isinstance(document.get("tasks"), dict) or not document["tasks"]:
        raise BadInput(f'{path}: a configuration is an object with "tasks", and "columns" where the options do not name them')
    columns = document.get("columns", {})
    if not isinstance(columns, dict) or not set(columns) <= {"session", "trigger", "time", "kwargs"}:
        raise BadInput(f'{path}: "columns" is an object with "session", "trigger", and maybe "time" and "kwargs"')
    kwargs = columns.get("kwargs", [])
    texts = [columns.get("session", ""), columns.get("trigger", ""), columns.get("time") or "", *_listed(path, kwargs)]
    if not all(isinstance(text, str) for text in texts):
        raise BadInput(f'{path}: each entry of "columns" is the name of a column')
    return Plan(
        path,
        Columns(columns.get("session", ""), columns.get("trigger", ""), columns.get("time"), tuple(kwargs)),
        document["tasks"],
    )


def _listed(path: Path, kwargs: Any) -> list[Any]:
    if not isinstance(kwargs, list):
        raise BadInput(f'{path}: "kwargs" of "columns" is a list of columns')
    return kwargs


def plan_for(header: Iterable[str], folder: Path) -> Plan:
    """The configuration of a folder whose columns a log has.

    Raises:
        BadInput: none fits.
    """
    present = set(header)
    plans = [read_plan(path) for path in sorted(folder.glob("*.json"))]
    for plan in plans:
        if set(plan.columns.named()) <= present:
            return plan
    known = "; ".join(f"{plan.path.name}: {', '.join(plan.columns.named())}" for plan in plans)
    raise BadInput(
        f"no configuration fits the columns {', '.join(sorted(present))} ({known}); name one with --config, "
        "and the columns with --session-column and --trigger-column"
    )


def read_header(path: Path) -> list[str]:
    """The names of the columns.

    Raises:
        BadInput: there is no such file, or it is empty or no text.
    """
    with _Rows(path) as rows:
        return rows.header


def with_options(columns: Columns, options: Mapping[str, Any]) -> Columns:
    """The columns, where the command line does not say otherwise."""
    given = {name: value for name, value in options.items() if value is not None}
    return replace(columns, **given)


def read_events(path: Path, columns: Columns) -> list[Event]:
    """All rows of a log, checked before anything is done with them.

    Raises:
        BadInput: the file or a column is missing, or a row cannot be used; names the line.
    """
    with _Rows(path) as rows:
        if not columns.session or not columns.trigger:
            raise BadInput("say which columns hold the session and the trigger: --session-column and --trigger-column")
        missing = [column for column in columns.named() if column not in rows.header]
        if missing:
            raise BadInput(f"{path} has no column {missing[0]!r}; its columns are {', '.join(rows.header)}")
        events = [_event(path, columns, number, line, fields) for number, (line, fields) in enumerate(rows, 1)]
    if not events:
        raise BadInput(f"{path} has a header and no rows")
    return events


def _event(path: Path, columns: Columns, number: int, line: int, fields: dict[str, str]) -> Event:
    session, trigger = (_name(path, line, column, fields[column]) for column in (columns.session, columns.trigger))
    time = None
    if columns.time:
        try:
            time = datetime.fromisoformat(fields[columns.time])
        except ValueError:
            text = fields[columns.time]
            raise BadInput(f"{path}, line {line}: {columns.time!r} is {text!r}, which is no time as ISO 8601") from None
    return Event(number, session, trigger, time, {column: fields[column] for column in columns.kwargs})


def _name(path: Path, line: int, column: str, text: str) -> str:
    if not text.strip():
        raise BadInput(f"{path}, line {line}: {column!r} is empty")
    if len(text.encode()) > NAME_BYTES:
        raise BadInput(f"{path}, line {line}: {column!r} is longer than {NAME_BYTES} bytes")
    if any(ord(sign) < 32 or ord(sign) == 127 for sign in text):
        raise BadInput(f"{path}, line {line}: {column!r} has a control character: {text!r}")
    return text


class _Rows:
    """A CSV file with a header, row by row: ``(line, {column: text})``."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> Self:
        try:
            self._file = self.path.open(encoding="utf-8-sig", newline="")
        except FileNotFoundError:
            raise BadInput(f"there is no event log {self.path}") from None
        except OSError as error:
            raise BadInput(f"the event log {self.path} cannot be opened: {error.strerror}") from None
        self._reader = csv.reader(self._file)
        self.header: list[str] = next(self._lines(), [])
        if not any(self.header):
            raise BadInput(f"{self.path} is empty; it needs a first line with the names of the columns")
        twice = [name for name in self.header if self.header.count(name) > 1]
        if twice:
            raise BadInput(f"{self.path} has two columns {twice[0]!r}")
        return self

    def __exit__(self, *raised: object) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        for fields in self._lines():
            line = self._reader.line_num
            if fields and len(fields) != len(self.header):
                raise BadInput(f"{self.path}, line {line}: {len(fields)} fields, the header has {len(self.header)}")
            if fields:
                yield line, dict(zip(self.header, fields, strict=True))

    def _lines(self) -> Any:
        try:
            yield from self._reader
        except UnicodeDecodeError as error:
            raise BadInput(f"{self.path}, line {self._undecodable()}: no UTF-8: {error.reason}") from None
        except csv.Error as error:
            raise BadInput(f"{self.path}, line {self._reader.line_num}: no CSV: {error}") from None

    def _undecodable(self) -> int:
        """The first line that is no UTF-8; the decoder reads ahead and cannot tell."""
        for number, line in enumerate(self.path.read_bytes().split(b"\n"), 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
        return 0
