"""Progress and tables, in plain text."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median, quantiles

_EVERY = 2.0
"""Seconds between two lines of progress where a line cannot be overwritten."""


class Progress:
    """One line that moves in a terminal; elsewhere a line every two seconds.

    Args:
        total: how many rows there are.
        count: gives how many rows are fired and how many works are done.
    """

    def __init__(self, total: int, count: Callable[[], tuple[int, int]]) -> None:
        self.total = total
        self._count = count
        self._moving = sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
        self._started = time.monotonic()
        self._shown_at = self._started
        self._before: int | None = None

    def show(self, *, last: bool = False) -> tuple[int, int]:
        """Shows how far it is; returns the rows fired and the works done."""
        fired, works = self._count()
        now = time.monotonic()
        if self._before is None or fired == self._before:
            self._before, self._started = fired, now
        if last or now - self._shown_at >= (0.2 if self._moving else _EVERY):
            self._shown_at = now
            rate = (fired - self._before) / max(now - self._started, 0.001)
            text = f"{fired} of {self.total} rows fired, {works} works done, {rate:.0f} rows per second"
            if self._moving:
                width = shutil.get_terminal_size().columns
                print(f"\r\x1b[K{text[: width - 1]}", end="\n" if last else "", flush=True)
            else:
                print(text, flush=True)
        return fired, works


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table; numbers stand to the right."""
    texts = [[f"{cell:.1f}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    right = [all(isinstance(row[place], int | float) for row in rows) for place in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        padded = zip(cells, widths, right, strict=True)
        return "  " + "  ".join(cell.rjust(width) if to_right else cell.ljust(width) for cell, width, to_right in padded).rstrip()

    return "\n".join([line(headings), "  " + "  ".join("-" * width for width in widths), *map(line, texts)])


def processes_table(times: dict[int, list[float]], seconds: float) -> str:
    """One line per process: how many rows it fired, how fast, and how long one took."""
    rows = [_speed(f"process {number + 1}", found, seconds) for number, found in sorted(times.items())]
    everything = [one for found in times.values() for one in found]
    return table(
        ["", "rows", "per second", "median ms", "99th ms", "longest ms"], [*rows, _speed("together", everything, seconds)]
    )


def _speed(name: str, found: list[float], seconds: float) -> list[object]:
    late = quantiles(found, n=100)[-1] if len(found) > 1 else found[0]
    return [name, len(found), len(found) / seconds, float(median(found)), float(late), float(max(found))]
