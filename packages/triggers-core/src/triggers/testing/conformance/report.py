"""What a run of the kit reports: which rules passed, failed, or were not tested and why."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any, NamedTuple

NOT_TESTED = "not tested by the conformance kit:"
"""How the reason of a skip begins when the kit had no means to test."""

_TEST = re.compile(r"^(?P<where>.*?)(?:::)?(?P<test>test_(?P<kit>s|rn)(?P<rule>\d+)_\w+)")


class Outcome(NamedTuple):
    """How one test of the kit ended: ``passed``, ``failed``, ``expected failure`` or ``not tested``."""

    suite: str
    rule: str
    test: str
    result: str
    reason: str


def outcome(report: Any) -> Outcome | None:
    """What a pytest report says about a test of the kit; ``None`` for what is no result of one."""
    match = _TEST.match(report.nodeid)
    if match is None:
        return None
    suite = match["where"].rsplit("::", 1)[-1]
    test = report.nodeid[match.start("test") :]

    def told(result: str, reason: str = "") -> Outcome:
        return Outcome(suite, f"{match['kit'].upper()}{int(match['rule'])}", test, result, reason)

    if hasattr(report, "wasxfail"):
        return told("expected failure", report.wasxfail.removeprefix("reason: ")) if report.skipped else None
    if report.failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        return told("failed", str(report.longrepr if crash is None else crash.message))
    if report.skipped:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        return told("not tested", reason.removeprefix("Skipped: ").removeprefix(NOT_TESTED).strip())
    return told("passed") if report.when == "call" else None


def write_summary(terminal: Any) -> None:
    """Writes, at the end of a pytest run, which rules were not tested on what.

    Call it from the hook ``pytest_terminal_summary(terminalreporter)``.
    """
    untested: dict[tuple[str, str], list[str]] = defaultdict(list)
    for reports in terminal.stats.values():
        for found in _outcomes(reports):
            if found.result in ("not tested", "expected failure"):
                untested[found.suite, f"{found.result}: {found.reason}"].append(found.rule)
    if not untested:
        return
    terminal.section("contracts of stores and runners: what was not shown")
    for (suite, reason), rules in sorted(untested.items()):
        names = sorted(set(rules), key=lambda rule: int(rule.lstrip("SRN")))
        terminal.line(f"{suite} {', '.join(names)} {reason}")


def _outcomes(reports: Iterable[Any]) -> Iterable[Outcome]:
    for report in reports:
        if hasattr(report, "nodeid") and hasattr(report, "when"):
            found = outcome(report)
            if found is not None:
                yield found
