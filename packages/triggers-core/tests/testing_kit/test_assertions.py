"""The assertions: each holds where it should, fails where it should, and then shows the session."""

from __future__ import annotations

import logging
import threading
import unittest
from typing import Any

import pytest

from triggers import TaskContext, TriggerManager, task
from triggers.testing import FailingTask, PassThruTask, SelfRetryingTask, SelfSkippingTask, TriggerManagerTestCaseMixin

CONFIGURATION = {
    "t_done": {"after": ["go"], "run": PassThruTask.name, "withParams": {"letter": {"language": "en"}}},
    "t_failed": {"after": ["go"], "run": FailingTask.name},
    "t_skipped": {"after": ["go"], "run": SelfSkippingTask.name},
    "t_retried": {"after": ["go"], "run": SelfRetryingTask.name},
    "t_logs": {"after": ["go"], "run": "logs"},
    "t_quiet": {"after": ["go"], "run": PassThruTask.name},
    "t_abandoned": {"after": ["never"], "unless": ["go"], "run": PassThruTask.name},
    "t_waits": {"after": ["go", "later"], "run": PassThruTask.name},
    "t_scheduled": {"after": ["go"], "run": PassThruTask.name, "using": "elsewhere"},
    "t_running": {"after": ["go"], "run": PassThruTask.name, "using": "elsewhere"},
    "t_silent": {"after": ["never"], "run": PassThruTask.name},
}


class TestAssertions(TriggerManagerTestCaseMixin):
    """One session in which there is an instance of every kind."""

    @pytest.fixture(autouse=True)
    def _session(self, trigger_manager: TriggerManager) -> None:
        @task("logs")
        def logs(context: TaskContext) -> None:
            with context.get_logger_context() as logger:
                logger.warning("page %d is odd", 3, extra={"context": {"page": 3}})

        self.manager = trigger_manager
        self.manager.update_configuration(CONFIGURATION)
        self.manager.fire("go", {"page": 3})
        self.joinAll()
        self.manager.update_instance_status("t_running#0", "running")

    def test_hold(self) -> None:
        """What is so is asserted without a word."""
        for assertion, arguments in HOLD:
            getattr(self, assertion)(*arguments)

    def test_fail(self) -> None:
        """What is not so fails, says what was expected of what, and shows the session."""
        for assertion, arguments, message in FAIL:
            with pytest.raises(AssertionError) as caught:
                getattr(self, assertion)(*arguments)
            first, _, rest = str(caught.value).partition("\n")
            assert first == message, assertion
            assert rest == self.manager.storage.debug_repr(), assertion

    def test_every_assertion_is_tried_both_ways(self) -> None:
        """No assertion is left out of the two lists."""
        names = {name for name in dir(TriggerManagerTestCaseMixin) if name.startswith("assert")}
        assert {assertion for assertion, _ in HOLD} | ELSEWHERE == names
        assert {assertion for assertion, _, _ in FAIL} == names

    def test_logs_are_resolved(self) -> None:
        """Once marked, the logs are resolved for every assertion."""
        self.manager.mark_instance_logs_resolved("t_logs#0")
        self.assertInstanceLogsResolved("t_logs#0")
        self.assertNoUnresolvedLogs()

    def test_work_that_does_not_end_fails_the_test(self) -> None:
        """``joinAll`` gives up after its timeout, and shows the session."""
        go_on = threading.Event()

        @task("hangs")
        def hangs(context: TaskContext) -> None:
            go_on.wait(60)

        self.manager.update_configuration({"t_hangs": {"after": ["hang"], "run": "hangs"}})
        self.manager.fire("hang")
        with pytest.raises(AssertionError, match=r"work is still running after 0.2 s\nsession 'test'"):
            self.joinAll(timeout=0.2)
        go_on.set()

    def test_a_single_name_is_no_list(self) -> None:
        """A string in the place of a list is the test's own mistake."""
        with pytest.raises(TypeError, match="give a list of names"):
            self.assertUnresolvedTasks("t_waits")

    def test_everything_resolved(self) -> None:
        """``assertNoUnresolved…`` hold in a session where nothing is left."""
        self.manager = type(self.manager)(type(self.manager.storage)("other"), process=self.manager._process)
        self.manager.update_configuration({"t_it": {"after": ["go"], "run": PassThruTask.name}})
        self.manager.fire("go")
        self.joinAll()
        self.assertNoUnresolvedTasks()
        self.assertNoUnresolvedInstances()


