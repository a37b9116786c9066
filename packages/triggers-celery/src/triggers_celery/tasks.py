"""Class-based tasks that say in the class how Celery is to treat them."""

from __future__ import annotations

from typing import Any, ClassVar

from triggers.errors import SettingsError
from triggers.tasks import Body, TriggerTask, registered
from triggers_celery.options import check_options

_SENDING = ("queue", "exchange", "routing_key", "priority", "serializer", "compression", "time_limit", "soft_time_limit")
_WORKING = (
    *("rate_limit", "acks_late", "acks_on_failure_or_timeout", "reject_on_worker_lost", "track_started"),
    *("time_limit", "soft_time_limit"),
)


class CeleryTriggerTask(TriggerTask):
    """A class-based task with options of Celery as class attributes; those left ``None`` are as the application sets them.

    ``queue``, ``exchange``, ``routing_key``, ``priority``, ``serializer`` and ``compression`` count where the work is sent, so
    the process that fires must have imported the class; else use ``task_routes``, or the task's ``using``, which is stronger
    than the class.
    """

    abstract: ClassVar[bool] = True

    queue: ClassVar[str | None] = None
    exchange: ClassVar[str | None] = None
    routing_key: ClassVar[str | None] = None
    priority: ClassVar[int | None] = None
    serializer: ClassVar[str | None] = None
    compression: ClassVar[str | None] = None
    time_limit: ClassVar[float | None] = None
    """Seconds after which the worker's process is killed; the attempt is lost, and its next one comes with the sweep."""
    soft_time_limit: ClassVar[float | None] = None
    """Seconds after which ``SoftTimeLimitExceeded`` is raised in the body; unless it is caught, the instance fails."""
    rate_limit: ClassVar[str | int | float | None] = None
    acks_late: ClassVar[bool | None] = None
    acks_on_failure_or_timeout: ClassVar[bool | None] = None
    reject_on_worker_lost: ClassVar[bool | None] = None
    track_started: ClassVar[bool | None] = None

    def __init_subclass__(cls, **arguments: Any) -> None:
        try:
            check_options(_set(cls, _SENDING))
        except SettingsError as error:
            raise SettingsError(f"class {cls.__module__}.{cls.__qualname__}: {error}") from None
        super().__init_subclass__(**arguments)

    @property
    def request(self) -> Any:
        """Celery's own view of what runs, ``request.hostname`` and the like; ``None`` outside of Celery."""
        import celery

        return celery.current_task.request if celery.current_task else None


def working_options(run: str) -> dict[str, Any]:
    """What the class of this work says about how a worker treats it."""
    return _options(registered.find(run), _WORKING)


def sending_options(run: str) -> dict[str, Any]:
    """What the class of this work says about how it is sent, if this process has imported it."""
    return _options(registered.known(run), _SENDING)


def _options(body: Body | None, names: tuple[str, ...]) -> dict[str, Any]:
    target = getattr(body, "target", None)
    if isinstance(target, type) and issubclass(target, CeleryTriggerTask):
        return _set(target, names)
    return {}


def _set(target: type[CeleryTriggerTask], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name in names if (value := getattr(target, name)) is not None}
