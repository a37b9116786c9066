"""What is shown: progress that works in a terminal, in a dumb one and in a pipe, and the tables at the end."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from check import Finding

from triggers import Status, TaskInstance

WORKS = ("t_household", "t_income", "t_report", "t_letter", "t_comment", "t_reminder")
_EVERY = 1.0
"""Seconds between two lines of progress where lines cannot be overwritten."""
_SIGNS = {
    Status.FINISHED: ("✓", "ok"),
    Status.FAILED: ("✗", "FAILED"),
    Status.ABANDONED: ("–", "-"),
    Status.UNSTARTED: ("…", "..."),
}

_TRY = {1: "", 2: "2nd try", 3: "3rd try"}


class Progress:
    """Shows how far the processes are: bars that move in a terminal, one line per second elsewhere.

    Args:
        shares: how many answers each process has to send.
    """

    def __init__(self, shares: Sequence[int]) -> None:
        self.shares = list(shares)
        self.sent: Counter[int] = Counter()
        self.works: Counter[str] = Counter()
        self._started = time.monotonic()
        self._shown_at = 0.0
        self._height = 0
        self._moving = sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")

    def take(self, lines: list[dict[str, Any]]) -> None:
        """Counts new lines of the notebook."""
        for line in lines:
            if line["kind"] == "answer":
                self.sent[line["process"]] += 1
            elif line["kind"] == "work":
                self.works[line["task"]] += 1

    def note(self, text: str) -> None:
        """Says something that stays."""
        self._erase()
        print(text, flush=True)

    def show(self, *, last: bool = False) -> None:
        """Draws the present state."""
        now = time.monotonic()
        if not self.sent:
            self._started = now
        if self._moving:
            if last or now - self._shown_at > 0.08:
                self._draw(now)
        elif last or (self.sent and now - self._shown_at > _EVERY):
            works = ", ".join(f"{self.works[work]} {work[2:]}" for work in WORKS if self.works[work])
            total = f"{sum(self.sent.values())} of {sum(self.shares)} answers sent"
            print(f"{now - self._started:5.1f} s  {total}" + (f"; done: {works}" if works else ""), flush=True)
            self._shown_at = now

    def _draw(self, now: float) -> None:
        width = shutil.get_terminal_size().columns
        room = max(10, min(40, width - 40))
        lines = [
            f"  process {letter_of(number)}  {bar(self.sent[number], share, room)} {self.sent[number]:>4} of {share}"
            for number, share in enumerate(self.shares)
        ]
        lines.append("")
        lines += [f"  {work:<12} {self.works[work]:>5}" for work in WORKS]
        lines.append(f"  {now - self._started:.1f} s")
        self._erase()
        print("\n".join(line[: width - 1] for line in lines), flush=True)
        self._height = len(lines)
        self._shown_at = now

    def _erase(self) -> None:
        if self._height:
            print(f"\x1b[{self._height}A\x1b[J", end="")
            self._height = 0


def bar(done: int, total: int, width: int) -> str:
    """A bar of so many columns."""
    filled = width if not total else min(width, done * width // total)
    return pick("█", "#") * filled + pick("░", ".") * (width - filled)


def pick(sign: str, plain: str) -> str:
    """The sign, or its plain form where the output cannot show it."""
    try:
        sign.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return plain
    return sign


def table(headings: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in plain text; numbers stand to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(headings, *texts, strict=True)]
    right = [all(isinstance(row[place], int) for row in rows) for place in range(len(headings))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(cells, widths, right, strict=True)
        )
        return "  " + "  ".join(padded).rstrip()

    rule = "  " + "  ".join(pick("─", "-") * width for width in widths)
    return "\n".join([line(list(headings)), rule, *map(line, texts)])


def sessions_table(lines: list[dict[str, Any]], stored: Mapping[str, Mapping[str, TaskInstance]], limit: int) -> str:
    """One line per respondent: in which order the pages came, by which processes, and where each task is."""
    order: dict[str, str] = defaultdict(str)
    senders: dict[str, str] = defaultdict(str)
    for entry in lines:
        if entry["kind"] == "answer" and entry["trigger"].startswith("page"):
            page = entry["trigger"].removeprefix("page")
            if page not in order[entry["session"]]:
                order[entry["session"]] += page
                senders[entry["session"]] += letter_of(entry["process"])
    rows = [
        [
            session.rpartition("/")[2],
            order[session],
            senders[session],
            *(_cell([instance for instance in stored[session].values() if instance.task == work]) for work in WORKS),
        ]
        for session in _chosen(list(stored), order, limit)
    ]
    text = table(["who", "came as", "through", *(work[2:] for work in WORKS)], rows)
    left = len(stored) - len(rows)
    return text + (f"\n  {pick('…', '...')} and {left} more (--rows)" if left else "")


def _chosen(sessions: list[str], order: Mapping[str, str], limit: int) -> list[str]:
    """The first ones, with a few among them that lack a page."""
    complete = max(map(len, order.values()), default=0)
    lacking = [session for session in sessions if len(order[session]) < complete][: limit // 4]
    others = [session for session in sessions if session not in lacking][: limit - len(lacking)]
    return sorted(lacking + others)


def letter_of(process: int) -> str:
    """The letter by which a process goes."""
    return chr(ord("A") + process) if process < 26 else "+"


def _cell(instances: list[TaskInstance]) -> str:
    if not instances:
        return ""
    shown = [instance for instance in instances if instance.status is not Status.REPLAYED]
    tries = len(instances) - len(shown) + 1
    last = shown[-1] if shown else instances[-1]
    sign = pick(*_SIGNS[last.status]) if last.status in _SIGNS else str(last.status)
    result = last.result or {}
    value = result.get("points", result.get("total", ""))
    more = f"x{len(shown)}" if len(shown) > 1 else ""
    return " ".join(part for part in (sign, str(value), more, _TRY.get(tries, f"{tries}th try")) if part)


def instances_table(stored: Mapping[str, Mapping[str, TaskInstance]]) -> str:
    """One line per task: how many instances it has in each status."""
    counts: Counter[tuple[str, Status]] = Counter()
    for instances in stored.values():
        counts.update((instance.task, instance.status) for instance in instances.values())
    used = [status for status in Status if any(counts[work, status] for work in WORKS)]
    rows = [[work, sum(counts[work, status] for status in used), *(counts[work, status] for status in used)] for work in WORKS]
    return table(["task", "instances", *used], rows)


def findings_text(findings: Sequence[Finding]) -> str:
    """One line per finding."""
    return "\n".join(f"  {'ok   ' if finding.good else 'WRONG'}  {finding.text}" for finding in findings)
