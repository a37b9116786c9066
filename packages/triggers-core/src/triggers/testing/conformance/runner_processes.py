"""RN11 to RN13: processes that die, and forks."""

from __future__ import annotations

import os
import signal
import time

from triggers.instance import Status
from triggers.manager import TriggerManager
from triggers.runners import RunnerCapability
from triggers.settings import configure
from triggers.testing.conformance import works
from triggers.testing.conformance.contract import not_tested
from triggers.testing.conformance.forks import in_fork
from triggers.testing.conformance.runner_kit import RunnerKit, Trial

_NEVER = 100_000.0
_REST = 0.5
"""Until what ran the first work waits for the next one: a thread that waits at the fork is missing afterwards."""


class RunnerProcesses(RunnerKit):
    """RN11 to RN13."""

    def test_rn11_a_worker_that_dies_is_replaced(self, trial: Trial) -> None:
        """A work that kills its process is run again as the next attempt, and later works run too.

        Look at: a pool has to notice that a process is gone and start another; the attempt itself is recovered by the sweep
        when its lease has run out.
        """
        if not self.own_processes:
            not_tested("its works run in the process that fires")
        manager = trial.run(works.CRASH)
        instance = trial.resolved(manager)
        assert (instance.status, instance.attempt) == (Status.FINISHED, 2)
        assert trial.noted(manager) == [("t#0", 1, "ran"), ("t#0", 2, "ran")]
        another = trial.run(works.NOTE)
        assert trial.resolved(another).status is Status.FINISHED

    def test_rn12_what_was_accepted_survives_the_process(self, trial: Trial) -> None:
        """What a process delivered just before it died is run, although no sweep would deliver it again for a day.

        Look at: only a runner that hands deliveries to something durable declares ``AT_LEAST_ONCE``; ``deliver`` must not
        return before it has done so.
        """
        if RunnerCapability.AT_LEAST_ONCE not in trial.runner.capabilities:
            not_tested("declares no capability AT_LEAST_ONCE")
        if self.in_caller:
            not_tested("its works run in the thread that fires")
        # The work takes so long that the dying process cannot end it, in case it begins it.
        manager = trial.session({"t": {"after": ["go"], "run": works.SLEEP}}, seconds=3)

        def fire_and_die() -> None:
            configure(redeliver_after=_NEVER)
            manager.fire("go")
            os.kill(os.getpid(), signal.SIGKILL)

        in_fork(fire_and_die, ends_with=-signal.SIGKILL)
        assert trial.resolved(manager).status is Status.FINISHED
        assert trial.noted(manager) == [("t#0", 1, "began"), ("t#0", 1, "ended")]

    def test_rn13_a_fork_goes_on_by_itself(self, trial: Trial) -> None:
        """After a fork, child and parent both have works run, also where the runner was used before.

        Look at: ``after_fork``: the parent's threads are not there in the child, its queue is the parent's business, and its
        connections must be neither used nor closed.
        """
        if not hasattr(os, "fork"):
            not_tested("this platform has no fork")
        before = trial.run(works.NOTE)
        trial.resolved(before)
        time.sleep(_REST)

        def run_one() -> TriggerManager:
            manager = trial.run(works.NOTE)
            instance = trial.resolved(manager)
            assert (instance.status, instance.attempt) == (Status.FINISHED, 1)
            return manager

        in_fork(run_one, run_one)
        after = run_one()
        assert trial.noted(after) == [("t#0", 1, "ran")]
