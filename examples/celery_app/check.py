"""The check: what had to happen, computed from what was sent, against what the works entered. It does not know Triggers."""

from __future__ import annotations

import contextlib
import sqlite3
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from respondents import Answer

Effect = tuple[str, str, str]
"""The respondent, the task, and what was entered."""


class Entry(NamedTuple):
    """What a work entered, and how often its body came so far."""

    effect: Effect
    runs: int


def entries(ledger: Path, table: str) -> list[Entry]:
    """All that was entered."""
    with contextlib.closing(sqlite3.connect(ledger, timeout=30)) as opened:
        rows = opened.execute(f"SELECT respondent, task, value, runs FROM {table}").fetchall()  # noqa: S608
    return [Entry((respondent, task, value), runs) for respondent, task, value, runs in rows]


def expected(answers: list[Answer]) -> Counter[Effect]:
    """What these answers have to lead to."""
    sent: dict[str, dict[str, Answer]] = defaultdict(dict)
    for answer in answers:
        sent[answer.respondent][answer.id] = answer
    effects: Counter[Effect] = Counter()
    for respondent, own in sent.items():
        points = [own[f"page{number}"].kwargs["points"] for number in (1, 2, 3, 4)]
        effects[respondent, "t_household", str(points[0] + points[1])] += 1
        effects[respondent, "t_income", str(points[2] + points[3])] += 1
        effects[respondent, "t_report", str(sum(points))] += 1
        effects[respondent, "t_letter", str(sum(points))] += 1
        for answer in own.values():
            if answer.page == "comment":
                effects[respondent, "t_comment", answer.kwargs["text"]] += 1
    return effects


def check(answers: list[Answer], found: list[Entry]) -> list[tuple[bool, str]]:
    """One line for each task: whether its effects are there exactly once."""
    wanted, entered = expected(answers), Counter(entry.effect for entry in found)
    lines = []
    for task in sorted({effect[1] for effect in (*wanted, *entered)}):
        here = Counter({effect: number for effect, number in wanted.items() if effect[1] == task})
        there = Counter({effect: number for effect, number in entered.items() if effect[1] == task})
        missing, surplus = (here - there).total(), (there - here).total()
        words = f"{there.total()} of {here.total()}"
        if missing or surplus:
            words += f"; {missing} missing, {surplus} too many or with a wrong value"
        lines.append((not missing and not surplus, f"{task:<12} {words}"))
    return lines
