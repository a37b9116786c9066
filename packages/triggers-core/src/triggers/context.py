"""What a body knows and can do while it runs."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from triggers.codec import check_json, encode
from triggers.config import MAX_SECONDS
from triggers.errors import InvalidKwargs, UnserializableKwargs
from triggers.instance import TaskInstance
from triggers.typed import as_type, filter_kwargs

if TYPE_CHECKING:
    from triggers.manager import TriggerManager

T = TypeVar("T")


class Skip(BaseException):
    """Ends a body: its instance becomes skipped. Raised by ``context.skip``."""

    def __init__(self, cascade: bool, result: Mapping[str, Any] | None) -> None:
        super().__init__("the work skips itself")
        self.cascade = cascade
        self.result = result


class Retry(BaseException):
    """Ends a body: its instance is replayed. Raised by ``context.retry``."""

    def __init__(
        self,
        cooldown: float,
        replacement_kwargs: Mapping[str, Mapping[str, Any]] | None,
        metadata: Mapping[str, Any] | None,
    ) -> None:
        super().__init__("the work asks to be tried again")
        self.cooldown = cooldown
        self.replacement_kwargs = replacement_kwargs
        self.metadata = metadata


class BodyScope:
    """Which work a manager fires for: its fires get event ids from the instance and the number of the call (R13)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._calls = itertools.count()

    def next_event_id(self) -> str:
        """The id of the next fire: the same for each attempt that fires in the same order."""
        return f"{self.name}/{next(self._calls)}"


class TaskContext:
    """Given to a body when it runs.

    Attributes:
        manager: the manager of the session; what is fired through it gets event ids of its own, so that a repeated attempt does
        not
            fire twice.
        task_instance: the instance, as it was when the attempt started.
        trigger_kwargs: ``{trigger: kwargs}``, the task's ``withParams`` with the fired kwargs over them (R11).
    """

    def __init__(
        self,
        manager: TriggerManager,
        task_instance: TaskInstance,
        trigger_kwargs: dict[str, Any],
        renew: Callable[[], None],
        lost: Callable[[], bool],
    ) -> None:
        self.manager = manager
        self.task_instance = task_instance
        self.trigger_kwargs = trigger_kwargs
        self._renew = renew
        self._lost = lost
        self.log_level = 0
        self.log_context: dict[str, Any] = {}

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return self.task_instance.attempt

    @property
    def idempotency_key(self) -> str:
        """The same for all attempts of this instance, and for no other: hand it to a service that must not do things twice."""
        instance = self.task_instance
        return f"{_part(self.manager.uid)}/{_part(instance.name)}/{instance.created_at:%Y%m%dT%H%M%S.%fZ}"

    @property
    def lost(self) -> bool:
        """Whether this attempt was superseded or cancelled, as far as the heartbeat knows: stop, your report will be refused."""
        return self._lost()

    def heartbeat(self) -> None:
        """Renews the lease now; the worker's heartbeat does so by itself.

        Raises:
            StaleAttempt: the attempt was superseded or cancelled; stop.
        """
        self._renew()

    def fire(self, trigger: str, kwargs: Mapping[str, Any] | None = None, **options: Any) -> Any:
        """Fires a trigger in this session: ``context.manager.fire``."""
        return self.manager.fire(trigger, kwargs, **options)

    def skip(self, *, cascade: bool = False, result: Mapping[str, Any] | None = None) -> NoReturn:
        """Ends the body here; the instance becomes skipped, and with ``cascade`` the task's name fires with ``result``."""
        raise Skip(cascade, result)

    def retry(
        self,
        *,
        cooldown: float = 0.0,
        replacement_kwargs: Mapping[str, Mapping[str, Any]] | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> NoReturn:
        """Ends the body here and has the task tried again as a new instance (R21).

        Args:
            cooldown: seconds to wait.
            replacement_kwargs: ``{trigger: kwargs}`` in place of all that was fired; ``withParams`` stay.
            metadata: kept with the instance that ends here.
        """
        if type(cooldown) not in (int, float) or not 0 <= cooldown <= MAX_SECONDS:
            raise InvalidKwargs(f"cooldown is a number of seconds from 0 to {MAX_SECONDS:.0f}, got {cooldown!r}")
        raise Retry(cooldown, replacement_kwargs, metadata)

    def kwargs_as(self, trigger: str, kind: type[T]) -> T:
        """The kwargs of a trigger as a msgspec Struct, a dataclass, a pydantic model, or any type that msgspec knows.

        Raises:
            InvalidKwargs: they do not fit; names the trigger and the field.
        """
        return as_type(self.trigger_kwargs, trigger, kind)

    def filter_kwargs(self, filters: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The kwargs filtered by phx-filters: ``{"page3": {"answer": f.Required | f.Unicode}}``.

        Raises:
            ImportError: phx-filters is not installed.
            InvalidKwargs: something is invalid; names each trigger and field.
        """
        return filter_kwargs(self.trigger_kwargs, filters)

    @contextmanager
    def get_logger_context(self) -> Iterator[logging.Logger]:
        """A logger whose highest level, with its message and ``extra={"context": {...}}``, is kept with the instance.

        What is logged also goes to the loggers of the process as ``triggers.task.<work>``.
        """
        logger = logging.Logger("triggers.task", level=1)  # noqa: LOG001 - one per context: works in parallel share nothing
        handler = _Keeper(self, logging.getLogger(f"triggers.task.{self.task_instance.run}"))
        logger.addHandler(handler)
        try:
            yield logger
        finally:
            logger.removeHandler(handler)


class _Keeper(logging.Handler):
    """Keeps the first record of the highest level, and hands all to the process's own logger, whose level decides there."""

    def __init__(self, context: TaskContext, logger: logging.Logger) -> None:
        super().__init__()
        self._context = context
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno > self._context.log_level:
            self._context.log_level = record.levelno
            self._context.log_context = {
                "message": text_of(record, logging.LogRecord.getMessage),
                "level": record.levelname,
                **storable(getattr(record, "context", {})),
            }
        record.name = self._logger.name
        if self._logger.isEnabledFor(record.levelno):
            self._logger.handle(record)


def _part(name: str) -> str:
    """The name as one part of a key whose parts are joined by slashes."""
    return name.replace("%", "%25").replace("/", "%2F")


def storable(values: Any) -> dict[str, Any]:
    """The values that are JSON as they are, the others as text: context must never make a report fail."""
    if not isinstance(values, Mapping):
        return {"context": text_of(values, repr)}
    kept: dict[str, Any] = {}
    for key, value in values.items():
        try:
            check_json(value, "context")
            fits = len(encode(value)) <= MAX_TEXT
        except UnserializableKwargs:
            fits = False
        kept[text_of(key)] = value if fits else text_of(value, repr)
    return kept


def text_of(value: Any, make: Callable[[Any], str] = str) -> str:
    """The text of anything, storable: also of an object that fails to make one."""
    try:
        return storable_text(make(value))
    except Exception as error:
        return f"{type(value).__qualname__}: its text cannot be made: {type(error).__name__}"


MAX_TEXT = 20_000


def storable_text(text: str) -> str:
    """The text without what not every store keeps, and cut in the middle where it is very long."""
    clean = text.encode("utf-8", "replace").decode("utf-8").replace("\0", "\\0")
    if len(clean) <= MAX_TEXT:
        return clean
    return f"{clean[: MAX_TEXT // 2]}\n… cut …\n{clean[-MAX_TEXT // 2 :]}"
