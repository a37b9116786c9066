"""The contract of runners on those that the core brings."""

from __future__ import annotations

from triggers.testing.conformance import RunnerConformance


class TestInline(RunnerConformance):
    """RN1 to RN15 on the inline runner."""

    runner = "inline"
    in_caller = True
    sweeps = False


class TestThreading(RunnerConformance):
    """RN1 to RN15 on the threading runner."""

    runner = "threading"
