"""``python -m triggers.testing KEY`` checks the storage of the settings against the contract, in place, and prints a table."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from triggers.errors import TriggersError

if TYPE_CHECKING:
    from triggers.testing.conformance.configured import Verdict
    from triggers.testing.conformance.report import Outcome

PASSED, FAILED, IMPOSSIBLE, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Checks, prints, and returns 0 if all tests passed, 1 if some failed, 2 if none could be made, 130 if it was interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m triggers.testing",
        description="Checks a configured storage against the contract of stores, with sessions of its own.",
    )
    parser.add_argument("key", help="a key of the settings or of an installed backend: sql, redis, …")
    parser.add_argument("-k", dest="only", metavar="EXPRESSION", help="only tests whose names match, as in pytest: 's06 or s12'")
    options = parser.parse_args(arguments)
    try:
        verdict = _check(options.key, options.only)
    except (TriggersError, RuntimeError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return IMPOSSIBLE
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    print("\n".join(table(verdict)))
    return FAILED if verdict.failed else PASSED


def _check(key: str, only: str | None) -> Verdict:
    try:
        from triggers.testing.conformance.configured import check_store

        return check_store(key, ["-k", only] if only else [])
    except ModuleNotFoundError as error:
        if error.name not in ("pytest", "_pytest", "hypothesis"):
            raise
        raise RuntimeError(f"{error.name} is missing; pip install 'triggers-core[testing]'") from error


def table(verdict: Verdict) -> list[str]:
    """The lines that are printed: capabilities, results by rule, reasons."""
    lines = [f"{verdict.store} (storage {verdict.key!r})"]
    lines += [f"  {name:<8} {'declared' if declared else '-'}" for name, declared in verdict.capabilities.items()]
    lines += ["", f"{'rule':<5} {'about':<36} {'passed':>7} {'failed':>7} {'not tested':>11}"]
    for line in verdict.lines:
        lines.append(
            f"{line.rule:<5} {line.about:<36} {line.passed or '-':>7} {line.failed or '-':>7} {line.not_tested or '-':>11}"
        )
    reasons = sorted({f"{outcome.reason} ({outcome.rule})" for outcome in verdict.outcomes if outcome.result == "not tested"})
    if reasons:
        lines += ["", "not tested:", *(f"  {reason}" for reason in reasons)]
    if verdict.failed:
        lines += ["", "failed:"]
        for outcome in verdict.failed:
            lines += [f"  {outcome.rule} {outcome.test}", *(f"      {part}" for part in _explained(outcome))]
    return lines


def _explained(outcome: Outcome) -> list[str]:
    """What went wrong, and what the test's docstring says to look at."""
    from triggers.testing.conformance import StoreConformance

    described = inspect.getdoc(getattr(StoreConformance, outcome.test.partition("[")[0])) or ""
    return [*outcome.reason.splitlines()[:4], *described.splitlines()]


if __name__ == "__main__":
    sys.exit(main())
