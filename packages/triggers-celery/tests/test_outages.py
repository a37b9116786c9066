"""Brokers that are down, silent, or have just come back."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import celery
import pytest

from tests.servers.client import OwnServer
from tests.servers.plugin import Space, fresh_name
from tests.servers.proxy import FaultProxy
from triggers import get_manager
from triggers.errors import RunnerUnavailable
from triggers.settings import configure
from triggers.testing.conformance.forks import in_fork
from triggers_celery import CeleryTaskRunner
from triggers_celery.publishing import Publisher

MakeRunner = Callable[..., CeleryTaskRunner]


def application(url: str, queue: str = "celery") -> celery.Celery:
    """An application on this broker."""
    app = celery.Celery("private", set_as_current=False)
    app.conf.update(broker_url=url, task_default_queue=queue)
    return app


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/0", "amqp://guest:guest@127.0.0.1:1//"])
def test_a_broker_that_is_down_is_told_at_once(runner_of: MakeRunner, delivery: Any, url: str) -> None:
    """A refused connection is ``RunnerUnavailable`` at once, long before the timeout, without password in the text."""
    runner = runner_of(app=application(url), timeout=30)
    began = time.monotonic()
    with pytest.raises(RunnerUnavailable, match=r"127\.0\.0\.1:1/.* did not take 'survey\.score': OperationalError") as told:
        runner.deliver(delivery())
    assert time.monotonic() - began < 15
    assert "guest:guest" not in str(told.value)


def test_r23_fire_succeeds_while_the_broker_is_down(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The fire is stored and returns what it scheduled; one warning says that the sweep will deliver it."""
    sessions = {"storage": "sql", "storages": {"sql": {"url": f"sqlite:///{tmp_path / 'triggers.db'}"}}}
    configure(**sessions, runners={"celery": {"app": application("redis://127.0.0.1:1/0")}})
    manager = get_manager("applicant:42")
    manager.update_configuration({"t": {"after": ["go"], "run": "survey.score"}, "u": {"after": ["go"], "run": "survey.score"}})
    with caplog.at_level(logging.WARNING, "triggers"):
        assert manager.fire("go").scheduled == ("t#0", "u#0")
    assert manager.storage["t#0"].status == "scheduled"
    warnings = [record.getMessage() for record in caplog.records if record.name == "triggers"]
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "runner 'celery' could not take t#0 of session 'applicant:42'; it stays scheduled and the sweep will deliver it: "
    )


@pytest.mark.parametrize("service", ["redis", "amqp"])
def test_a_silent_broker_costs_its_timeout_once(
    runner_of: MakeRunner, delivery: Any, server: Any, fault_proxy: Callable[[Any], FaultProxy], service: str
) -> None:
    """A broker that takes connections and never answers costs the timeout; the next deliveries fail at once for as long again."""
    behind = server(service)
    proxy = fault_proxy(behind)
    proxy.black_hole()
    runner = runner_of(app=application(behind.url.replace(str(behind.port), str(proxy.port))), timeout=4)
    began = time.monotonic()
    with pytest.raises(RunnerUnavailable):
        runner.deliver(delivery())
    took = time.monotonic() - began
    assert 3.9 < took < 20
    with pytest.raises(RunnerUnavailable, match="the broker did not answer a moment ago"):
        runner.deliver(delivery())
    assert time.monotonic() - began - took < 3


@pytest.fixture
def queue_of(server: Any) -> Iterator[Callable[[str], tuple[celery.Celery, str]]]:
    """An application on a broker of this kind, with a queue that is removed."""
    made: list[celery.Celery] = []

    def make(service: str) -> tuple[celery.Celery, str]:
        name = fresh_name()
        app = application(server(service).url, name)
        made.append(app)
        return app, name

    yield make
    for app in made:
        with app.connection_for_write() as connection:
            connection.default_channel.queue_delete(app.conf.task_default_queue)
            if connection.transport.driver_type == "amqp":
                connection.default_channel.exchange_delete(app.conf.task_default_queue)


def length(app: celery.Celery, queue: str) -> int:
    """How many messages wait in a queue."""
    with app.connection_for_write() as connection:
        return int(connection.default_channel.queue_declare(queue, passive=True).message_count)


@pytest.mark.parametrize("service", ["redis", "amqp"])
def test_a_fork_sends_on_connections_of_its_own(
    runner_of: MakeRunner, delivery: Any, queue_of: Callable[[str], tuple[celery.Celery, str]], service: str
) -> None:
    """A child and its parent both send after a fork, on a runner that was used before it, and nothing is lost."""
    app, queue = queue_of(service)
    runner = runner_of(app=app)
    runner.deliver(delivery())
    os.register_at_fork(after_in_child=runner.after_fork)

    def send_ten() -> None:
        for _ in range(10):
            runner.deliver(delivery())

    in_fork(send_ten, send_ten)
    send_ten()
    assert length(app, queue) == 31


def test_a_broker_that_was_restarted_is_found_again(
    runner_of: MakeRunner, delivery: Any, own_server: Callable[..., OwnServer]
) -> None:
    """The first delivery after a restart goes through although the kept connection is dead."""
    broker = own_server("redis")
    runner = runner_of(app=application(broker.url))
    runner.deliver(delivery())
    broker.kill()
    broker.start()
    runner.deliver(delivery())
    assert length(application(broker.url), "celery") == 2


@pytest.mark.parametrize("service", ["redis", "amqp"])
def test_a_connection_that_was_cut_is_replaced(
    runner_of: MakeRunner, delivery: Any, server: Any, fault_proxy: Callable[[Any], FaultProxy], queue_of: Any, service: str
) -> None:
    """The first delivery on a connection that was cut meanwhile goes through, on a new one."""
    app, queue = queue_of(service)
    proxy = fault_proxy(server(service))
    url = server(service).url.replace(str(server(service).port), str(proxy.port))
    runner = runner_of(app=application(url, queue))
    runner.deliver(delivery())
    proxy.cut()
    runner.deliver(delivery())
    assert length(app, queue) == 2


@pytest.mark.parametrize("service", ["redis", "amqp"])
def test_a_broker_that_falls_silent_costs_two_timeouts(
    server: Any, fault_proxy: Callable[[Any], FaultProxy], queue_of: Any, service: str
) -> None:
    """However many connections are kept: a kept one is tried, then a new one, and all that are as old are let go."""
    _, queue = queue_of(service)
    proxy = fault_proxy(server(service))
    url = server(service).url.replace(str(server(service).port), str(proxy.port))
    publisher = Publisher(application(url, queue), timeout=0.5)
    opened = [publisher._connect() for _ in range(8)]
    for producer in opened:
        assert producer.connection.default_channel is not None
        publisher._give_back(producer)
    publisher.send("survey.score", {}, "id-0")
    assert len(publisher._idle) == 8
    proxy.black_hole()
    began = time.monotonic()
    with pytest.raises(RunnerUnavailable):
        publisher.send("survey.score", {}, "id-1")
    assert time.monotonic() - began < 3
    assert not publisher._idle


def test_connections_are_kept_and_closed(redis_space: Space) -> None:
    """Messages one after another use one connection, and ``close`` ends it."""
    app = application(redis_space.url)
    app.conf.update(broker_transport_options={"global_keyprefix": redis_space.prefix})
    publisher = Publisher(app, timeout=30.0)
    for number in range(5):
        publisher.send("survey.score", {}, f"id-{number}")
    (kept,) = publisher._idle
    assert kept.connection.connected
    publisher.close()
    assert not publisher._idle
    assert not kept.connection.connected