UNRESOLVED = ["t_failed", "t_running", "t_scheduled", "t_silent", "t_waits"]
UNRESOLVED_INSTANCES = ["t_failed#0", "t_running#0", "t_scheduled#0", "t_waits#0"]

HOLD: list[tuple[str, tuple[Any, ...]]] = [
    ("assertInstanceStatus", ("t_done#0", "finished")),
    ("assertInstanceUnstarted", ("t_waits#0",)),
    ("assertInstanceScheduled", ("t_scheduled#0",)),
    ("assertInstanceRunning", ("t_running#0",)),
    ("assertInstanceFinished", ("t_done#0",)),
    ("assertInstanceFinished", ("t_quiet#0", {"go": {"page": 3}})),
    ("assertInstanceFailed", ("t_failed#0",)),
    ("assertInstanceFailed", ("t_failed#0", RuntimeError)),
    ("assertInstanceFailed", ("t_failed#0", "RuntimeError: FailingTask fails")),
    ("assertInstanceAbandoned", ("t_abandoned#0",)),
    ("assertInstanceSkipped", ("t_skipped#0",)),
    ("assertInstanceReplayed", ("t_retried#0",)),
    ("assertInstanceReplayed", ("t_retried#0", "t_retried#1")),
    ("assertInstanceMissing", ("t_done#1",)),
    ("assertInstanceKwargs", ("t_done#0", {"go": {"page": 3}})),
    ("assertInstanceTriggerKwargs", ("t_done#0", {"go": {"page": 3}, "letter": {"language": "en"}})),
    ("assertInstanceResult", ("t_quiet#0", {"go": {"page": 3}})),
    ("assertInstanceMetadata", ("t_retried#0", {"retries": 0})),
    ("assertInstanceLogLevel", ("t_logs#0", logging.WARNING)),
    ("assertInstanceLogLevel", ("t_logs#0", "WARNING")),
    ("assertInstanceLogLevel", ("t_done#0", 0)),
    ("assertInstanceLogContext", ("t_logs#0", {"page": 3, "message": "page 3 is odd"})),
    ("assertInstanceLogsUnresolved", ("t_logs#0",)),
    ("assertUnresolvedLogs", (["t_logs#0"],)),
    ("assertUnresolvedTasks", (UNRESOLVED,)),
    ("assertUnresolvedInstances", (UNRESOLVED_INSTANCES,)),
    ("assertFired", ("go",)),
    ("assertFired", ("go", {"page": 3})),
    ("assertNotFired", ("never",)),
]
"""What holds in the session."""

ELSEWHERE = {"assertInstanceLogsResolved", "assertNoUnresolvedLogs", "assertNoUnresolvedTasks", "assertNoUnresolvedInstances"}
"""Tried by ``test_logs_are_resolved`` and ``test_everything_resolved``."""

