"""Celery workers as they live and die: shutdowns, kills, limits, queues, sweeps."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.runners.celery_workers import Worker, application, worker
from tests.servers.plugin import Space
from triggers.instance import Status
from triggers.process import forget_shared_stores, get_process
from triggers.settings import configure, reset
from triggers.storages import storage_backends
from triggers.testing.conformance import works
from triggers.testing.conformance.runner_kit import TIMES, Trial

Start = Callable[..., AbstractContextManager[Worker]]


@pytest.fixture
def conf(redis_space: Space) -> Mapping[str, Any]:
    """Celery's configuration: Redis, under a prefix."""
    return {
        "broker_url": redis_space.url,
        "broker_transport_options": {"global_keyprefix": redis_space.prefix},
        "task_routes": {"trial.routed": {"queue": "special"}},
    }


@pytest.fixture
def settings(conf: Mapping[str, Any], tmp_path: Path) -> Iterator[Mapping[str, Any]]:
    """The settings of Triggers, in force here: SQLite, short times."""
    url = f"sqlite:///{tmp_path / 'triggers.db'}"
    merged = {
        "storage": "sql",
        "storages": {"sql": {"url": url}},
        "runner": "celery",
        "runners": {"celery": {"app": application(conf)}},
        "tasks": [works.MODULE, "tests.runners.celery_tasks"],
        **TIMES,
    }
    reset()
    storage_backends.open_store(configure(**merged).storage).setup()
    yield merged
    get_process().close()
    forget_shared_stores()
    reset()


@pytest.fixture
def trial(settings: Mapping[str, Any], tmp_path: Path) -> Trial:
    """Sessions, and what was run in them."""
    return Trial(get_process(), "celery", tmp_path / "notes", sweeps=True)


@pytest.fixture
def start(conf: Mapping[str, Any], settings: Mapping[str, Any], tmp_path: Path) -> Start:
    """Starts workers with these arguments; keywords change settings."""

    def begin(*arguments: str, name: str = "worker", **changed: Any) -> AbstractContextManager[Worker]:
        return worker(tmp_path, conf, {**settings, **changed}, *(arguments or ("-c", "2")), name=name)

    return begin


def began(trial: Trial, manager: Any) -> bool:
    """Whether the work of a session runs."""
    return any(event == "began" for _, _, event in trial.noted(manager))


@pytest.mark.parametrize("pool", ["prefork", pytest.param("threads", marks=pytest.mark.faults)])
def test_a_warm_shutdown_lets_running_work_report(trial: Trial, start: Start, pool: str) -> None:
    """A worker that is asked to end while a work runs ends when that work has finished and reported."""
    with start("-P", pool, "-c", "2") as one:
        manager = trial.run(works.SLEEP, seconds=2)
        trial.until("the work has not begun", partial(began, trial, manager))
        assert one.stop() == 0
        instance = manager.storage["t#0"]
        assert (instance.status, instance.attempt) == (Status.FINISHED, 1)
    assert trial.noted(manager) == [("t#0", 1, "began"), ("t#0", 1, "ended")]


def test_r18_a_cold_shutdown_fails_nothing(trial: Trial, start: Start) -> None:
    """A worker that ends its processes at once leaves their works running, for the sweep, and does not report them as failed."""
    with start() as one:
        manager = trial.run(works.SLEEP, seconds=20)
        trial.until("the work has not begun", partial(began, trial, manager))
        one.process.send_signal(signal.SIGQUIT)
        one.process.wait(60)
        instance = manager.storage["t#0"]
        assert (instance.status, instance.attempt) == (Status.RUNNING, 1)
        assert "attempt 1 of t#0" in one.said


@pytest.mark.faults
def test_r25_a_killed_worker_is_replaced_by_another(trial: Trial, start: Start) -> None:
    """What ran in a worker that was killed with all its processes is run by the next one, once, after the lease."""
    with start(name="first") as first:
        manager = trial.run(works.SLEEP, seconds=5)
        trial.until("the work has not begun", partial(began, trial, manager))
        first.kill()
    with start(name="second"):
        instance = trial.resolved(manager)
    assert (instance.status, instance.attempt) == (Status.FINISHED, 2)
    assert trial.noted(manager) == [("t#0", 1, "began"), ("t#0", 2, "began"), ("t#0", 2, "ended")]


@pytest.mark.faults
def test_r25_a_stopped_worker_reports_in_vain(trial: Trial, start: Start) -> None:
    """A worker that was stopped past its lease and continued has its report refused; the other worker's counts."""
    with start("-P", "threads", "-c", "1", name="first") as first:
        manager = trial.run(works.SLEEP, seconds=5)
        trial.until("the work has not begun", partial(began, trial, manager))
        first.process.send_signal(signal.SIGSTOP)
        with start(name="second"):
            instance = trial.resolved(manager)
            first.process.send_signal(signal.SIGCONT)
            trial.until("the first has not ended", lambda: len(trial.noted(manager)) == 4)
            trial.until("nothing was refused", lambda: "attempt 1 was superseded" in first.said)
    assert (instance.attempt, manager.storage["t#0"].attempt, manager.storage["t#0"].status) == (2, 2, Status.FINISHED)


