"""Runners with one mistake each. ``caught_by`` names the test of the contract that was written for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any, ClassVar

from triggers.errors import SettingsError
from triggers.manager import get_manager
from triggers.runners import Delivery, RunnerCapability
from triggers.runners.threads import ThreadingTaskRunner
from triggers.storages import storage_backends
from triggers.tasks import registered
from triggers.testing.conformance import works


class WithoutClaim(ThreadingTaskRunner):
    """Runs each delivery's body by itself, and reports by hand."""

    caught_by = "test_rn2_an_attempt_that_is_delivered_again_runs_once"

    def __init__(self, perform: Any, *arguments: Any, **options: Any) -> None:
        def run(delivery: Delivery) -> None:
            storage = storage_backends.get(delivery.storage_key, delivery.uid)
            if delivery.name in storage:
                writing = {"uid": delivery.uid, "name": delivery.name, "attempt": delivery.attempt}
                _note(storage[delivery.name], writing)
            perform(delivery)

        super().__init__(run, *arguments, **options)


def _note(instance: Any, writing: dict[str, Any]) -> None:
    import json
    from pathlib import Path

    with Path(instance.with_params["kit"]["file"]).open("a") as file:
        file.write(json.dumps({**writing, "event": "ran", "at": time.time()}) + "\n")


class Forgetful(ThreadingTaskRunner):
    """Keeps only the first sixteen of what waits, for good."""

    caught_by = "test_rn1_many_at_once"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._heard: dict[str, int] = {}

    def deliver(self, delivery: Delivery) -> None:
        heard = self._heard.setdefault(delivery.uid, 0)
        if heard < 16:
            self._heard[delivery.uid] += 1
            super().deliver(delivery)


class Choking(ThreadingTaskRunner):
    """Looks at the instance itself, and its only thread dies of one that is not there."""

    caught_by = "test_rn3_what_nobody_waits_for_ends_at_once"

    def __init__(self, perform: Any, *arguments: Any, **options: Any) -> None:
        dead = threading.Event()

        def choke(delivery: Delivery) -> None:
            try:
                storage_backends.get(delivery.storage_key, delivery.uid)[delivery.name]
            except KeyError:
                dead.set()
            if not dead.is_set():
                perform(delivery)

        super().__init__(choke, *arguments, **options)


class Waiting(ThreadingTaskRunner):
    """Returns from ``deliver`` when the work is done."""

    caught_by = "test_rn4_deliver_returns_soon"

    def deliver(self, delivery: Delivery) -> None:
        self.perform(delivery)


class Impatient(ThreadingTaskRunner):
    """Tells the core that cooldowns are over before they are."""

    caught_by = "test_rn5_a_cooldown_is_waited_for"

    def deliver(self, delivery: Delivery) -> None:
        if delivery.not_before is not None and delivery.storage is not None:
            kept = delivery.storage[delivery.name].with_params
            manager = get_manager(delivery.uid)
            manager.update_configuration({"early": {"after": ["now"], "run": works.NOTE, "withParams": kept}})
            manager.fire("now")
        super().deliver(delivery)


class Mute(ThreadingTaskRunner):
    """Swallows failures: nobody hears of them."""

    caught_by = "test_rn6_a_failure_is_reported"

    def deliver(self, delivery: Delivery) -> None:
        if delivery.run != works.FAIL:
            super().deliver(delivery)


class Leaving(ThreadingTaskRunner):
    """Ends for good when a work exits."""

    caught_by = "test_rn6_a_work_that_exits_fails"

    def deliver(self, delivery: Delivery) -> None:
        super().deliver(delivery)
        if delivery.run == works.EXIT:
            self.join_all()
            self.close()


class Overzealous(ThreadingTaskRunner):
    """Fails what it has no body for."""

    caught_by = "test_rn7_a_work_that_nobody_has_is_left_alone"

    def deliver(self, delivery: Delivery) -> None:
        if not registered.has(delivery.run):
            manager = get_manager(delivery.uid)
            manager.update_instance_status(delivery.name, "running")
            manager.update_instance_status(delivery.name, "failed")
        super().deliver(delivery)


class Literal(ThreadingTaskRunner):
    """Knows only the plain key."""

    caught_by = "test_rn8_a_key_and_an_object_mean_the_same"

    def deliver(self, delivery: Delivery) -> None:
        if isinstance(delivery.using, str):
            super().deliver(delivery)


class Lenient(ThreadingTaskRunner):
    """Checks options when a session is configured, and never again."""

    caught_by = "test_rn8_wrong_options_are_refused"

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        if options:
            raise SettingsError(f"unknown options {', '.join(options)}")


class Busy(ThreadingTaskRunner):
    """Takes one delivery at a time, and thinks to have had those that came meanwhile."""

    caught_by = "test_rn9_threads_that_fire_at_once"

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._had: set[str] = set()
        self._busy = threading.Lock()

    def deliver(self, delivery: Delivery) -> None:
        if delivery.identifier in self._had:
            return
        self._had.add(delivery.identifier)
        if self._busy.acquire(blocking=False):
            time.sleep(0.05)
            super().deliver(delivery)
            self._busy.release()


class Heartless(ThreadingTaskRunner):
    """Performs with a lease that nobody renews."""

    caught_by = "test_rn10_a_long_work_keeps_its_lease"
    patience = 16.0  # twice what a work that keeps its lease takes

    def deliver(self, delivery: Delivery) -> None:
        from triggers.process import get_process

        get_process().heartbeat.beat = lambda store=None: None  # type: ignore[method-assign]
        super().deliver(delivery)

    def close(self) -> None:
        from triggers.process import get_process

        vars(get_process().heartbeat).pop("beat", None)
        super().close()


class Boastful(ThreadingTaskRunner):
    """Promises that what it accepted survives, and keeps it in memory."""

    caught_by = "test_rn12_what_was_accepted_survives_the_process"
    capabilities = RunnerCapability.AT_LEAST_ONCE | RunnerCapability.DELAYS


class Inheriting(ThreadingTaskRunner):
    """Believes that its threads are there after a fork."""

    caught_by = "test_rn13_a_fork_goes_on_by_itself"
    in_memory = True  # else the parent's sweep would do the child's work

    def after_fork(self) -> None:
        pass


class Hasty(ThreadingTaskRunner):
    """Closes without waiting for what runs."""

    caught_by = "test_rn14_close_lets_running_work_end"

    def close(self) -> None:
        self._closed = True


class Vague(ThreadingTaskRunner):
    """Takes everything while what it needs is away, and keeps none of it."""

    caught_by = "test_rn15_an_outage_delays_and_loses_nothing"
    away: ClassVar[bool] = False

    def deliver(self, delivery: Delivery) -> None:
        if not self.away:
            super().deliver(delivery)


RUNNERS: dict[str, Any] = {
    kind.__name__: kind for kind in list(globals().values()) if isinstance(kind, type) and hasattr(kind, "caught_by")
}
