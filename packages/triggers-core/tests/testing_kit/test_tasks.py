"""The tasks with a known behaviour."""

from __future__ import annotations

from typing import Any

import pytest

import triggers
from triggers import TriggerManager
from triggers.testing import DevNullTask, FailingTask, MovableClock, PassThruTask, SelfRetryingTask, SelfSkippingTask


def run(manager: TriggerManager, work: str, **params: Any) -> None:
    """Fires ``go`` into a session whose task waits for it, and whose task ``t_next`` waits for that one."""
    manager.update_configuration(
        {
            "t_it": {"after": ["go"], "run": work, "withParams": params},
            "t_next": {"after": ["t_it"], "run": DevNullTask.name},
        }
    )
    manager.fire("go", {"page": 3})
    triggers.join_all()


def test_pass_thru_returns_params_and_kwargs(trigger_manager: TriggerManager) -> None:
    """Its result is what it received, ``withParams`` included."""
    run(trigger_manager, PassThruTask.name, letter={"language": "en"})
    assert trigger_manager.storage["t_it#0"].result == {"go": {"page": 3}, "letter": {"language": "en"}}


def test_dev_null_returns_nothing(trigger_manager: TriggerManager) -> None:
    """Its result is empty, and the cascade goes on."""
    run(trigger_manager, DevNullTask.name)
    assert trigger_manager.storage["t_it#0"].result == {}
    assert trigger_manager.storage["t_next#0"].status == "finished"


def test_failing_task_fails_with_what_it_received(trigger_manager: TriggerManager) -> None:
    """The instance keeps the error and, as its context, what the work received."""
    run(trigger_manager, FailingTask.name)
    found = trigger_manager.storage["t_it#0"]
    assert found.status == "failed"
    assert found.metadata["exception"]["type"] == "builtins.RuntimeError"
    assert found.metadata["exception"]["context"] == {"trigger_kwargs": {"go": {"page": 3}}}


def test_self_skipping_task_does_not_cascade(trigger_manager: TriggerManager) -> None:
    """The instance is skipped, and what waits for it does not begin."""
    run(trigger_manager, SelfSkippingTask.name)
    assert trigger_manager.storage["t_it#0"].status == "skipped"
    assert "t_next#0" not in trigger_manager.storage


def test_self_skipping_task_cascades_on_request(trigger_manager: TriggerManager) -> None:
    """With ``cascade`` what waits for it receives the result that was given."""
    run(trigger_manager, SelfSkippingTask.name, skip={"cascade": True, "result": {"points": 0}})
    assert trigger_manager.storage["t_it#0"].status == "skipped"
    assert trigger_manager.storage["t_next#0"].kwargs == {"t_it": {"points": 0}}


def test_self_retrying_task_retries_once(trigger_manager: TriggerManager) -> None:
    """The first instance is replayed, the second returns what it received."""
    run(trigger_manager, SelfRetryingTask.name)
    assert [instance.status for instance in trigger_manager.storage.instances_of_task("t_it")] == ["replayed", "finished"]
    assert trigger_manager.storage["t_it#0"].metadata == {"retries": 0}
    assert trigger_manager.storage["t_it#1"].result == {"go": {"page": 3}}


def test_self_retrying_task_waits_for_its_cooldown(trigger_manager: TriggerManager, trigger_clock: MovableClock) -> None:
    """Each of two cooldowns of a minute ends when the clock has moved by a minute, and not before."""
    run(trigger_manager, SelfRetryingTask.name, retry={"times": 2, "cooldown": 60})
    seen = []
    for seconds in (59, 1, 59, 1):
        trigger_clock.move(seconds)
        seen.append([str(instance.status) for instance in trigger_manager.storage.instances_of_task("t_it")])
    assert seen == [
        ["replayed", "scheduled"],
        ["replayed", "replayed", "scheduled"],
        ["replayed", "replayed", "scheduled"],
        ["replayed", "replayed", "finished"],
    ]


def test_self_retrying_task_may_retry_three_times(trigger_manager: TriggerManager) -> None:
    """Asked for more, the fourth instance fails with ``MaxRetriesExceeded``."""
    run(trigger_manager, SelfRetryingTask.name, retry={"times": 4})
    statuses = [instance.status for instance in trigger_manager.storage.instances_of_task("t_it")]
    assert statuses == ["replayed", "replayed", "replayed", "failed"]
    assert trigger_manager.storage["t_it#3"].metadata["exception"]["type"] == "triggers.errors.MaxRetriesExceeded"


@pytest.mark.parametrize("name", ["PassThruTask", "DevNullTask", "FailingTask", "SelfSkippingTask", "SelfRetryingTask"])
def test_names_are_where_the_tasks_are(name: str) -> None:
    """A task is registered under the name that it is imported by."""
    from triggers import testing

    assert getattr(testing, name).name == f"triggers.testing.{name}"


def test_all_names_are_listed_and_no_others() -> None:
    """What the package offers is what it lists, and a slip is an ``AttributeError``."""
    from triggers import testing

    assert set(testing.__all__) <= set(dir(testing))
    assert all(getattr(testing, name).__name__ == name for name in testing.__all__)
    with pytest.raises(AttributeError, match=r"'triggers\.testing' has no attribute 'PassTruTask'"):
        testing.PassTruTask
