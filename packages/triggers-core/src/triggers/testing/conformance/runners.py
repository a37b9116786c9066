"""The contract of a runner, as tests: what the author of a runner runs.

Where works run in the process that fires, naming the runner is all that there is to write::

    class TestMyRunner(RunnerConformance):
        runner = "mine"

Else the fixtures ``settings`` (a storage that all processes see) and ``workers`` (which starts and stops them) are needed too.
The rules RN1 … are in the manual, each test has its rule's number in its name, and its docstring says what to look at when it
fails.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from triggers.errors import ConfigurationError, RunnerUnavailable
from triggers.instance import Status, TaskInstance
from triggers.testing.conformance import works
from triggers.testing.conformance.contract import not_tested
from triggers.testing.conformance.runner_kit import TIMES, Outage, Trial
from triggers.testing.conformance.runner_processes import RunnerProcesses
from triggers.testing.conformance.threads import run_threads


class RunnerConformance(RunnerProcesses):
    """The rules RN1 to RN15 as tests.

    A subclass names the ``runner``, and gives the fixtures and declarations of ``RunnerKit`` that it needs.
    """

    def test_rn1_what_is_scheduled_is_run(self, trial: Trial) -> None:
        """A ready instance is run once, and its result is stored.

        Look at: ``deliver`` has to bring about that ``perform`` is called with the delivery, here or in a process with the
        same settings.
        """
        manager = trial.run(works.NOTE)
        instance = trial.resolved(manager)
        assert (instance.status, instance.attempt, instance.result) == (Status.FINISHED, 1, {"from": "t#0"})
        assert trial.noted(manager) == [("t#0", 1, "ran")]

    def test_rn1_a_cascade_of_any_length(self, trial: Trial) -> None:
        """Sixty works, each started by the end of the one before, run in order.

        Look at: works that are performed inside of ``deliver`` and deliver in turn need a queue, not a deeper stack.
        """
        names = [f"t{number:02}" for number in range(60)]
        tasks = {name: {"after": [before], "run": works.NOTE} for before, name in zip(["go", *names], names, strict=False)}
        manager = trial.session(tasks)
        manager.fire("go")
        trial.resolved(manager, "t59#0")
        assert trial.noted(manager) == [(f"{name}#0", 1, "ran") for name in names]

    def test_rn1_many_at_once(self, trial: Trial) -> None:
        """One fire that starts forty works has each run once.

        Look at: queues that are bounded and drop, and pools that lose what waits for a free place.
        """
        manager = trial.session({f"t{number}": {"after": ["go"], "run": works.NOTE} for number in range(40)})
        manager.fire("go")
        trial.until("not all forty are resolved", lambda: not manager.storage.get_unresolved_tasks())
        assert sorted(trial.noted(manager)) == sorted((f"t{number}#0", 1, "ran") for number in range(40))

    def test_rn2_an_attempt_that_is_delivered_again_runs_once(self, trial: Trial) -> None:
        """Of ten deliveries of one attempt, some at the same time and some after its end, one starts the work.

        Look at: everything between ``deliver`` and the body has to go through ``perform``.
        """
        manager = trial.session({"t": {"after": ["go"], "run": works.NOTE}})
        delivery = trial.delivery(manager)
        manager.fire("go")
        run_threads(*(functools.partial(trial.runner.deliver, delivery) for _ in range(5)))
        trial.resolved(manager)
        for _ in range(5):
            trial.runner.deliver(delivery)
        self._runs_another(trial)
        assert trial.noted(manager) == [("t#0", 1, "ran")]

    def test_rn3_what_nobody_waits_for_ends_at_once(self, trial: Trial) -> None:
        """Deliveries of another attempt, of an unknown instance, of an unknown and of a deleted session do nothing.

        Look at: a runner decides nothing by itself; and what a delivery may not start must not stop the runner.
        """
        manager = trial.run(works.NOTE)
        trial.resolved(manager)
        gone = trial.run(works.NOTE)
        trial.resolved(gone)
        gone.storage.store.delete(gone.uid)
        never = trial.session({"t": {"after": ["go"], "run": works.NOTE}})
        never.storage.store.delete(never.uid)
        for delivery in (
            trial.delivery(manager, attempt=7),
            trial.delivery(manager, "t#5"),
            trial.delivery(manager, "unheard-of#0"),
            trial.delivery(gone),
            trial.delivery(never),
        ):
            trial.runner.deliver(delivery)
        self._runs_another(trial)
        assert trial.noted(manager) == [("t#0", 1, "ran")]
        assert trial.noted(gone) == [("t#0", 1, "ran")]
        assert trial.noted(never) == []
        assert gone.storage.metadata == {} == never.storage.metadata, "a delivery brought a deleted session back"

    def test_rn4_deliver_returns_soon(self, trial: Trial) -> None:
        """``fire`` does not wait for a work of four seconds.

        Look at: ``deliver`` sends or queues, and returns.
        """
        if self.in_caller:
            not_tested("its works run in the thread that fires")
        manager = trial.run(works.SLEEP, seconds=4)
        assert ("t#0", 1, "ended") not in trial.noted(manager), "the fire returned when the work had ended"
        assert trial.resolved(manager).status is Status.FINISHED

    def test_rn5_a_cooldown_is_waited_for(self, trial: Trial) -> None:
        """A work that asks to be tried again after one second runs again, not earlier than that.

        Look at: ``not_before`` of the delivery. A runner that declares ``DELAYS`` holds it back; for the others the sweep
        waits. An early delivery is refused, and the sweep repairs it only at the next redelivery.
        """
        manager = trial.run(works.RETRY, seconds=1.0)
        trial.resolved(manager, "t#1")
        assert trial.noted(manager) == [("t#0", 1, "ran"), ("t#1", 1, "ran")]
        first, second = (each["at"] for each in works.notes(trial.file) if each["uid"] == manager.uid)
        assert second - first >= 1.0

    def test_rn6_a_failure_is_reported(self, trial: Trial) -> None:
        """A work that raises makes its instance failed with the exception's type and text, and the next one runs.

        Look at: ``perform`` reports by itself and raises no error of a body; it must not be cut short.
        """
        manager = trial.run(works.FAIL)
        instance = trial.ended(manager, "t#0", lambda found: found.status is Status.FAILED)
        assert instance.metadata["exception"]["type"] == "builtins.ValueError"
        assert instance.metadata["exception"]["message"] == "the work of the kit fails"
        self._runs_another(trial)
        assert trial.noted(manager) == [("t#0", 1, "ran")]

    def test_rn6_a_work_that_exits_fails(self, trial: Trial) -> None:
        """``SystemExit`` in a work makes its instance failed, and neither the runner nor its process ends.

        Look at: the same as for any other failure.
        """
        manager = trial.run(works.EXIT)
        instance = trial.ended(manager, "t#0", lambda found: found.status is Status.FAILED)
        assert instance.metadata["exception"]["type"] == "builtins.SystemExit"
        self._runs_another(trial)
        assert trial.noted(manager) == [("t#0", 1, "ran")]

    def test_rn7_a_work_that_nobody_has_is_left_alone(self, trial: Trial) -> None:
        """An instance whose ``run`` no process has a body for stays scheduled as attempt 1, and the next one runs.

        Look at: a runner that looks for the body itself must leave the instance as it is when there is none.
        """
        manager = trial.run(works.NOBODYS)
        self._runs_another(trial)
        instance = manager.storage["t#0"]
        assert (instance.status, instance.attempt) == (Status.SCHEDULED, 1)

    def test_rn8_a_key_and_an_object_mean_the_same(self, trial: Trial, options: Mapping[str, Any]) -> None:
        """``using`` as an object, with the options that the runner takes, is run as well.

        Look at: ``delivery.options``.
        """
        using = {"runner": self.runner, **options}
        manager = trial.session({"t": {"after": ["go"], "run": works.NOTE, "using": using}})
        manager.fire("go")
        assert trial.resolved(manager).status is Status.FINISHED

    def test_rn8_wrong_options_are_refused(self, trial: Trial, wrong_options: Mapping[str, Any] | None) -> None:
        """An option that the runner does not take is refused when the session is configured, and named.

        Look at: ``check_options`` raises ``SettingsError``; ``deliver`` has to check as well, for sessions that were configured
        by processes without the runner.
        """
        if wrong_options is None:
            not_tested("the fixture wrong_options names none")
        manager = trial.session({})
        using = {"runner": self.runner, **wrong_options}
        with pytest.raises(ConfigurationError) as refused:
            manager.update_configuration({"t": {"after": ["go"], "run": works.NOTE, "using": using}})
        assert refused.value.place == "$.t.using"
        assert any(option in str(refused.value) for option in wrong_options)
        with pytest.raises(Exception, match="|".join(wrong_options)):
            trial.runner.deliver(trial.delivery(manager)._replace(using=using))

    def test_rn9_threads_that_fire_at_once(self, trial: Trial) -> None:
        """Thirty joins of three triggers each, fired by six threads, have each work run once.

        Look at: connections and queues that threads share.
        """
        join = {"t": {"after": ["a", "b", "c"], "run": works.NOTE}, "u": {"after": ["t"], "run": works.NOTE}}
        managers = [trial.session(join) for _ in range(30)]

        def fire(number: int) -> None:
            for at, manager in enumerate(managers):
                if at % 2 == number % 2:
                    manager.fire("abc"[number // 2])

        run_threads(*(functools.partial(fire, number) for number in range(6)))
        for manager in managers:
            trial.resolved(manager, "u#0")
        assert [trial.noted(manager) for manager in managers] == [[("t#0", 1, "ran"), ("u#0", 1, "ran")]] * 30

    def test_rn10_a_long_work_keeps_its_lease(self, trial: Trial) -> None:
        """A work that takes twice the lease runs once.

        Look at: the heartbeat is a thread of the process that performs; a body that never lets other threads run stops it.
        """
        manager = trial.run(works.SLEEP, seconds=2 * TIMES["lease"])
        instance = trial.resolved(manager)
        assert (instance.status, instance.attempt) == (Status.FINISHED, 1)
        assert trial.noted(manager) == [("t#0", 1, "began"), ("t#0", 1, "ended")]

    def test_rn14_close_lets_running_work_end(self, trial: Trial) -> None:
        """``close`` returns when what runs in this process has reported, may be called twice, and a new runner works.

        Look at: for a runner that works here, ``join_all`` says ``False`` while something runs. A runner whose workers live
        elsewhere only lets go of its connections.
        """
        manager = trial.session({"t": {"after": ["go"], "run": works.SLEEP}}, seconds=3)
        firing = threading.Thread(target=manager.fire, args=("go",), daemon=True)
        firing.start()
        trial.until("the work has not begun", lambda: bool(trial.noted(manager)))
        runner = trial.runner
        if runner.runs_here:
            assert runner.join_all(timeout=0.05) is False
        trial.process.runners.close()
        if runner.runs_here:
            assert manager.storage["t#0"].status is Status.FINISHED
            assert runner.join_all(timeout=0.05) is True
        runner.close()
        firing.join()
        trial.resolved(manager)
        self._runs_another(trial)

    def test_rn15_an_outage_delays_and_loses_nothing(self, trial: Trial, outage: Outage | None) -> None:
        """While what the runner needs is away, ``deliver`` says so soon and ``fire`` succeeds; afterwards the work is run.

        Look at: every wait for a server needs a limit, ``RunnerUnavailable`` is the error to raise, and connections that broke
        have to be made anew.
        """
        if outage is None:
            not_tested("the fixture outage gives none")
        manager = trial.session({"t": {"after": ["go"], "run": works.NOTE}})
        outage.begin()
        try:
            began = time.monotonic()
            assert manager.fire("go").scheduled == ("t#0",)
            assert time.monotonic() - began < 10, "the fire waited for what is away"
            with pytest.raises(RunnerUnavailable):
                trial.runner.deliver(trial.delivery(manager))
        finally:
            outage.end()
        assert trial.resolved(manager).status is Status.FINISHED
        assert trial.noted(manager) == [("t#0", 1, "ran")]

    def _runs_another(self, trial: Trial) -> TaskInstance:
        another = trial.run(works.NOTE)
        instance = trial.resolved(another)
        assert (instance.status, instance.attempt) == (Status.FINISHED, 1)
        return instance
