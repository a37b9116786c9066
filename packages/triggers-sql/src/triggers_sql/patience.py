"""PostgreSQL connections on which an answer is not waited for endlessly: psycopg itself has no limit for that."""

from __future__ import annotations

import select
from collections.abc import Generator
from typing import Any

import psycopg

_READABLE, _WRITABLE = 1, 2
"""What psycopg's steps ask for and are told, as bits."""


class Silent(psycopg.OperationalError):
    """The server has not sent a byte for as long as was to be waited."""


def patient_connection(seconds: float) -> type[psycopg.Connection[Any]]:
    """A class of connections that raise ``Silent`` when the server says nothing for so long after a question."""

    class Patient(psycopg.Connection[Any]):
        def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:
            return _run(gen, self.pgconn.socket, seconds)

    return Patient if hasattr(select, "poll") else psycopg.Connection[Any]


def _run(steps: Generator[Any, Any, Any], socket: int, seconds: float) -> Any:
    """Runs the steps of an operation of psycopg, each when the socket is ready for it."""
    try:
        wanted = int(next(steps))
        poll = select.poll()
        poll.register(socket, _events(wanted))
        while True:
            found = poll.poll(seconds * 1000)
            if not found:
                steps.close()
                raise Silent(f"the server has not answered within {seconds:g} s")
            asked, wanted = wanted, int(steps.send(_ready(found[0][1])))
            if asked != wanted:
                poll.modify(socket, _events(wanted))
    except StopIteration as end:
        return end.value


def _events(wanted: int) -> int:
    return (select.POLLIN if wanted & _READABLE else 0) | (select.POLLOUT if wanted & _WRITABLE else 0)


def _ready(events: int) -> int:
    # An error or a hang-up is found out by reading.
    return (_WRITABLE if events & select.POLLOUT else 0) | (_READABLE if events & ~select.POLLOUT else 0)
