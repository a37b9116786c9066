"""Processes are killed, servers stopped and connections cut while thousands of triggers fire; nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.faults.chaos import COUNTS, INSTANCES, Chaos
from tests.servers.client import OwnServer, Server
from tests.servers.proxy import FaultProxy
from triggers import records
from triggers.settings import Settings
from triggers.storages import storage_backends
from triggers.storages.base import BaseTriggerStorage
from triggers.store import EVERYTHING

# Bounded by default; a long run says TRIGGERS_TEST_FAULT_FIRES=5000 TRIGGERS_TEST_FAULT_KILLS=200.
FIRES = int(os.environ.get("TRIGGERS_TEST_FAULT_FIRES", "1000"))
KILLS = int(os.environ.get("TRIGGERS_TEST_FAULT_KILLS", "40"))
TIMES = {
    "lease": 2.0,
    "redeliver_after": 2.0,
    "sweep_interval": 0.5,
    "max_attempts": 1000,
    "conflict_timeout": 60.0,
    "shutdown_timeout": 1.0,
}
pytestmark = [pytest.mark.faults, pytest.mark.timeout(3600)]


def run(chaos: Chaos, open_session: Callable[[str], BaseTriggerStorage], title: str) -> None:
    """Runs it, compares the storage with what had to happen, and reports the numbers."""
    counted = chaos.run(lambda number: is_finished(open_session(f"s{number}")))
    for number in range(chaos.sessions):
        check_session(open_session(f"s{number}"))
    line = json.dumps({"setup": title, **counted}, ensure_ascii=False)
    print(line)
    report = os.environ.get("TRIGGERS_FAULT_REPORT")
    if report:
        with Path(report).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


def is_finished(storage: BaseTriggerStorage) -> bool:
    """Whether each of its instances is."""
    return all(str(instance.status) == "finished" for instance in storage.instances.values())


def check_session(storage: BaseTriggerStorage) -> None:
    """Each instance finished once, each result cascaded once, each confirmed fire is there once."""
    snapshot = storage.store.load(storage.uid, EVERYTHING)
    found = {name: str(instance.status) for name, instance in storage.instances.items()}
    assert found == dict.fromkeys(INSTANCES, "finished"), storage.debug_repr()
    fired = snapshot.records["trigger"]
    counts = {trigger: records.read(records.TRIGGERS, trigger, record.value).count for trigger, record in fired.items()}
    assert counts == COUNTS, (storage.uid, counts)


def settings_for(storage: dict[str, Any], runner: str) -> dict[str, Any]:
    """The application's settings as JSON."""
    key = next(iter(storage))
    settings: dict[str, Any] = {"storage": key, "storages": storage, "runner": runner, "threads": 3, **TIMES}
    Settings(**settings)
    return settings


def test_r28_sqlite_and_threads(tmp_path: Path) -> None:
    """Three processes fire into one SQLite file and run the works on threads; one has a clock two minutes ahead."""
    url = f"sqlite:///{tmp_path}/faults.db"
    settings = settings_for({"sql": {"url": url}}, "threading")
    chaos = Chaos(tmp_path, settings, FIRES // 5, KILLS)
    chaos.add_firing(3, shifts={2: 120.0})
    run(chaos, lambda uid: storage_backends.get("sql", uid, url=url), "SQLite, threads")


def test_r28_redis_and_celery_on_redis(
    tmp_path: Path, own_server: Callable[..., OwnServer], fault_proxy: Callable[[Server | int], FaultProxy]
) -> None:
    """Redis keeps the sessions and is the broker; it is stopped hard and started, and connections are cut."""
    server = own_server("redis", "--appendonly", "yes", "--appendfsync", "always")
    proxy = fault_proxy(server)
    settings = settings_for({"redis": {"url": f"redis://127.0.0.1:{proxy.port}/0"}}, "celery")
    celery = {
        "broker_url": f"redis://127.0.0.1:{proxy.port}/1",
        "broker_connection_retry_on_startup": True,
        "worker_prefetch_multiplier": 1,
        "task_acks_late": False,
    }

    disturbances = [("connections cut", proxy.cut), ("Redis killed", lambda: restart(server)), ("connections cut", proxy.cut)]
    chaos = Chaos(tmp_path, settings, FIRES // 5, KILLS, celery=celery, disturbances=_healing(disturbances, proxy))
    chaos.add_firing(2)
    chaos.add_celery_workers(2)
    direct = server.url
    run(chaos, lambda uid: storage_backends.get("redis", uid, url=direct), "Redis, Celery on Redis")


def test_r28_postgres_and_celery_on_rabbitmq(
    tmp_path: Path,
    own_server: Callable[..., OwnServer],
    fault_proxy: Callable[[Server | int], FaultProxy],
) -> None:
    """PostgreSQL keeps the sessions, RabbitMQ is the broker; both are stopped hard and started; connections are cut."""
    server, broker = own_server("postgres"), own_server("amqp")
    proxy = fault_proxy(server)
    url = server.url.replace(f":{server.port}", f":{proxy.port}")
    for scheme in ("postgresql://", "postgres://"):
        url = url.replace(scheme, "postgresql+psycopg://")
    direct = url.replace(f":{proxy.port}", f":{server.port}")
    storage_backends.get("sql", "any", url=direct).store.setup()
    settings = settings_for({"sql": {"url": url}}, "celery")
    celery = {
        "broker_url": broker.url,
        "broker_connection_retry_on_startup": True,
        "worker_prefetch_multiplier": 1,
        "task_acks_late": True,
    }

    disturbances = [
        ("connections cut", proxy.cut),
        ("PostgreSQL killed", lambda: restart(server)),
        ("RabbitMQ killed", lambda: restart(broker)),
        ("connections cut", proxy.cut),
    ]
    chaos = Chaos(tmp_path, settings, FIRES // 5, KILLS, celery=celery, disturbances=_healing(disturbances, proxy))
    chaos.add_firing(2)
    chaos.add_celery_workers(2)
    run(chaos, lambda uid: storage_backends.get("sql", uid, url=direct), "PostgreSQL, Celery on RabbitMQ")


def restart(server: OwnServer) -> None:
    """Kills a server, and starts it again with what it has on disk."""
    server.kill()
    time.sleep(0.5)
    server.start()


def _healing(disturbances: list[tuple[str, Callable[[], None]]], proxy: FaultProxy) -> list[tuple[str, Callable[[], None]]]:
    """Each disturbance, with the network healed afterwards."""

    def healed(act: Callable[[], None]) -> Callable[[], None]:
        def both() -> None:
            act()
            time.sleep(0.2)
            proxy.heal()

        return both

    return [(name, healed(act)) for name, act in disturbances]
