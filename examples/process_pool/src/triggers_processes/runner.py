"""The runner: what the process that fires does."""

from __future__ import annotations

import logging
import multiprocessing
import os
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from triggers.errors import SettingsError
from triggers.runners import BaseTaskRunner, Delivery
from triggers.settings import get_settings
from triggers.storages.memory import MemoryStore
from triggers_processes import child

_log = logging.getLogger("triggers.runners.processes")

Messages = list[dict[str, Any]]


class ProcessPoolTaskRunner(BaseTaskRunner):
    """Performs attempts in processes of their own, for works that keep a processor busy.

    It promises little, and need not: a process that dies takes the deliveries of its pool with it, and the sweep, which runs
    beside this runner, has lost attempts run again and delivers the others anew.

    Args:
        processes: how many works run at once; by default as many as there are processors.
    """

    api_version = 1
    runs_here = True

    def __init__(self, *arguments: Any, processes: int | None = None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        if processes is not None and (type(processes) is not int or processes < 1):
            raise SettingsError(f'setting runners={{"processes": {{"processes": …}}}} is a number, 1 or more; got {processes!r}')
        self.processes = processes or os.cpu_count() or 1
        self._begin()

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._pool: ProcessPoolExecutor | None = None
        self._under_way: set[Future[Messages]] = set()
        self._closed = False

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """A task says nothing but the runner's key."""
        if options:
            raise SettingsError(f"the runner 'processes' takes no options; got {', '.join(options)}")

    def deliver(self, delivery: Delivery) -> None:
        """Gives the attempt to a free process, or queues it."""
        self.check_options(delivery.options)
        if delivery.storage is not None and isinstance(delivery.storage.store, MemoryStore):
            raise SettingsError("sessions in memory are seen by one process alone; use a storage that processes share")
        self._submit(delivery.message())

    def join_all(self, timeout: float | None = None) -> bool:
        """Waits for all works and what they start; returns whether nothing is left."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._under_way, timeout)

    def close(self) -> None:
        """Drops what has not started (it stays in the storage) and lets what runs end, ``shutdown_timeout`` at most."""
        with self._changed:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)
            self.join_all(get_settings().shutdown_timeout)

    def after_fork(self) -> None:
        """Begins anew: the pool is the parent's, which this process must not close."""
        self._inherited = self._pool
        self._begin()

    def _submit(self, message: dict[str, Any]) -> None:
        with self._changed:
            if self._closed:
                return
            try:
                future = self._usable_pool().submit(child.perform, message)
            except BrokenProcessPool:
                self._pool = None
                future = self._usable_pool().submit(child.perform, message)
            self._under_way.add(future)
        future.add_done_callback(self._done)

    def _done(self, future: Future[Messages]) -> None:
        """Delivers what the work has started, before it counts as done."""
        try:
            if not future.cancelled():
                for message in future.result():
                    self._submit(message)
        except BrokenProcessPool:
            _log.warning("a process of the pool has died; the sweep will recover what was lost")
        except Exception:
            _log.exception("an attempt could not be performed; the sweep will deliver it again")
        finally:
            with self._changed:
                self._under_way.discard(future)
                self._changed.notify_all()

    def _usable_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            self._pool = self._make_pool()
        return self._pool

    def _make_pool(self) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(
            self.processes,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=child.begin,
            initargs=(child.settings_for_children(),),
        )
