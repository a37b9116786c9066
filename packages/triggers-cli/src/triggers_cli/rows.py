"""Rows of a file that are to be fired: read line by line, so that memory does not grow with the file.

A row that cannot be used becomes a ``BadRow`` with its line, and what comes after it is still read; where nothing after it can
be trusted (a quote that is never closed, a file that got shorter meanwhile) the reading ends with ``BadFile``.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

STDIN = "-"
_ENDINGS = {".ndjson": "ndjson", ".jsonl": "ndjson"}
_DELIMITERS = {";": "';'", "\t": "tab", "|": "'|'", ",": "','"}
_SHOWN = 80
_BATCH_SHOWN = 100
csv.field_size_limit(64 * 1024 * 1024)


class BadFile(Exception):
    """A file cannot be read, or not to its end: says which, which line, and why."""


class Row(NamedTuple):
    """What one row fires."""

    line: int
    uid: str
    trigger: str
    kwargs: dict[str, Any]
    event_id: str


class BadRow(NamedTuple):
    """A row that cannot be fired."""

    line: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Which columns of a file mean what.

    Args:
        form: ``csv`` or ``ndjson``; by the ending of the file's name where it is ``None``.
        uid: the column with the session.
        trigger: the column with the trigger.
        event_id: the column with the event id; ``None`` makes one from the row.
        kwargs: a column that holds all kwargs as one JSON object.
        taken: columns that become kwargs under their own names.
        rest: whether all columns that are not named otherwise become kwargs.
        delimiter: what stands between the columns of a CSV file.
        batch: what tells this file from others in the event ids; the file's name where it is ``None``.
    """

    form: str | None = None
    uid: str = "uid"
    trigger: str = "trigger"
    event_id: str | None = None
    kwargs: str | None = None
    taken: tuple[str, ...] = ()
    rest: bool = False
    delimiter: str = ","
    batch: str | None = None

    @property
    def named(self) -> tuple[str, ...]:
        """The columns that must be there."""
        return tuple(name for name in (self.uid, self.trigger, self.event_id, self.kwargs, *self.taken) if name is not None)


