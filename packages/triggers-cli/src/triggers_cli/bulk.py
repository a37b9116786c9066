"""Firing the rows of a file: from the reader through the lanes to the summary."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import click

from triggers.errors import TriggersError
from triggers_cli.interrupting import on_signals
from triggers_cli.lanes import Lanes, Refused, Report
from triggers_cli.progress import Progress
from triggers_cli.rows import STDIN, BadFile, BadRow, Layout, Row, Rows

KEPT = 100
"""So many refused rows are kept for the JSON summary; all are printed as they come."""


@dataclass
class Summary:
    """What a run did. As JSON it has these names."""

    file: str
    rows: int = 0
    """Rows that were looked at."""
    fired: int = 0
    already_there: int = 0
    """Rows whose event id was known, so that they changed nothing."""
    refused: int = 0
    sessions: int = 0
    """Sessions that rows were fired in; a lower bound where ``sessions_exact`` is false (beyond 100 000 per process)."""
    sessions_exact: bool = True
    seconds: float = 0.0
    per_second: float = 0.0
    complete: bool = False
    """Whether the file was read to its end."""
    errors: list[dict[str, Any]] = field(default_factory=list)
    """The first hundred refused rows: ``line``, ``uid``, ``trigger``, ``error``."""


class Interrupted(Exception):
    """Ctrl-C or SIGTERM."""


class Bulk:
    """One run over one file.

    Args:
        path: the file, ``-`` for standard input.
        layout: what its columns mean.
        configuration: the tasks that each new session gets.
        processes: how many fire.
        stop_at_error: whether the first refused row ends the run.
    """

    def __init__(
        self, path: str, layout: Layout, configuration: Mapping[str, Any] | None, *, processes: int, stop_at_error: bool
    ) -> None:
        self.path = path
        self.layout = layout
        self.configuration = configuration
        self.processes = processes
        self.stop_at_error = stop_at_error
        self.summary = Summary("standard input" if path == STDIN else path)
        self.fatal: Exception | None = None
        self.interrupted = False
        self._lanes: Lanes | None = None
        self._may_break_off = False

    def run(self) -> None:
        """Fires; the summary is right whatever ended the run, ``fatal`` and ``interrupted`` say what did.

        Raises:
            BadFile: the file cannot be opened, or lacks a column: nothing was fired.
            KeyboardInterrupt: it was interrupted a second time.
        """
        began = time.monotonic()
        with _opened(self.path) as file, on_signals(self._interrupt):
            rows = Rows(self.path, file, self.layout)
            found = iter(rows)
            try:
                first = self._next(found)  # a file that cannot be used starts no process
                if first is not None:
                    with Progress("rows", rows.size) as progress:
                        self._fire(rows, itertools.chain([first], found), progress)
                else:
                    self.summary.complete = True
            except Interrupted:
                pass
        summary = self.summary
        summary.seconds = round(time.monotonic() - began, 3)
        summary.per_second = round(summary.rows / max(summary.seconds, 0.001), 1)

    def _fire(self, rows: Rows, found: Iterator[Row | BadRow], progress: Progress) -> None:
        with Lanes(self.processes, self.configuration, stop_at_error=self.stop_at_error) as lanes:
            self._lanes = lanes
            whole = False
            try:
                whole = self._read(rows, found, progress)
            except Interrupted:
                pass
            except BadFile as error:
                self.fatal = error
            lanes.flush()
            while lanes.busy:
                self._take(lanes.collect(0.5), progress)
                progress.show(self.summary.rows, rows.position)
            self.summary.complete = whole and not (self.interrupted or self.fatal or lanes.stop.is_set())

    def _read(self, rows: Rows, found: Iterator[Row | BadRow], progress: Progress) -> bool:
        """Hands the rows to the lanes; returns whether none of them ended the reading."""
        lanes = self._lanes
        if self.interrupted and lanes is not None:
            lanes.stop.set()
        while lanes is not None and not lanes.stop.is_set() and (row := self._next(found)) is not None:
            if isinstance(row, BadRow):
                self.summary.rows += 1
                self._refuse(Refused(row.line, "", "", row.reason), progress)
                if self.stop_at_error:
                    return False  # what came before it is fired
            else:
                self._take(lanes.put(row), progress)
            progress.show(self.summary.rows, rows.position)
        return True

    def _next(self, found: Iterator[Row | BadRow]) -> Row | BadRow | None:
        """The next row; only here, where nothing is half done, does a signal break anything off."""
        self._may_break_off = True
        try:
            return next(found, None)
        finally:
            self._may_break_off = False

    def _interrupt(self, number: int, frame: Any) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        if self._lanes is not None:
            self._lanes.stop.set()
        if self._may_break_off:
            raise Interrupted

    def _take(self, reports: list[Report], progress: Progress) -> None:
        for report in reports:
            summary = self.summary
            summary.rows += report.rows
            summary.fired += report.fired
            summary.already_there += report.already_there
            summary.sessions += report.sessions
            summary.sessions_exact = summary.sessions_exact and not report.forgot
            for refused in report.refused:
                self._refuse(refused, progress)
            self.fatal = self.fatal or report.fatal

    def _refuse(self, refused: Refused, progress: Progress) -> None:
        self.summary.refused += 1
        where = f" (session {refused.uid!r}, trigger {refused.trigger!r})" if refused.uid else ""
        progress.say(f"{self.summary.file}, line {refused.line}: {refused.error}{where}")
        if len(self.summary.errors) < KEPT:
            self.summary.errors.append(
                {"line": refused.line, "uid": refused.uid or None, "trigger": refused.trigger or None, "error": refused.error}
            )


def checked_configuration(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """A configuration that sessions will take.

    Raises:
        TriggersError: they will not.
    """
    from triggers.config import parse_configuration
    from triggers.process import get_process

    get_process().runners.check(parse_configuration(document))
    return document


def exit_code(bulk: Bulk) -> int:
    """How the command ends; raises what the frame turns into a code."""
    if isinstance(bulk.fatal, TriggersError):
        raise bulk.fatal
    if bulk.fatal is not None:
        raise click.ClickException(str(bulk.fatal))
    if bulk.interrupted:
        return 130
    return 1 if bulk.summary.refused else 0


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    if path == STDIN:
        yield sys.stdin.buffer
        return
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError as error:
        raise BadFile(f"{path} cannot be opened: {error.strerror}") from None
    with file:
        yield file
