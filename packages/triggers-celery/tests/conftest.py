"""What the tests of the Celery runner share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import celery
import pytest

from triggers.process import forget_shared_stores, get_process
from triggers.runners import Delivery
from triggers.settings import configure, reset
from triggers.tasks import registered
from triggers_celery import CeleryTaskRunner, application

Deliver = Callable[..., Delivery]


@pytest.fixture(autouse=True)
def _clean_process() -> Iterator[None]:
    """Sessions in memory; no application installed; settings, tasks and stores as they were before."""
    names = set(registered._bodies)
    installed = list(application._installed)
    application._installed.clear()
    reset()
    configure(storage="memory", runner="celery")
    yield
    get_process().close()
    forget_shared_stores()
    reset()
    application._installed[:] = installed
    for name in set(registered._bodies) - names:
        registered.remove(name)


@pytest.fixture
def app() -> celery.Celery:
    """A Celery application that nobody else knows, with a broker that nobody serves."""
    made = celery.Celery("private", set_as_current=False)
    made.conf.update(broker_url="redis://127.0.0.1:1/0")
    return made


@pytest.fixture
def runner_of() -> Iterator[Callable[..., CeleryTaskRunner]]:
    """Makes runners with options; they perform nothing."""
    made: list[CeleryTaskRunner] = []

    def make(**options: Any) -> CeleryTaskRunner:
        made.append(CeleryTaskRunner(lambda delivery: None, lambda: datetime.now(UTC), **options))
        return made[-1]

    yield make
    for runner in made:
        runner.close()


@pytest.fixture
def delivery() -> Deliver:
    """Makes deliveries."""

    def make(run: str = "survey.score", name: str = "t_score#0", attempt: int = 1, **fields: Any) -> Delivery:
        return Delivery(
            "memory", "applicant:42", name, attempt, run, fields.pop("using", "celery"), fields.pop("not_before", None)
        )

    return make
