"""The Celery application of ``joins.py``, for the process that measures and for its worker; both from ``BENCH_CELERY``."""

from __future__ import annotations

import json
import os
from typing import Any

import celery
import redis

import triggers
import triggers_celery
from bench import JOIN

_told = json.loads(os.environ["BENCH_CELERY"])
DONE = f"{_told['prefix']}done"

app = celery.Celery("bench", set_as_current=False)
app.conf.update(
    broker_url=_told["url"],
    result_backend=_told["url"],
    task_default_queue=_told["queue"],
    broker_transport_options={"global_keyprefix": _told["prefix"]},
    result_backend_transport_options={"global_keyprefix": _told["prefix"]},
    worker_enable_remote_control=False,
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
)
triggers.configure(
    storage="redis",
    storages={"redis": {"url": _told["url"], "prefix": _told["prefix"]}},
    runner="celery",
    sweep_interval=0.0,
)
triggers_celery.install(app)
_client: Any = None


def results() -> Any:
    """The connection on which finished work is told."""
    global _client
    if _client is None:
        _client = redis.Redis.from_url(_told["url"], socket_timeout=None)
    return _client


@app.task(name="bench.part")  # type: ignore[untyped-decorator]
def part(number: int) -> int:
    """One part of a chord."""
    return number


@app.task(name="bench.body")  # type: ignore[untyped-decorator]
def body(numbers: list[int]) -> None:
    """What follows both parts."""
    results().rpush(DONE, 1)


@app.task(name="bench.ignored", ignore_result=True)  # type: ignore[untyped-decorator]
def ignored() -> None:
    """For the bare publish."""


@triggers.task("bench.work")
def work(context: Any) -> None:
    """What follows both triggers."""
    results().rpush(DONE, 1)


def start_chord() -> None:
    """Publishes a chord of two."""
    celery.chord([part.s(1), part.s(2)])(body.s())


def publish() -> None:
    """One bare publish."""
    ignored.apply_async()


def prepare(uid: str) -> Any:
    """A session that waits for two triggers."""
    manager = triggers.get_manager(uid)
    manager.update_configuration({"t": {**JOIN["t"], "run": "bench.work"}})
    return manager


def clean_up(client: Any) -> None:
    """Removes what broker and results have left."""
    app.close()
    for key in client.scan_iter(match=f"{_told['prefix']}*", count=5000):
        client.unlink(key)