def test_r28_what_a_dead_broker_did_not_take_is_swept(trial: Trial, start: Start, settings: Mapping[str, Any]) -> None:
    """What was fired while no broker answered is run by a worker that sweeps, soon; one without a sweep leaves it."""
    dead = application({"broker_url": "redis://127.0.0.1:1/0"})
    configure(runners={"celery": {"app": dead}})
    manager = trial.run(works.NOTE)
    assert manager.storage["t#0"].status is Status.SCHEDULED
    with start(name="without", sweep_interval=0.0):
        time.sleep(3 * TIMES["redeliver_after"])
        assert manager.storage["t#0"].status is Status.SCHEDULED
    configure(runners=settings["runners"])
    with start(name="with"):
        assert trial.resolved(manager).attempt == 1
    assert trial.noted(manager) == [("t#0", 1, "ran")]


@pytest.mark.faults
def test_further_storages_are_swept(trial: Trial, start: Start, settings: Mapping[str, Any], tmp_path: Path) -> None:
    """Sessions in a second storage are recovered too, where ``sweep`` lists its key."""
    archive = {"backend": "sql", "url": f"sqlite:///{tmp_path / 'archive.db'}"}
    dead = application({"broker_url": "redis://127.0.0.1:1/0"})
    storages = {**settings["storages"], "archive": archive}
    configure(storages=storages, runners={"celery": {"app": dead}})
    from triggers import get_manager

    manager = get_manager("archived", storage="archive")
    params = {"kit": {"file": str(trial.file)}}
    manager.update_configuration({"t": {"after": ["go"], "run": works.NOTE, "withParams": params}})
    manager.fire("go")
    with start(storages=storages, runners={"celery": {"sweep": ["archive"]}}):
        assert trial.resolved(manager).attempt == 1


class TestOneWorker:
    """What classes, routes and queues say, with one worker for each test."""

    def test_queues_choose_the_worker(self, trial: Trial, start: Start) -> None:
        """A work that names a queue waits for the worker that serves that queue, and the others do not touch it."""
        using = {"runner": "celery", "queue": "special"}
        special = trial.session({"t": {"after": ["go"], "run": works.NOTE, "using": using}})
        with start("-Q", "celery", "-c", "1", name="ordinary"):
            special.fire("go")
            assert trial.resolved(trial.run(works.NOTE)).status is Status.FINISHED
            assert special.storage["t#0"].status is Status.SCHEDULED
            with start("-Q", "special", "-c", "1", name="special"):
                assert trial.resolved(special).status is Status.FINISHED

    def test_limits_of_a_class_hold(self, trial: Trial, start: Start) -> None:
        """A rate limit spreads works; a soft time limit fails one; a hard one loses the attempt, and the next one runs."""
        with start("-c", "3"):
            limited = trial.session({f"t{number}": {"after": ["go"], "run": "trial.limited"} for number in range(8)})
            patient, killed = trial.run("trial.patient"), trial.run("trial.killed")
            fired = time.time()
            limited.fire("go")
            trial.until("not all eight are resolved", lambda: not limited.storage.get_unresolved_tasks())
            failed = trial.ended(patient, "t#0", lambda instance: instance.status is Status.FAILED)
            again = trial.resolved(killed)
        last = max(each["at"] for each in works.notes(trial.file) if each["uid"] == limited.uid)
        assert last - fired > 3.3, "seven of the eight have to wait for half a second each"
        assert (limited.storage["t0#0"].result or {})["task id"].startswith("t0#0.1-")
        assert failed.metadata["exception"]["type"] == "billiard.exceptions.SoftTimeLimitExceeded"
        assert trial.noted(patient) == [("t#0", 1, "began"), ("t#0", 1, "was told")]
        assert (again.status, again.attempt) == (Status.FINISHED, 2)
        assert trial.noted(killed) == [("t#0", 1, "began"), ("t#0", 2, "began")]


@pytest.mark.faults
@pytest.mark.parametrize("pool", ["prefork", "threads", "gevent"])
def test_r25_a_long_work_under_a_short_lease_runs_once(trial: Trial, start: Start, pool: str) -> None:
    """Twelve seconds of work under a lease of four run once while the worker lives, beside a second worker that sweeps."""
    with start("-P", pool, "-c", "2", name="first"), start("-P", pool, "-c", "2", name="second"):
        manager = trial.run(works.SLEEP, seconds=12)
        instance = trial.resolved(manager)
    assert (instance.status, instance.attempt) == (Status.FINISHED, 1)
    assert trial.noted(manager) == [("t#0", 1, "began"), ("t#0", 1, "ended")]
