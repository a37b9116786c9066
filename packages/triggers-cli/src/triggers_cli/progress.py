"""How far a long command has come: a bar where standard error is a terminal, else a line now and then."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any, Self

import click

LINE_EVERY = 10.0
"""Seconds between two lines where there is no bar."""
_LOOK_EVERY = 0.1


class Progress:
    """Shows how much was done. Use it as a context.

    Args:
        what: what is counted: ``rows``, ``sessions``.
        total: the whole, in the unit of ``position``; ``None`` if nobody knows.
    """

    def __init__(self, what: str, total: int | None) -> None:
        self.what = what
        self.total = total
        self._began = time.monotonic()
        self._next = self._began + (_LOOK_EVERY if sys.stderr.isatty() else LINE_EVERY)
        self._bar: Any = None
        self._task: Any = None

    def __enter__(self) -> Self:
        """Starts the bar."""
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, TaskProgressColumn, TextColumn
            from rich.progress import Progress as Bar

            columns = [TextColumn("{task.description}")]
            if self.total is not None:
                columns = [BarColumn(bar_width=None), TaskProgressColumn(), *columns]  # type: ignore[list-item]
            self._bar = Bar(*columns, console=Console(stderr=True), transient=True, expand=True)
            self._task = self._bar.add_task("", total=self.total)
            self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, position: int) -> None:
        """Shows where the command is, if it is time to."""
        now = time.monotonic()
        if now < self._next:
            return
        text = f"{done} {self.what}, {done / (now - self._began):.0f}/s"
        if self._bar is not None:
            self._next = now + _LOOK_EVERY
            self._bar.update(self._task, completed=position, description=text)
        else:
            self._next = now + LINE_EVERY
            part = f" ({100 * position // self.total} %)" if self.total else ""
            click.echo(text + part, err=True)

    def say(self, line: str) -> None:
        """A line on standard error that stays, above the bar."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            click.echo(line, err=True)
