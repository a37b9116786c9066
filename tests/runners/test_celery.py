"""The contract of runners on Celery: real workers, real brokers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from tests.runners.celery_workers import application, delete_queues, worker
from tests.servers import client, databases
from tests.servers.client import OwnServer
from tests.servers.plugin import fresh_name
from triggers.testing.conformance import Outage, RunnerConformance


class CeleryContract(RunnerConformance):
    """RN1 to RN15 with a worker of two places."""

    runner = "celery"
    pool: ClassVar[str]

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        """A folder for all tests of the class."""
        return tmp_path_factory.mktemp(cls.__name__)

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls, storage: Mapping[str, Any], conf: Mapping[str, Any]) -> Mapping[str, Any]:
        """The storage, and the application of this process."""
        return {**storage, "runners": {"celery": {"app": application(conf), "timeout": 5.0}}}

    @pytest.fixture(scope="class")
    @classmethod
    def workers(cls, folder: Path, conf: Mapping[str, Any], configured: Mapping[str, Any]) -> Iterator[None]:
        """One worker."""
        with worker(folder, conf, configured, "-P", cls.pool, "-c", "2"):
            yield

    @pytest.fixture
    def options(self) -> Mapping[str, Any]:
        """What a task may say."""
        return {"priority": 3, "soft_time_limit": 60, "time_limit": 90}

    @pytest.fixture
    def wrong_options(self) -> Mapping[str, Any]:
        """A slip."""
        return {"quueue": "gpu"}


class TestPreforkOnRedis(CeleryContract):
    """Processes, Redis as the broker (which is killed in between), SQLite; messages are acknowledged before the work."""

    pool = "prefork"
    own_processes = True

    @pytest.fixture(scope="class")
    @classmethod
    def broker(cls) -> Iterator[OwnServer]:
        """A Redis of the test's own."""
        server = client.own("redis")
        yield server
        server.discard()

    @pytest.fixture(scope="class")
    @classmethod
    def conf(cls, broker: OwnServer) -> Mapping[str, Any]:
        """Celery's configuration."""
        return {"broker_url": broker.url}

    @pytest.fixture(scope="class")
    @classmethod
    def storage(cls, folder: Path) -> Mapping[str, Any]:
        """A file."""
        return {"storage": "sql", "storages": {"sql": {"url": f"sqlite:///{folder / 'triggers.db'}"}}}

    @pytest.fixture
    def outage(self, broker: OwnServer) -> Outage:
        """The broker is killed."""
        return Outage(broker.kill, broker.start)


class TestThreadsOnRabbit(CeleryContract):
    """Threads, RabbitMQ, PostgreSQL; messages are acknowledged after the work."""

    pool = "threads"

    @pytest.fixture(scope="class")
    @classmethod
    def conf(cls) -> Iterator[Mapping[str, Any]]:
        """Celery's configuration, with a queue of its own."""
        broker, queue = client.shared("amqp").url, fresh_name()
        yield {"broker_url": broker, "task_default_queue": queue, "task_acks_late": True}
        delete_queues(broker, queue)

    @pytest.fixture(scope="class")
    @classmethod
    def storage(cls) -> Iterator[Mapping[str, Any]]:
        """A database."""
        with databases.postgres(client.shared("postgres").url, fresh_name()) as url:
            yield {"storage": "sql", "storages": {"sql": {"url": url}}}


@pytest.mark.slow
class TestGeventOnRedis(CeleryContract):
    """Greenlets, Redis as the broker and as the storage; messages are acknowledged after the work."""

    pool = "gevent"

    @pytest.fixture(scope="class")
    @classmethod
    def prefix(cls) -> Iterator[str]:
        """A prefix for all keys of the class."""
        prefix, server = f"{fresh_name()}:", client.shared("redis")
        yield prefix
        if not server.name:
            databases.drop_redis_keys(server.url, prefix, cluster=False)

    @pytest.fixture(scope="class")
    @classmethod
    def conf(cls, prefix: str) -> Mapping[str, Any]:
        """Celery's configuration."""
        options = {"global_keyprefix": f"{prefix}broker:"}
        return {"broker_url": client.shared("redis").url, "broker_transport_options": options, "task_acks_late": True}

    @pytest.fixture(scope="class")
    @classmethod
    def storage(cls, prefix: str) -> Mapping[str, Any]:
        """The same server."""
        options = {"url": client.shared("redis").url, "prefix": f"{prefix}triggers:"}
        return {"storage": "redis", "storages": {"redis": options}}


class TestEager(RunnerConformance):
    """``task_always_eager``: no broker and no worker; works run where they are scheduled."""

    runner = "celery"
    in_caller = True
    sweeps = False

    @pytest.fixture(scope="class")
    @classmethod
    def settings(cls) -> Mapping[str, Any]:
        """Memory, and an application without a broker."""
        return {"storage": "memory", "runners": {"celery": {"app": application({"task_always_eager": True})}}}