FAIL: list[tuple[str, tuple[Any, ...], str]] = [
    ("assertInstanceStatus", ("t_done#0", "failed"), "t_done#0 is finished, expected failed"),
    (
        "assertInstanceStatus",
        ("t_failed#0", "finished"),
        "t_failed#0 is failed, expected finished: builtins.RuntimeError: FailingTask fails, always",
    ),
    ("assertInstanceStatus", ("t_silent#0", "finished"), "there is no instance t_silent#0"),
    ("assertInstanceUnstarted", ("t_done#0",), "t_done#0 is finished, expected unstarted"),
    ("assertInstanceScheduled", ("t_running#0",), "t_running#0 is running, expected scheduled"),
    ("assertInstanceRunning", ("t_scheduled#0",), "t_scheduled#0 is scheduled, expected running"),
    ("assertInstanceFinished", ("t_waits#0",), "t_waits#0 is unstarted, expected finished"),
    ("assertInstanceFinished", ("t_quiet#0", {}), "the result of t_quiet#0: {'go': {'page': 3}}, expected {}"),
    ("assertInstanceFailed", ("t_done#0",), "t_done#0 is finished, expected failed"),
    (
        "assertInstanceFailed",
        ("t_failed#0", ValueError),
        "t_failed#0 failed with builtins.RuntimeError: FailingTask fails, always; expected builtins.ValueError",
    ),
    (
        "assertInstanceFailed",
        ("t_failed#0", "disk full"),
        "t_failed#0 failed with builtins.RuntimeError: FailingTask fails, always; expected disk full",
    ),
    ("assertInstanceAbandoned", ("t_skipped#0",), "t_skipped#0 is skipped, expected abandoned"),
    ("assertInstanceSkipped", ("t_abandoned#0",), "t_abandoned#0 is abandoned, expected skipped"),
    ("assertInstanceReplayed", ("t_done#0",), "t_done#0 is finished, expected replayed"),
    ("assertInstanceReplayed", ("t_retried#0", "t_done#0"), "t_done#0 replays nothing, expected t_retried#0"),
    ("assertInstanceMissing", ("t_done#0",), "t_done#0 exists, expected none"),
    ("assertInstanceKwargs", ("t_done#0", {}), "the kwargs of t_done#0: {'go': {'page': 3}}, expected {}"),
    (
        "assertInstanceTriggerKwargs",
        ("t_quiet#0", {}),
        "the trigger kwargs of t_quiet#0: {'go': {'page': 3}}, expected {}",
    ),
    (
        "assertInstanceTriggerKwargs",
        ("t_waits#0", {}),
        "t_waits#0 is unstarted: what its work receives is known once it is scheduled",
    ),
    ("assertInstanceResult", ("t_waits#0", {}), "the result of t_waits#0: None, expected {}"),
    (
        "assertInstanceMetadata",
        ("t_retried#0", {"retries": 1}),
        "the metadata of t_retried#0: {'retries': 0}, expected among them {'retries': 1}",
    ),
    ("assertInstanceLogLevel", ("t_logs#0", "ERROR"), "t_logs#0 logged WARNING at most, expected ERROR"),
    ("assertInstanceLogLevel", ("t_done#0", "INFO"), "t_done#0 logged nothing at most, expected INFO"),
    (
        "assertInstanceLogContext",
        ("t_logs#0", {"page": 4}),
        (
            "the log context of t_logs#0: {'message': 'page 3 is odd', 'level': 'WARNING', 'page': 3}, "
            "expected among them {'page': 4}"
        ),
    ),
    ("assertInstanceLogsResolved", ("t_logs#0",), "the logs of t_logs#0 are not marked as resolved"),
    (
        "assertInstanceLogsUnresolved",
        ("t_done#0",),
        "t_done#0 has no unresolved logs; those with unresolved logs: t_logs#0",
    ),
    ("assertUnresolvedLogs", ([],), "instances with unresolved logs: t_logs#0; expected: none"),
    ("assertNoUnresolvedLogs", (), "instances with unresolved logs: t_logs#0; expected: none"),
    (
        "assertUnresolvedTasks",
        (["t_waits"],),
        "unresolved tasks: t_failed, t_running, t_scheduled, t_silent, t_waits; expected: t_waits",
    ),
    (
        "assertNoUnresolvedTasks",
        (),
        "unresolved tasks: t_failed, t_running, t_scheduled, t_silent, t_waits; expected: none",
    ),
    (
        "assertUnresolvedInstances",
        (["t_waits#0"],),
        "unresolved instances: t_failed#0, t_running#0, t_scheduled#0, t_waits#0; expected: t_waits#0",
    ),
    (
        "assertNoUnresolvedInstances",
        (),
        "unresolved instances: t_failed#0, t_running#0, t_scheduled#0, t_waits#0; expected: none",
    ),
    ("assertFired", ("never",), "never has not fired; fired have: go, t_done, t_logs, t_quiet, t_retried"),
    ("assertFired", ("go", {}), "the latest kwargs of go: {'page': 3}, expected {}"),
    ("assertNotFired", ("go",), "go has fired"),
]


def test_unittest_gives_each_test_a_session_of_its_own() -> None:
    """Two tests of one class do not see each other's session, and a failure is a failure of unittest."""
    seen: list[bool] = []

    class Case(TriggerManagerTestCaseMixin, unittest.TestCase):
        def test_one(self) -> None:
            seen.append(self.manager.storage.exists())
            self.manager.fire("go")
            self.assertFired("go")

        test_two = test_one

        def test_wrong(self) -> None:
            self.assertFired("go")

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert seen == [False, False]
    assert (result.testsRun, len(result.errors), [test.id().rpartition(".")[2] for test, _ in result.failures]) == (
        3,
        0,
        ["test_wrong"],
    )


def test_unittest_calls_what_the_class_prepares() -> None:
    """The ``setUp`` of the class's other bases runs too, and before."""
    order: list[str] = []

    class Prepared(unittest.TestCase):
        def setUp(self) -> None:
            order.append("prepared")

    class Case(TriggerManagerTestCaseMixin, Prepared):
        def test_it(self) -> None:
            order.append(self.manager.uid)

    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(unittest.TestResult())
    assert order == ["prepared", "test"]
