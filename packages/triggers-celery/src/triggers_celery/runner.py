"""The runner ``celery``: attempts are performed by the workers of a Celery application."""

from __future__ import annotations

import re
import threading
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from triggers.errors import SettingsError
from triggers.runners import BaseTaskRunner, Delivery, RunnerCapability
from triggers.runners.inline import InlineTaskRunner
from triggers.storages import storage_backends
from triggers.storages.memory import MemoryStore
from triggers_celery.application import find_application
from triggers_celery.options import check_options
from triggers_celery.publishing import Publisher
from triggers_celery.tasks import sending_options
from triggers_celery.works import eager_perform, registered_work

_NAMESPACE = uuid.UUID("4f7ba1c5-92c5-4a5e-8ad3-6c2dd5b6a3f0")
_READABLE = 100


class CeleryTaskRunner(BaseTaskRunner):
    """Sends each attempt to the Celery task of the work's name; that process needs the bodies, this one does not.

    Args:
        app: the Celery application or what one writes after ``celery -A``; else it is searched for, see
            ``triggers_celery.application.find_application``.
        timeout: how long, in seconds, one step of talking to the broker may take.
        longest_countdown: cooldowns up to so many seconds are waited for in a worker's memory (a Celery countdown); longer
            ones end with a sweep. 0: all of them do.
        sweep: keys of storages that the workers sweep beside the configured one.
    """

    api_version = 1
    capabilities = RunnerCapability.DELAYS | RunnerCapability.PRIORITIES | RunnerCapability.AT_LEAST_ONCE

    def __init__(
        self,
        perform: Callable[[Delivery], None],
        clock: Callable[[], datetime],
        *,
        app: Any = None,
        timeout: float = 4.0,
        longest_countdown: float = 30.0,
        sweep: Iterable[str] = (),
    ) -> None:
        super().__init__(perform, clock, app=app, timeout=timeout, longest_countdown=longest_countdown, sweep=sweep)
        self._timeout = _number("timeout", timeout, above=0)
        self._longest_countdown = _number("longest_countdown", longest_countdown)
        self._lock = threading.Lock()
        self._publisher: Publisher | None = None
        self._inline = InlineTaskRunner(self._perform_eagerly, clock)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """Accepts the options of a task's ``using``.

        Raises:
            SettingsError: one is unknown or has a wrong value.
        """
        check_options(options)

    @property
    def publisher(self) -> Publisher:
        """What sends, made at the first use.

        Raises:
            SettingsError: no Celery application was found.
        """
        if self._publisher is None:
            with self._lock:
                if self._publisher is None:
                    self._publisher = Publisher(find_application(self.options["app"]), self._timeout)
        return self._publisher

    def deliver(self, delivery: Delivery) -> None:
        """Sends the attempt to the broker, or performs it here where Celery is set to be eager (``task_always_eager``)."""
        options = {**sending_options(delivery.run), **check_options(delivery.options)}
        publisher = self.publisher
        delay = _seconds_until(delivery.not_before, self.clock())
        eager = publisher.app.conf.task_always_eager
        if delay > (0 if eager else self._longest_countdown):
            return
        if eager:
            self._inline.deliver(delivery)
            return
        _check_found_by_workers(delivery)
        if delay:
            options["countdown"] = delay
        publisher.send(delivery.run, delivery.message(), task_id_of(delivery), **options)

    def probe(self) -> None:
        """Connects to the broker once, unless Celery is set to be eager.

        Raises:
            RunnerUnavailable: it does not answer.
            SettingsError: no Celery application was found.
        """
        if not self.publisher.app.conf.task_always_eager:
            self.publisher.probe()

    def close(self) -> None:
        """Closes the connections to the broker; workers go on."""
        if self._publisher is not None:
            self._publisher.close()

    def after_fork(self) -> None:
        """Makes connections of its own."""
        self._lock = threading.Lock()
        if self._publisher is not None:
            self._publisher.after_fork()

    def _perform_eagerly(self, delivery: Delivery) -> None:
        work = registered_work(self.publisher.app, delivery.run)
        performing = eager_perform.set(lambda _: self.perform(delivery))
        try:
            work.apply(kwargs=delivery.message(), task_id=task_id_of(delivery), throw=True)
        finally:
            eager_perform.reset(performing)


def task_id_of(delivery: Delivery) -> str:
    """The id of the Celery task: readable at its beginning, and the same for every delivery of this attempt, and for no other."""
    name = re.sub(r"[^\w.#-]", "_", delivery.name, flags=re.ASCII)
    return f"{name[:_READABLE]}.{delivery.attempt}-{uuid.uuid5(_NAMESPACE, delivery.identifier)}"


def _check_found_by_workers(delivery: Delivery) -> None:
    storage = delivery.storage
    if storage is None:
        return
    if isinstance(storage.store, MemoryStore):
        raise SettingsError(
            f"session {delivery.uid!r} is kept in the memory of this process, where no Celery worker finds it; use a storage "
            "that they share (sql, redis), or task_always_eager in tests"
        )
    if storage.store is not storage_backends.open_store(delivery.storage_key):
        raise SettingsError(
            f"session {delivery.uid!r} is kept in a storage that was opened with options of its own, and a Celery worker finds "
            "storages by their keys alone: say in the settings how to reach it, "
            f"storages={{{delivery.storage_key!r}: {{…}}}}, and open it without options"
        )


def _seconds_until(at: datetime | None, now: datetime) -> float:
    return 0.0 if at is None else max((at - now).total_seconds(), 0.0)


def _number(name: str, value: Any, *, above: float | None = None) -> float:
    if type(value) not in (int, float) or value < 0 or value == above:
        expected = "seconds, more than 0" if above == 0 else "seconds, 0 or more"
        raise SettingsError(f'setting runners={{"celery": {{{name!r}: …}}}} is {expected}; got {value!r}')
    return float(value)
