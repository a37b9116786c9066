"""A broker that is down: fires succeed and warn, and the works run within the redelivery time after it is back."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.runners.celery_workers import application, worker
from tests.servers.client import OwnServer
from triggers.instance import Status
from triggers.process import forget_shared_stores, get_process
from triggers.settings import configure, reset
from triggers.storages import storage_backends
from triggers.testing.conformance import works
from triggers.testing.conformance.runner_kit import Trial

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]
REDELIVERY, FIRES, LATEST = 4.0, 5, 60.0
"""``LATEST`` is the redelivery time and what a worker on a loaded machine takes to find its broker again."""


@pytest.fixture(params=["redis", "amqp"])
def broker(request: pytest.FixtureRequest, own_server: Callable[..., OwnServer]) -> OwnServer:
    """A broker that the test may stop."""
    return own_server(str(request.param))


@pytest.fixture(params=[False, True], ids=["acks early", "acks late"])
def conf(request: pytest.FixtureRequest, broker: OwnServer) -> Mapping[str, Any]:
    """Celery's configuration."""
    return {"broker_url": broker.url, "task_acks_late": request.param, "broker_connection_max_retries": None}


@pytest.fixture
def settings(conf: Mapping[str, Any], tmp_path: Path) -> Iterator[Mapping[str, Any]]:
    """The settings of Triggers, in force here; the sessions lie in SQLite, away from the broker."""
    merged = {
        "storage": "sql",
        "storages": {"sql": {"url": f"sqlite:///{tmp_path / 'triggers.db'}"}},
        "runner": "celery",
        "runners": {"celery": {"app": application(conf)}},
        "tasks": [works.MODULE],
        "redeliver_after": REDELIVERY,
        "sweep_interval": 0.5,
        "lease": 60.0,
    }
    reset()
    storage_backends.open_store(configure(**merged).storage).setup()
    yield merged
    get_process().close()
    forget_shared_stores()
    reset()


def test_r28_a_broker_that_was_down(
    broker: OwnServer, conf: Mapping[str, Any], settings: Mapping[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What was fired meanwhile stays scheduled, and is run, each once, by the worker that lived through it."""
    trial = Trial(get_process(), "celery", tmp_path / "notes", sweeps=True)
    with worker(tmp_path, conf, settings, "-c", "2") as running:
        before = trial.run(works.NOTE)
        trial.resolved(before, patience=LATEST)
        broker.kill()
        with caplog.at_level(logging.WARNING, "triggers"):
            meanwhile = [trial.run(works.NOTE) for _ in range(FIRES)]
        for manager in meanwhile:
            assert f"runner 'celery' could not take t#0 of session '{manager.uid}'" in caplog.text
        time.sleep(REDELIVERY)
        assert [manager.storage["t#0"].status for manager in meanwhile] == [Status.SCHEDULED] * FIRES
        broker.start()
        for manager in meanwhile:
            instance = trial.resolved(manager, patience=LATEST)
            assert (instance.status, instance.attempt) == (Status.FINISHED, 1)
        after = trial.run(works.NOTE)
        trial.resolved(after, patience=LATEST)
        assert running.process.poll() is None
    for manager in (before, *meanwhile, after):
        assert trial.noted(manager) == [("t#0", 1, "ran")]


def test_r26_what_the_broker_lost_is_sent_again(
    broker: OwnServer, conf: Mapping[str, Any], settings: Mapping[str, Any], tmp_path: Path
) -> None:
    """Messages that the broker took and forgot, as one that keeps nothing on disk does, are sent again after that time."""
    import kombu

    trial = Trial(get_process(), "celery", tmp_path / "notes", sweeps=True)
    managers = [trial.run(works.NOTE) for _ in range(FIRES)]
    with kombu.Connection(broker.url) as connection:
        assert connection.default_channel.queue_purge("celery") == FIRES
    with worker(tmp_path, conf, settings, "-c", "2"):
        for manager in managers:
            assert trial.resolved(manager, patience=LATEST).attempt == 1
    assert [trial.noted(manager) for manager in managers] == [[("t#0", 1, "ran")]] * FIRES
