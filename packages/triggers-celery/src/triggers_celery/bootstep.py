"""What a Celery worker does for Triggers beside its work: it knows the tasks, and it sweeps."""

from __future__ import annotations

import logging
from typing import Any

from celery import bootsteps

from triggers.errors import SettingsError, StorageError
from triggers.process import get_process
from triggers.settings import get_settings
from triggers.storages import Want, storage_backends
from triggers_celery.termination import watch_for_termination
from triggers_celery.works import register_works

_log = logging.getLogger("triggers.runners.celery")


class TriggersStep(bootsteps.StartStopStep):  # type: ignore[misc]
    """Registers the tasks before the pool starts, and runs the sweep in the worker's main process while the worker runs.

    It is the first to stop, so a worker that shuts down takes up nothing new while it lets running work end.
    """

    requires = {"celery.worker.components:Pool"}

    def __init__(self, parent: Any, **options: Any) -> None:
        register_works(parent.app)
        watch_for_termination()
        _warm_up()
        super().__init__(parent, **options)

    def start(self, parent: Any) -> None:
        """Starts the sweep, unless ``sweep_interval`` is 0."""
        process = get_process()
        for key in (get_settings().storage, *_swept()):
            process.use(storage_backends.get(key, "sweep"))
        process.sweeper.start()

    def stop(self, parent: Any) -> None:
        """Ends the sweep."""
        get_process().sweeper.stop()

    terminate = stop


def _warm_up() -> None:
    """Loads what the storage needs before the pool forks: its processes share it, and the first work does not wait for it."""
    try:
        storage_backends.open_store(get_settings().storage).load("warm-up", Want())
    except StorageError as error:
        _log.warning("the storage does not answer yet: %s", error)


def _swept() -> tuple[str, ...]:
    """The keys of the storages that are swept beside the configured one."""
    keys = get_settings().runners.get("celery", {}).get("sweep", ())
    if isinstance(keys, str) or not all(isinstance(key, str) for key in keys):
        raise SettingsError(f'setting runners={{"celery": {{"sweep": …}}}} is a list of keys of storages, got {keys!r}')
    return tuple(keys)
