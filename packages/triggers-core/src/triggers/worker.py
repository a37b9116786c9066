"""The worker: one attempt from claim to report."""

from __future__ import annotations

import itertools
import logging
import os
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from triggers import records
from triggers.codec import encode_object
from triggers.context import BodyScope, Retry, Skip, TaskContext, storable, storable_text, text_of
from triggers.engine.attempts import Fail, Failure, Finish, Logged, Report, SkipSelf, Start
from triggers.engine.attempts import Retry as RetryReport
from triggers.engine.session import merged_kwargs
from triggers.errors import (
    InvalidResult,
    LimitExceeded,
    MaxRetriesExceeded,
    SessionTooLarge,
    StaleAttempt,
    StorageError,
    TriggersError,
    UnknownTask,
    UnserializableKwargs,
)
from triggers.heartbeat import Running
from triggers.hooks import get_hooks
from triggers.names import check_name
from triggers.records import Instance
from triggers.runners import Delivery
from triggers.storages import storage_backends
from triggers.storages.base import BaseTriggerStorage
from triggers.tasks import Body, registered

if TYPE_CHECKING:
    from triggers.manager import TriggerManager
    from triggers.process import Process

_log = logging.getLogger("triggers.worker")
_claims = itertools.count(1)
_prefix = os.urandom(6).hex()


def _new_prefix() -> None:
    global _prefix
    _prefix = os.urandom(6).hex()


os.register_at_fork(after_in_child=_new_prefix)


def perform(process: Process, delivery: Delivery) -> None:
    """Runs an attempt if nobody else has started it (R24), and reports how it ended.

    Safe to call with what was delivered before, late, or for a session that is gone. It raises only what is no error of
    the body: a storage that does not answer when the attempt is claimed, and ``KeyboardInterrupt``.
    """
    storage = delivery.storage or storage_backends.get(delivery.storage_key, delivery.uid)
    try:
        body = registered.find(delivery.run)
    except UnknownTask as error:
        _log.warning("%s of session %r is left for other workers: %s", delivery.name, delivery.uid, error)
        return
    claim = f"{_prefix}:{next(_claims)}"
    started = process.runtime.execute(storage, Start(delivery.name, delivery.attempt, claim))
    instance = started.result.instance
    if instance is None:
        _log.debug("%s of session %r is not started: %s", delivery.name, delivery.uid, started.result.refusal)
        return
    process.after(storage, started)
    try:
        manager = process.manager(storage, started.result.manager)
    except TriggersError as error:
        _log.exception("%s of session %r fails: its manager cannot be used here", instance.name, storage.uid)
        process.after(storage, process.runtime.execute(storage, _failure_report(instance, error)))
        return
    _Attempt(process, storage, manager, body, instance).run()


def _failure_report(instance: Instance, error: BaseException) -> Report:
    return Fail(instance.name, describe(error), instance.attempt, instance.claim)


