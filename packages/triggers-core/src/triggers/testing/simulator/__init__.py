"""A deterministic simulator: several processes, one clock, one seed.

The real engine, runtime, worker, heartbeat and sweep run on the memory store; what is simulated is only the world around
them: when each gets its turn, which process dies, which delivery is lost or repeated, which reply never comes. Needs
the extra ``triggers-core[testing]``.
"""

from triggers.testing.simulator.confluence import NotConfluent, assert_confluent
from triggers.testing.simulator.runs import Failure, explore, run_schedule, simulate
from triggers.testing.simulator.scenario import Outcome, Scenario
from triggers.testing.simulator.violation import Violation

__all__ = [
    "Failure",
    "NotConfluent",
    "Outcome",
    "Scenario",
    "Violation",
    "assert_confluent",
    "explore",
    "run_schedule",
    "simulate",
]
