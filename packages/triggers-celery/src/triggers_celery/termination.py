"""A worker that is ended in the middle of a work.

Celery ends the processes of its pool (a cold shutdown, a hard time limit, a revoked task) by a signal that raises
``SystemExit`` in whatever runs; with gevent it kills the greenlet (``GreenletExit``). The work has not failed then, its worker
was lost: the attempt must not be reported, and the sweep has its next one run when the lease is over (R25). A ``SystemExit`` of
the body's own is a failure as any other (R18).
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Callable, Generator
from typing import Any

from celery.exceptions import WorkerShutdown, WorkerTerminate

from triggers import TaskContext, hookimpl
from triggers.hooks import get_hooks

_log = logging.getLogger("triggers.runners.celery")

_NAME = "triggers-celery-termination"
_EXIT_CODES = {-(256 - number) for number in signal.valid_signals()}
"""What billiard's signal handler exits with."""


class WorkerEnded(KeyboardInterrupt):
    """Leaves a work without a report; ``cause`` is what Celery raised to end the process."""

    def __init__(self, cause: BaseException) -> None:
        super().__init__("the worker is being ended")
        self.cause = cause


class _Termination:
    @hookimpl(wrapper=True, trylast=True)
    def triggers_call_task(self, context: TaskContext, call: Callable[[], Any]) -> Generator[None, Any, Any]:
        """Tells the end of the worker from a failure of the work."""
        try:
            return (yield)
        except BaseException as error:
            if not _ends_the_worker(error):
                raise
            _log.warning(
                "attempt %d of %s in session %r is cut short, since its worker is being ended; it is run again after its lease",
                context.attempt,
                context.task_instance.name,
                context.manager.uid,
            )
            raise WorkerEnded(error) from error


def _ends_the_worker(error: BaseException) -> bool:
    if isinstance(error, SystemExit):
        return isinstance(error, WorkerShutdown | WorkerTerminate) or error.code in _EXIT_CODES
    greenlet = sys.modules.get("greenlet")
    return greenlet is not None and isinstance(error, greenlet.GreenletExit)


def watch_for_termination() -> None:
    """Has the works of this process looked after; twice is once."""
    hooks = get_hooks()
    if hooks.manager.get_plugin(_NAME) is None:
        hooks.register(_Termination(), _NAME)
