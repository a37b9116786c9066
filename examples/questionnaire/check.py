"""The check: what had to run is computed from what the processes sent, and compared with what the works wrote down.

Nothing here knows Triggers. The rules of the questionnaire are written once more, in plain Python.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, NamedTuple

HOUSEHOLD = ("page1", "page2", "page3")
INCOME = ("page4", "page5", "page6")

Lines = list[dict[str, Any]]
Work = tuple[str, str, Any]
"""The session, the task, and what the work saw: its points or its text."""


class Finding(NamedTuple):
    """One line of the check."""

    good: bool
    text: str


def check(lines: Lines, reports: Mapping[str, int | None]) -> list[Finding]:
    """Compares what ran with what had to run.

    Args:
        lines: all that was written down.
        reports: the total of each session's report as the framework has stored it.
    """
    answers = _answers(lines)
    wanted = Counter(_expected(answers))
    ran = Counter(_works(lines))
    findings = [_compare(title, task, wanted, ran) for task, title in TITLES.items()]
    totals = {session: _total(pages) for session, pages in answers.items()}
    wrong = [session for session, total in totals.items() if reports.get(session) != total]
    findings.append(
        Finding(
            not wrong,
            f"the stored totals equal the sums of the answers, for {len(totals)} respondents"
            if not wrong
            else f"the stored total is wrong for {len(wrong)}: {_some(wrong)}",
        )
    )
    unknown = sorted({task for _, task, _ in ran} - set(TITLES))
    if unknown:
        findings.append(Finding(False, f"works ran for tasks that nobody expects: {', '.join(unknown)}"))
    return findings


TITLES = {
    "t_household": "after pages 1, 2 and 3",
    "t_income": "after pages 4, 5 and 6",
    "t_report": "after these two",
    "t_letter": "after the report",
    "t_comment": "with every comment",
    "t_reminder": "for those who lack a page at the deadline",
}


def _answers(lines: Lines) -> dict[str, dict[str, dict[str, Any]]]:
    """What each respondent sent, a second click left out: ``{session: {event: line}}``."""
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for line in lines:
        if line["kind"] == "answer":
            found[line["session"]].setdefault(line["event"], line)
    return dict(found)


def _expected(answers: dict[str, dict[str, dict[str, Any]]]) -> list[Work]:
    works: list[Work] = []
    for session, sent in answers.items():
        household, income, total = _points(sent, HOUSEHOLD), _points(sent, INCOME), _total(sent)
        if household is not None:
            works.append((session, "t_household", household))
        if income is not None:
            works.append((session, "t_income", income))
        if total is not None:
            works += [(session, "t_report", total), (session, "t_letter", total)]
        else:
            works.append((session, "t_reminder", None))
        if "page1" in sent:
            works += [(session, "t_comment", line["text"]) for line in sent.values() if line["trigger"] == "comment"]
    return works


def _works(lines: Lines) -> list[Work]:
    """What ran; if a process was killed, a work that it had in hand may have begun once more, and counts once."""
    again = any(line["kind"] == "killed" for line in lines)
    seen: dict[Any, Work] = {}
    for number, line in enumerate(lines):
        if line["kind"] == "work":
            place = (line["session"], line["instance"]) if again else number
            seen[place] = (line["session"], line["task"], line.get("points", line.get("text")))
    return list(seen.values())


def _points(sent: dict[str, dict[str, Any]], pages: tuple[str, ...]) -> int | None:
    if not all(page in sent for page in pages):
        return None
    return sum(int(sent[page]["points"]) for page in pages)


def _total(sent: dict[str, dict[str, Any]]) -> int | None:
    return _points(sent, HOUSEHOLD + INCOME)


def _compare(title: str, task: str, wanted: Counter[Work], ran: Counter[Work]) -> Finding:
    expected = Counter({work: number for work, number in wanted.items() if work[1] == task})
    found = Counter({work: number for work, number in ran.items() if work[1] == task})
    missing, surplus = expected - found, found - expected
    if not missing and not surplus:
        return Finding(True, f"{task} ran {expected.total()} times, exactly once {title}")
    parts = []
    if missing:
        parts.append(f"missing {missing.total()} times ({_some(missing)})")
    if surplus:
        parts.append(f"{surplus.total()} times too often or with wrong values ({_some(surplus)})")
    return Finding(False, f"{task} {title}: {'; '.join(parts)}")


def _some(found: Any) -> str:
    names = [work[0] if isinstance(work, tuple) else work for work in found]
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")
