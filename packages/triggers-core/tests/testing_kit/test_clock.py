"""The clock that stands still until it is moved."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

import triggers
from triggers import TaskContext, TriggerManager, task, task_runners
from triggers.runners.inline import InlineTaskRunner
from triggers.testing import MovableClock, isolated


def test_stands_still() -> None:
    """Without being moved it says noon of 1 January 2026, UTC, for ever."""
    clock = MovableClock()
    assert [clock(), clock()] == [datetime(2026, 1, 1, 12, tzinfo=UTC)] * 2


def test_moves_by_all_units_together() -> None:
    """Seconds, minutes, hours and days are added."""
    clock = MovableClock()
    clock.move(1, minutes=2, hours=3, days=4)
    assert clock() == datetime(2026, 1, 5, 15, 2, 1, tzinfo=UTC)


def test_moves_to_a_moment_of_another_zone() -> None:
    """A moment is given in any zone, and told in UTC."""
    clock = MovableClock()
    clock.move_to(datetime(2026, 1, 1, 15, tzinfo=timezone(timedelta(hours=2))))
    assert clock() == datetime(2026, 1, 1, 13, tzinfo=UTC)
    assert clock().tzinfo is UTC


@pytest.mark.parametrize("seconds", [0, -1])
def test_refuses_to_go_back(seconds: float) -> None:
    """Time that would stand still or go back is an error, and the clock stays where it is."""
    clock = MovableClock()
    with pytest.raises(ValueError, match="time only goes forward"):
        clock.move(seconds)
    assert clock() == datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_refuses_a_moment_without_zone() -> None:
    """A moment needs its zone."""
    with pytest.raises(ValueError, match="needs its zone"):
        MovableClock().move_to(datetime(2027, 1, 1))  # noqa: DTZ001


def test_what_is_due_happens_in_its_order(trigger_manager: TriggerManager, trigger_clock: MovableClock) -> None:
    """Moved by an hour at once, five retries of ten minutes each begin at their own times."""
    times = []

    @task("again", max_retries=5)
    def again(context: TaskContext) -> None:
        times.append(trigger_clock().strftime("%H:%M"))
        if len(times) < 6:
            context.retry(cooldown=600)

    trigger_manager.update_configuration({"t_again": {"after": ["go"], "run": "again"}})
    trigger_manager.fire("go")
    trigger_clock.move(hours=1)
    assert times == ["12:00", "12:10", "12:20", "12:30", "12:40", "12:50"]
    assert trigger_clock() == datetime(2026, 1, 1, 13, tzinfo=UTC)


def test_r25_a_lease_runs_out(trigger_manager: TriggerManager, trigger_clock: MovableClock) -> None:
    """An attempt that nobody keeps alive is lost when its lease of 60 seconds has passed, and its next attempt runs."""
    attempts = []

    @task("work")
    def work(context: TaskContext) -> None:
        attempts.append((context.attempt, trigger_clock().strftime("%H:%M:%S")))

    trigger_manager.update_configuration({"t_work": {"after": ["go"], "run": "work", "using": "nobody"}})
    trigger_manager.fire("go")
    trigger_manager.update_instance_status("t_work#0", "running")
    task_runners.register("nobody", InlineTaskRunner)
    trigger_clock.move(59)
    assert attempts == []
    trigger_clock.move(2)
    assert attempts == [(2, "12:01:00")]
    assert trigger_manager.storage["t_work#0"].status == "finished"


def test_r25_work_that_lives_keeps_its_lease(trigger_manager: TriggerManager, trigger_clock: MovableClock) -> None:
    """A body that runs while an hour passes stays the only attempt."""
    go_on, attempts = threading.Event(), []

    @task("long")
    def long(context: TaskContext) -> None:
        attempts.append(context.attempt)
        go_on.wait(60)

    trigger_manager.update_configuration({"t_long": {"after": ["go"], "run": "long"}})
    trigger_manager.fire("go")
    while not attempts:
        pass
    trigger_clock.move(hours=1, wait=False)
    assert trigger_manager.storage["t_long#0"].status == "running"
    go_on.set()
    triggers.join_all()
    assert trigger_manager.storage["t_long#0"].status == "finished"
    assert attempts == [1]


def test_what_nobody_can_serve_does_not_hold_time_up(trigger_manager: TriggerManager, trigger_clock: MovableClock) -> None:
    """An instance without a body is left where it is, however often time passes, until the setting says that it fails."""
    trigger_manager.update_configuration({"t_it": {"after": ["go"], "run": "nobody.has.this"}})
    trigger_manager.fire("go")
    trigger_clock.move(hours=23)
    assert trigger_manager.storage["t_it#0"].status == "scheduled"
    trigger_clock.move(hours=2)
    assert trigger_manager.storage["t_it#0"].status == "failed"


def test_two_clocks_of_two_blocks_do_not_meet() -> None:
    """Moving the clock of a block that has ended moves nothing of the next one."""
    with isolated() as first:
        pass
    with isolated() as second:
        first.clock.move(hours=1)
        assert second.clock() == datetime(2026, 1, 1, 12, tzinfo=UTC)


def test_says_the_time() -> None:
    """In the message of a failed test the clock says where it stands."""
    assert repr(MovableClock()) == "MovableClock(2026-01-01T12:00:00+00:00)"
