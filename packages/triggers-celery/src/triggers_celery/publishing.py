"""Sends messages to the broker, and says within a bounded time whether that went well.

Celery's own pool of connections waits for a broker that is down for as long as it takes. A fire must not: what the broker did
not take stays scheduled, and the sweep delivers it. So connections are made here, with limits of their own.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from contextlib import suppress
from typing import Any

from kombu.exceptions import OperationalError

from triggers.errors import RunnerUnavailable

_log = logging.getLogger("triggers.runners.celery")

_IDLE = 10
"""Connections that are kept for the next message; as many as threads send at once may be open."""


class Publisher:
    """Sends tasks by name through connections of its own. Threads and forked processes may share it.

    Args:
        app: the Celery application.
        timeout: how long, in seconds, one step of talking to the broker may take (to connect, to send, to be confirmed).
    """

    def __init__(self, app: Any, timeout: float) -> None:
        self.app = app
        self.timeout = timeout
        self._idle: deque[Any] = deque()
        self._inherited: list[Any] = []
        self._resting_until = 0.0
        self._last_error = ""

    def send(self, name: str, kwargs: dict[str, Any], task_id: str, **options: Any) -> None:
        """Sends one task; on a connection that was lost since it was last used, once more on a new one.

        A message may arrive twice: the attempt that it delivers starts once.

        Raises:
            RunnerUnavailable: the broker did not take it; after a failure that took long, for as long again without trying.
        """
        began = time.monotonic()
        if began < self._resting_until:
            raise RunnerUnavailable(f"the broker did not answer a moment ago: {self._last_error}")
        used, producer = self._take()
        while True:
            try:
                self._send(producer, name, kwargs, task_id, options)
            except _errors(producer) as error:
                _drop(producer)
                if used:
                    # The other idle ones are as old: each of them could cost the caller another timeout.
                    self.close()
                    used, producer = False, self._connect()
                    continue
                self._last_error = f"{type(error).__name__}: {error}"
                now = time.monotonic()
                self._resting_until = now + (now - began)
                raise RunnerUnavailable(
                    f"the broker {producer.connection.as_uri()} did not take {name!r}: {self._last_error}"
                ) from error
            except BaseException:
                _drop(producer)
                raise
            self._give_back(producer)
            return

    def probe(self) -> None:
        """Connects to the broker, and leaves it again.

        Raises:
            RunnerUnavailable: it does not answer.
        """
        producer = self._connect()
        connection = producer.connection
        try:
            connection.default_channel  # noqa: B018 - making it connects
        except _errors(producer) as error:
            raise RunnerUnavailable(f"the broker {connection.as_uri()} does not answer: {error}") from error
        finally:
            _drop(producer)

    def close(self) -> None:
        """Closes the idle connections."""
        with suppress(IndexError):
            while True:
                _drop(self._idle.pop())

    def after_fork(self) -> None:
        """Leaves the parent's connections alone: to close them would say goodbye in the parent's name."""
        self._inherited.extend(self._idle)
        self._idle = deque()

    def _take(self) -> tuple[bool, Any]:
        try:
            return True, self._idle.pop()
        except IndexError:
            return False, self._connect()

    def _connect(self) -> Any:
        connection = self.app.connection_for_write(connect_timeout=self.timeout)
        connection.transport_options = {
            **connection.transport_options,
            "max_retries": max(len(connection.alt) - 1, 0),
            "interval_start": 0,
            "interval_step": 0,
            "interval_max": 0,
            **self._limits(connection.transport_cls),
        }
        return self.app.amqp.Producer(connection, auto_declare=False)

    def _limits(self, transport: Any) -> dict[str, Any]:
        """What bounds the steps, in the words of the transport; RabbitMQ is asked to confirm that it has a message."""
        if "amqp" in str(transport):
            return {"read_timeout": self.timeout, "write_timeout": self.timeout, "confirm_publish": True}
        if "redis" in str(transport) or "sentinel" in str(transport):
            return {"socket_timeout": self.timeout, "socket_connect_timeout": self.timeout}
        return {}

    def _send(self, producer: Any, name: str, kwargs: dict[str, Any], task_id: str, options: dict[str, Any]) -> None:
        self.app.send_task(
            name,
            kwargs=kwargs,
            task_id=task_id,
            producer=producer,
            ignore_result=True,
            add_to_parent=False,
            retry=False,
            timeout=self.timeout,
            **options,
        )

    def _give_back(self, producer: Any) -> None:
        if len(self._idle) < _IDLE:
            self._idle.append(producer)
        else:
            _drop(producer)


def _errors(producer: Any) -> tuple[type[BaseException], ...]:
    connection = producer.connection
    return (OperationalError, OSError, *connection.connection_errors, *connection.channel_errors)


def _drop(producer: Any) -> None:
    """Lets go of a connection that may be broken, without waiting for its peer."""
    try:
        producer.connection.collect()
    except Exception:
        _log.debug("a connection to the broker could not be closed", exc_info=True)