class Rows:
    """The rows of an open file.

    Args:
        path: its name; ``-`` for standard input.
        file: the file, opened for bytes.
        layout: what its columns mean.
    """

    def __init__(self, path: str, file: BinaryIO, layout: Layout) -> None:
        self.path = "standard input" if path == STDIN else path
        self.layout = layout
        self.position = 0
        """How many bytes were read."""
        self.line = 0
        self._file = file
        self._batch = layout.batch if layout.batch is not None else Path(path).name
        status = os.fstat(file.fileno()) if path != STDIN else None
        self.size = status.st_size if status is not None and stat.S_ISREG(status.st_mode) else None
        """The size of the file when it was opened; ``None`` where nobody can know."""
        self._form = layout.form or _ENDINGS.get(Path(path).suffix.lower(), "csv")

    def __iter__(self) -> Iterator[Row | BadRow]:
        """The rows, in their order.

        Raises:
            BadFile: the file cannot be read any further.
        """
        return self._objects() if self._form == "ndjson" else self._records()

    def _lines(self) -> Iterator[bytes]:
        while True:
            try:
                line = self._file.readline()
            except OSError as error:
                raise BadFile(f"{self.path}, after line {self.line}: cannot be read any further: {error.strerror}") from None
            if not line:
                break
            self.line += 1
            self.position += len(line)
            yield line.removeprefix(b"\xef\xbb\xbf") if self.line == 1 else line
        if self.size is not None and self.position < self.size:
            raise BadFile(
                f"{self.path}, after line {self.line}: the file had {self.size} bytes when it was opened and ends now after "
                f"{self.position}; it was cut while it was read"
            )

    def _objects(self) -> Iterator[Row | BadRow]:
        for line in self._lines():
            if line.strip():
                yield self._object(line)

    def _object(self, line: bytes) -> Row | BadRow:
        try:
            found = json.loads(line.decode())
        except UnicodeDecodeError as error:
            return BadRow(self.line, f"no UTF-8: {error.reason} at byte {error.start + 1} of the line")
        except ValueError as error:
            return BadRow(self.line, f"no JSON: {error}")
        except RecursionError:
            return BadRow(self.line, "no JSON that can be read: it is nested too deeply")
        if not isinstance(found, dict):
            return BadRow(self.line, "expected a JSON object on each line")
        missing = [name for name in self.layout.named if name not in found]
        if missing:
            return BadRow(self.line, f"has no {missing[0]!r}; it has {', '.join(map(repr, found)) or 'nothing'}")
        return self._row(self.line, found)

    def _records(self) -> Iterator[Row | BadRow]:
        reader = csv.reader(
            (line.decode(errors="surrogateescape") for line in self._lines()), delimiter=self.layout.delimiter, strict=True
        )
        header: list[str] | None = None
        while True:
            begin = reader.line_num + 1
            try:
                fields = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                raise BadFile(f"{self.path}, line {begin}: no CSV: {error}") from None
            if header is None:
                header = self._checked_header(fields)
            elif fields:
                yield self._record(begin, header, fields)
        if header is None:
            raise BadFile(f"{self.path} is empty; its first line must name the columns")

    def _checked_header(self, header: list[str]) -> list[str]:
        if not header:
            raise BadFile(f"{self.path}, line 1 is blank; it must name the columns")
        for name in header:
            if _undecodable(name):
                raise BadFile(f"{self.path}, line 1: no UTF-8; convert the file first, iconv -t utf-8")
            if header.count(name) > 1:
                raise BadFile(f"{self.path} has two columns {name!r}")
        for name in self.layout.named:
            if name not in header:
                columns = f"its columns are {', '.join(map(repr, header))}"
                raise BadFile(f"{self.path} has no column {name!r}; {columns}{_other_delimiter(header)}")
        return header

    def _record(self, line: int, header: list[str], fields: list[str]) -> Row | BadRow:
        if len(fields) != len(header):
            return BadRow(line, f"{len(fields)} fields, the header has {len(header)}")
        for name, text in zip(header, fields, strict=True):
            if _undecodable(text):
                return BadRow(line, f"{name!r} is no UTF-8; convert the file first, iconv -t utf-8")
        return self._row(line, dict(zip(header, fields, strict=True)))

    def _row(self, line: int, found: Mapping[str, Any]) -> Row | BadRow:
        layout = self.layout
        for name in (layout.uid, layout.trigger):
            if not isinstance(found[name], str) or not found[name]:
                return BadRow(line, f"{name!r} is {_shown(found[name])}; expected a text that is not empty")
        try:
            kwargs = self._kwargs(found)
        except ValueError as error:
            return BadRow(line, str(error))
        uid, trigger = found[layout.uid], found[layout.trigger]
        if layout.event_id is None:
            return Row(line, uid, trigger, kwargs, self._event_id(line, uid, trigger, kwargs))
        event_id = found[layout.event_id]
        if type(event_id) is int:
            event_id = str(event_id)
        if not isinstance(event_id, str) or not event_id:
            return BadRow(line, f"{layout.event_id!r} is {_shown(event_id)}; expected an event id")
        return Row(line, uid, trigger, kwargs, event_id)

    def _kwargs(self, found: Mapping[str, Any]) -> dict[str, Any]:
        layout = self.layout
        if layout.rest:
            return {name: value for name, value in found.items() if name not in layout.named}
        if layout.kwargs is None:
            return {name: found[name] for name in layout.taken}
        value = found[layout.kwargs]
        if isinstance(value, str):
            try:
                value = json.loads(value) if value.strip() else {}
            except (ValueError, RecursionError) as error:
                raise ValueError(f"{layout.kwargs!r} is no JSON: {error}") from None
        if value is None:
            return {}
        if not isinstance(value, dict):
            raise ValueError(f"{layout.kwargs!r} is {_shown(value)}; expected a JSON object")
        return value

    def _event_id(self, line: int, uid: str, trigger: str, kwargs: dict[str, Any]) -> str:
        """From where the row stands and what it fires: the same for the same file, whatever columns are added to it."""
        content = json.dumps([self._batch, uid, trigger, kwargs], sort_keys=True)
        digest = hashlib.blake2b(content.encode(), digest_size=10).hexdigest()
        return f"{_printable(self._batch)}:{line}:{digest}"


def _other_delimiter(header: list[str]) -> str:
    """What to try where the columns were not told apart."""
    meant = [typed for sign, typed in _DELIMITERS.items() if len(header) == 1 and sign in header[0]]
    return f"; perhaps --delimiter {meant[0]}" if meant else ""


def _undecodable(text: str) -> bool:
    return not text.isascii() and any("\udc80" <= sign <= "\udcff" for sign in text)


def _printable(batch: str) -> str:
    kept = batch.encode("ascii", "replace").decode()[:_BATCH_SHOWN]
    return "".join(sign if sign.isprintable() else "?" for sign in kept)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
