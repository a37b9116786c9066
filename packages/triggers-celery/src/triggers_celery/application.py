"""Which Celery application carries the work, and what it needs to do so."""

from __future__ import annotations

import os
from typing import Any

import celery
from celery import _state
from celery.app.utils import find_app

from triggers.errors import SettingsError
from triggers_celery.bootstep import TriggersStep

VARIABLE = "TRIGGERS_CELERY_APP"

_installed: list[Any] = []


def install(app: Any) -> Any:
    """Makes the workers of a Celery application run the tasks of Triggers; returns the application.

    Call it once, in the module of the application, so that workers and the processes that fire see it. When a worker starts, it
    registers a Celery task for each task that is registered by then, and runs the sweep. Calling it again changes nothing.

    Args:
        app: the ``celery.Celery``.

    Raises:
        SettingsError: it is no Celery application.
    """
    if not isinstance(app, celery.Celery):
        raise SettingsError(f"triggers_celery.install takes a Celery application, install(app); got {app!r}")
    app.steps["worker"].add(TriggersStep)
    if app not in _installed:
        _installed.append(app)
    return app


def find_application(named: Any = None) -> Any:
    """The Celery application of this process.

    The first of: what the setting names, what ``TRIGGERS_CELERY_APP`` names, the one that was installed last, Celery's
    current one.

    Args:
        named: a ``celery.Celery``, or what one writes after ``celery -A``: ``"proj"``, ``"proj.celery:app"``.

    Raises:
        SettingsError: there is none, or it cannot be imported.
    """
    if isinstance(named, celery.Celery):
        return named
    source = 'setting runners={"celery": {"app": …}}'
    if named is None and os.environ.get(VARIABLE):
        named, source = os.environ[VARIABLE], f"environment variable {VARIABLE}"
    if named is not None:
        return _import(named, source)
    if _installed:
        return _installed[-1]
    current = _state.get_current_app()
    if current is _state.default_app and not current.conf.broker_url:
        raise SettingsError(
            "no Celery application was found: import the module that makes it, or name it as after `celery -A`, in "
            f'triggers.configure(runners={{"celery": {{"app": "proj.celery:app"}}}}) or in {VARIABLE}'
        )
    return current


def _import(named: Any, source: str) -> Any:
    if not isinstance(named, str) or not named.strip():
        raise SettingsError(f'{source} is a Celery application or its name, as "proj.celery:app"; got {named!r}')
    try:
        found = find_app(named)
    except Exception as error:
        raise SettingsError(f"{source}: {named!r} cannot be imported: {type(error).__name__}: {error}") from error
    if not isinstance(found, celery.Celery):
        raise SettingsError(f"{source}: {named!r} is no Celery application but {found!r}")
    return found