class _Attempt:
    """A claimed attempt."""

    def __init__(
        self, process: Process, storage: BaseTriggerStorage, manager: TriggerManager, body: Body, instance: Instance
    ) -> None:
        self.process = process
        self.storage = storage
        self.manager = manager
        self.body = body
        self.instance = instance
        self.running = Running(storage, instance.name, instance.attempt, instance.claim)
        heartbeat = process.heartbeat
        self.context = TaskContext(
            manager.for_body(BodyScope(instance.name)),
            records.as_task_instance(instance),
            merged_kwargs(instance),
            renew=lambda: heartbeat.renew(self.running),
            lost=lambda: heartbeat.lost(self.running),
        )

    def run(self) -> None:
        """Runs the body and reports; the lease is kept until the report is stored."""
        try:
            self.process.heartbeat.add(self.running)
            self._report(self._call())
        finally:
            self.process.heartbeat.remove(self.running)

    def _call(self) -> Report:
        try:
            result = get_hooks().call_task(self.context, lambda: self.body(self.context))
            return self._finish(result)
        except Skip as skip:
            return self._checked(partial(self._skip, skip))
        except Retry as retry:
            return self._checked(partial(self._retry, retry))
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            return self._fail(error)

    def _finish(self, result: Any) -> Report:
        if result is not None and not isinstance(result, Mapping):
            raise InvalidResult(
                f"the work {self.instance.run!r} returned {type(result).__qualname__}; a result is an object (a dict) or None"
            )
        return Finish(self.instance.name, self._encoded(result, "the result"), *self._identity())

    def _skip(self, skip: Skip) -> Report:
        result = self._encoded(skip.result, "the result of a skip")
        return SkipSelf(self.instance.name, result, skip.cascade, *self._identity())

    def _retry(self, retry: Retry) -> Report:
        kwargs = None
        if retry.replacement_kwargs is not None:
            limit = self.process.settings.max_value_bytes
            kwargs = encode_replacement(retry.replacement_kwargs, limit)
        metadata = {} if retry.metadata is None else _checked_metadata(retry.metadata, self.process.settings.max_value_bytes)
        limit_error = MaxRetriesExceeded(
            f"{self.instance.name} was retried {self.instance.retries} times, max_retries of {self.instance.run!r} "
            f"is {self.body.max_retries}"
        )
        return RetryReport(
            self.instance.name,
            self.body.max_retries,
            describe(limit_error),
            kwargs,
            retry.cooldown,
            *self._identity(),
            metadata=metadata,
        )

    def _checked(self, make: Callable[[], Report]) -> Report:
        try:
            return make()
        except (UnserializableKwargs, ValueError) as error:
            return self._fail(error)

    def _fail(self, error: BaseException) -> Report:
        failure = describe(error)
        kept = failure.exception
        _log.info("%s of session %r failed: %s: %s", self.instance.name, self.storage.uid, kept["type"], kept["message"])
        return Fail(self.instance.name, failure, *self._identity())

    def _identity(self) -> tuple[int, str, Logged]:
        logged = Logged(self.context.log_level, self.context.log_context)
        return self.instance.attempt, self.instance.claim, logged

    def _encoded(self, result: Any, what: str) -> msgspec.Raw:
        return encode_object(result, f"{what} of {self.instance.name}", self.process.settings.max_value_bytes)

    def _report(self, report: Report) -> None:
        """Stores the report; a storage that is away is tried again for a lease's time."""
        self.process.heartbeat.reports(self.running)
        give_up_at = time.monotonic() + self.process.settings.lease
        pause = 0.05
        while True:
            try:
                decision = self.process.execute(self.manager, report)
            except StaleAttempt as error:
                _log.warning("session %r: %s", self.storage.uid, error)
                get_hooks().call(
                    "triggers_report_refused",
                    storage=self.storage,
                    name=self.instance.name,
                    attempt=self.instance.attempt,
                    error=error,
                )
                return
            except (LimitExceeded, SessionTooLarge) as error:
                if isinstance(report, Fail):
                    raise
                report = self._fail(error)
            except StorageError as error:
                if time.monotonic() > give_up_at:
                    _log.exception(
                        "%s of session %r could not report; the sweep will run it again", report.name, self.storage.uid
                    )
                    return
                _log.warning("%s of session %r cannot report yet: %s", report.name, self.storage.uid, error)
                self.process.runtime.pause(pause * self.process.runtime.chance())
                pause = min(2 * pause, 2.0)
            else:
                self._follow(decision)
                return

    def _follow(self, decision: Any) -> None:
        try:
            self.process.after(self.storage, decision)
            self.manager.tell(decision)
        except Exception:
            _log.exception("a hook of the manager of session %r raised; what it was called for stands", self.storage.uid)


def describe(error: BaseException) -> Failure:
    """What a failed instance keeps of an exception (R18), and the names under which a retry policy may list it."""
    kind = type(error)
    exception: dict[str, Any] = {
        "type": f"{kind.__module__}.{kind.__qualname__}",
        "message": text_of(error),
        "traceback": storable_text("".join(traceback.format_exception(error))),
    }
    context = getattr(error, "triggers_context", None)
    if context:
        exception["context"] = storable(context)
    return Failure(exception, type_names(kind))


def type_names(kind: type[BaseException]) -> tuple[str, ...]:
    """The names of an exception type and its bases: in full, by package, and bare: ``requests.Timeout``."""
    names: dict[str, None] = {}
    for base in kind.__mro__:
        if issubclass(base, BaseException):
            module, name = base.__module__, base.__qualname__
            for spelling in (f"{module}.{name}", f"{module.partition('.')[0]}.{name}", name):
                names[spelling] = None
    return tuple(names)


def encode_replacement(kwargs: Any, limit: int) -> dict[str, msgspec.Raw]:
    """Checks and encodes replacement kwargs, ``{trigger: kwargs}``.

    Raises:
        UnserializableKwargs: they are no object of objects, or hold what is no JSON.
    """
    if not isinstance(kwargs, Mapping):
        raise UnserializableKwargs(
            f"replacement kwargs are an object of objects, {{trigger: kwargs}}, got {type(kwargs).__name__}"
        )
    return {
        check_name("trigger", trigger): encode_object(value, f"the replacement kwargs of trigger {trigger!r}", limit)
        for trigger, value in kwargs.items()
    }


def _checked_metadata(metadata: Any, limit: int) -> dict[str, Any]:
    encode_object(metadata, "metadata", limit)
    return dict(metadata)
