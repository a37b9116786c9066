"""Connections of one server: where they come from, and what their failures mean."""

from __future__ import annotations

import contextlib
from collections import deque
from typing import Any

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from triggers_redis.commands import NotRun, ReplyLost


class Connections:
    """Lends connections of a redis-py pool to one thread at a time.

    Args:
        pool: where they come from.
        keep: whether they stay at hand between two uses: the way through the pool costs as much as all else that a client
            does for a short command. Not for pools whose owner counts on getting them back.
    """

    def __init__(self, pool: Any, *, keep: bool) -> None:
        self._pool = pool
        self._keep = keep
        self._at_hand: deque[Any] = deque()

    def take(self) -> Any:
        """A connection that is open and on which no reply is outstanding.

        Raises:
            NotRun: none could be made.
        """
        while self._at_hand:
            try:
                connection = self._at_hand.pop()
            except IndexError:  # another thread was faster
                break
            if _is_quiet(connection):
                return connection
            self.give_back(connection, in_step=False)
        try:
            return self._pool.get_connection()
        except (RedisError, OSError) as error:
            raise NotRun(error, hopeless=isinstance(error, AuthenticationError)) from error

    def give_back(self, connection: Any, in_step: bool) -> None:
        """Takes a connection back; one that is not in step with the server's replies is closed."""
        if not in_step:
            connection.disconnect()
        if in_step and self._keep:
            self._at_hand.append(connection)
        else:
            self._pool.release(connection)

    def close(self) -> None:
        """Closes those that nobody uses. One that is closed under a thread fails there with a ``TypeError`` from its socket."""
        while self._at_hand:
            with contextlib.suppress(IndexError):  # another thread was faster
                self.give_back(self._at_hand.pop(), in_step=False)
        self._pool.disconnect(inuse_connections=False)


def send(connection: Any, request: bytes) -> None:
    """Sends commands.

    Raises:
        NotRun: the server asked for a new connection, and refused it.
        ReplyLost: it may have got them, or a part.
    """
    try:
        connection.send_packed_command([request])
    except ResponseError as error:  # from a health check, or from connecting anew
        raise NotRun(error) from error
    except (RedisError, OSError) as error:
        raise ReplyLost(error) from error


def receive(connection: Any) -> Any:
    """The next reply, which may be a ``ResponseError``.

    Raises:
        NotRun: the server answered that it runs nothing.
        ReplyLost: there is none.
    """
    try:
        return connection.read_response(disable_decoding=True)
    except ReadOnlyError as error:
        connection.disconnect()  # the name may lead to another server by now
        return error
    except ResponseError as error:
        return error
    except (BusyLoadingError, AuthenticationError, AuthorizationError) as error:
        raise NotRun(error, hopeless=not isinstance(error, BusyLoadingError)) from error
    except (RedisError, OSError) as error:
        if isinstance(error.__context__, ReadOnlyError):  # so says a connection that a Sentinel gave
            raise NotRun(error.__context__) from error
        raise ReplyLost(error) from error


def _is_quiet(connection: Any) -> bool:
    try:
        return not connection.can_read()
    except (RedisError, OSError):
        return False
