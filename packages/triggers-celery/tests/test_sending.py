"""What is sent to the broker, as a consumer sees it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import celery
import kombu
import pytest

from tests.servers.plugin import Space
from triggers.errors import SettingsError
from triggers.settings import configure
from triggers.storages.memory import MemoryStorageBackend
from triggers_celery import CeleryTaskRunner, CeleryTriggerTask
from triggers_celery.runner import task_id_of
from triggers_sql import SqlStorageBackend

Message = tuple[str, dict[str, Any], dict[str, Any], dict[str, Any]]
Take = Callable[[str], Message | None]


@pytest.fixture
def app(redis_space: Space) -> celery.Celery:
    """An application with a broker."""
    made = celery.Celery("private", set_as_current=False)
    made.conf.update(
        broker_url=redis_space.url,
        broker_transport_options={"global_keyprefix": redis_space.prefix},
        task_routes={"media.*": {"queue": "media"}},
    )
    return made


@pytest.fixture
def runner(app: celery.Celery, runner_of: Callable[..., CeleryTaskRunner]) -> CeleryTaskRunner:
    """A runner on it."""
    return runner_of(app=app)


@pytest.fixture
def take(app: celery.Celery) -> Iterator[Take]:
    """Takes a message from a queue: ``(task, kwargs, headers, properties)``."""
    with app.connection_for_read() as connection:

        def get(queue: str) -> Message | None:
            simple = connection.SimpleQueue(kombu.Queue(queue, exchange=queue, routing_key=queue))
            try:
                message = simple.get(block=False)
            except simple.Empty:
                return None
            message.ack()
            return message.headers["task"], message.payload[1], message.headers, message.properties

        yield get


def test_the_message_is_all_that_a_worker_needs(runner: CeleryTaskRunner, take: Take, delivery: Any) -> None:
    """The Celery task has the work's name, the id of the attempt, and names the session; the firing process needs no body."""
    runner.deliver(delivery())
    taken = take("celery")
    assert taken is not None
    name, kwargs, headers, properties = taken
    assert name == "survey.score"
    assert kwargs == {
        "storage": "memory",
        "uid": "applicant:42",
        "name": "t_score#0",
        "attempt": 1,
        "run": "survey.score",
    }
    assert headers["id"] == properties["correlation_id"] == "t_score#0.1-6c630ae3-b7f1-56ae-96e3-3d6370e85a9d"
    assert headers["ignore_result"] is True
    assert (headers["eta"], headers["timelimit"]) == (None, [None, None])
    assert take("celery") is None


def test_the_firing_process_imports_no_work(runner: CeleryTaskRunner, take: Take, delivery: Any) -> None:
    """The modules of the setting ``tasks`` need not even be installed where something is fired."""
    configure(tasks=["no_such_module.tasks"])
    runner.deliver(delivery())
    assert take("celery") is not None


def test_options_of_the_task_reach_the_message(runner: CeleryTaskRunner, take: Take, delivery: Any) -> None:
    """Queue, priority and time limits of ``using`` are those of the message."""
    using = {"runner": "celery", "queue": "gpu", "priority": 3, "soft_time_limit": 10, "time_limit": 20}
    runner.deliver(delivery(using=using))
    taken = take("gpu")
    assert taken is not None
    assert taken[2]["timelimit"] == [20, 10]
    assert taken[3]["priority"] == 3


def test_routes_of_the_application_count(runner: CeleryTaskRunner, take: Take, delivery: Any) -> None:
    """``task_routes`` decides where nothing else does, and ``using`` is stronger."""
    runner.deliver(delivery("media.encode"))
    runner.deliver(delivery("media.encode", using={"runner": "celery", "queue": "gpu"}))
    assert take("media") is not None
    assert take("gpu") is not None
    assert take("media") is None


def test_the_class_of_a_task_counts(runner: CeleryTaskRunner, take: Take, delivery: Any) -> None:
    """What the class says is used for sending, and ``using`` is stronger."""

    class Slow(CeleryTriggerTask):
        name = "films.slow"
        queue = "slow"
        priority = 7

    runner.deliver(delivery("films.slow"))
    runner.deliver(delivery("films.slow", using={"runner": "celery", "priority": 1}))
    taken = [take("slow"), take("slow")]
    assert sorted(message[3]["priority"] for message in taken if message is not None) == [1, 7]


def test_a_short_cooldown_is_a_countdown(runner: CeleryTaskRunner, take: Take, delivery: Any) -> None:
    """A delivery that may not start before twenty seconds carries that time."""
    not_before = datetime.now(UTC) + timedelta(seconds=20)
    runner.deliver(delivery(not_before=not_before))
    taken = take("celery")
    assert taken is not None
    eta = datetime.fromisoformat(taken[2]["eta"])
    assert abs((eta - not_before).total_seconds()) < 1


def test_a_long_cooldown_is_left_to_the_sweep(runner: CeleryTaskRunner, take: Take, delivery: Any) -> None:
    """A delivery that may not start for a minute is not sent: no broker and no worker holds it."""
    runner.deliver(delivery(not_before=datetime.now(UTC) + timedelta(seconds=60)))
    assert take("celery") is None


def test_a_wrong_option_is_not_sent(runner: CeleryTaskRunner, take: Take, delivery: Any) -> None:
    """A session that was configured without this runner's check does not get through either."""
    with pytest.raises(SettingsError, match="takes no option 'colour'"):
        runner.deliver(delivery(using={"runner": "celery", "colour": "red"}))
    assert take("celery") is None


def test_a_storage_that_workers_cannot_find_is_an_error(
    runner: CeleryTaskRunner, take: Take, delivery: Any, tmp_path: Path
) -> None:
    """A session in a store that no key of the settings leads to is not sent: a worker would look for it elsewhere."""
    configure(storages={"sql": {"url": f"sqlite:///{tmp_path / 'ours.db'}"}})
    private = SqlStorageBackend("applicant:42", url=f"sqlite:///{tmp_path / 'private.db'}")
    sent = delivery()._replace(storage_key="sql")
    with pytest.raises(SettingsError, match=r"session 'applicant:42' is kept in a storage that was opened with options"):
        runner.deliver(sent._replace(storage=private))
    private.store.close()
    assert take("celery") is None
    runner.deliver(sent._replace(storage=SqlStorageBackend("applicant:42")))
    assert take("celery") is not None


def test_memory_is_an_error(runner: CeleryTaskRunner, take: Take, delivery: Any) -> None:
    """A session in memory is not sent: no worker could ever find it."""
    with pytest.raises(SettingsError, match=r"session 'applicant:42' is kept in the memory of this process"):
        runner.deliver(delivery()._replace(storage=MemoryStorageBackend("applicant:42")))
    assert take("celery") is None


def test_task_ids_tell_attempts_apart(delivery: Any) -> None:
    """Attempts, instances, sessions and storages give ids of their own; names of any length and any letters give short ones."""
    one = delivery()
    others = [
        delivery(attempt=2),
        delivery(name="t_score#1"),
        one._replace(uid="applicant:43"),
        one._replace(storage_key="archive"),
        one._replace(uid="applicant:42/t", name="score#0"),
        one._replace(uid="applicant:42", name="t/score#0"),
    ]
    assert task_id_of(one) == task_id_of(delivery())
    assert len({task_id_of(each) for each in (one, *others)}) == 7
    long = task_id_of(delivery(name="é" * 127 + "#0"))
    assert re.fullmatch(r"_{100}\.1-[0-9a-f-]{36}", long)
