"""What a simulation raises where a rule does not hold."""

from __future__ import annotations


class Violation(AssertionError):
    """A rule does not hold."""


def require(holds: bool, otherwise: str) -> None:
    """Raises ``Violation`` unless it holds."""
    if not holds:
        raise Violation(otherwise)
