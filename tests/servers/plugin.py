"""The pytest plugin: fixtures that give servers and namespaces, and the line that says what was not tested.

The names that end in ``_space`` give a URL together with a prefix that nothing else uses; the SQL ones give the URL of
a database made for the test. All of it is removed afterwards.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from tests.servers import client, databases
from tests.servers.client import OwnServer, Server
from tests.servers.proxy import FaultProxy
from tests.servers.recipes import RECIPES

_keeper: subprocess.Popen[bytes] | None = None
_not_tested: set[str] = set()


@dataclass(frozen=True)
class Space:
    """A server and a prefix for keys or queues that is this test's alone."""

    url: str
    prefix: str
    server: Server


def pytest_configure(config: pytest.Config) -> None:
    """In the run's main process: checks the requirements and starts the keeper."""
    global _keeper
    client.required()
    is_worker = hasattr(config, "workerinput")
    if not is_worker and client.FOLDER_VARIABLE not in os.environ and os.name == "posix":
        _keeper = client.start_keeper()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Ends the servers; writes the run's last line if anything was not tested."""
    global _keeper
    if _keeper is not None:
        with contextlib.suppress(RuntimeError, OSError):
            client.ask_keeper({"do": "finish"}, patience=20)
        _keeper.wait(timeout=60)
        _keeper = None
        del os.environ[client.FOLDER_VARIABLE]
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if _not_tested and reporter is not None and not hasattr(config, "workerinput"):
        names = ", ".join(f"{name} (install {RECIPES[name].package})" for name in sorted(_not_tested))
        reporter.write_line(f"{client.NOT_TESTED}: {names}", yellow=True)


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Remembers which services tests were skipped for; with several workers their reports arrive here as well."""
    if report.skipped and (found := re.search(f"{client.NOT_TESTED} ([a-z-]+):", str(report.longrepr))):
        _not_tested.add(found.group(1))


@pytest.fixture(scope="session")
def server() -> Callable[[str], Server]:
    """Gives the run's server of a kind: ``server("redis")``. Skips where there is none."""
    return client.shared


@pytest.fixture
def own_server() -> Iterator[Callable[..., OwnServer]]:
    """Starts private servers that the test may stop: ``own_server("redis", "--maxmemory", "10mb")``."""
    with contextlib.ExitStack() as stack:

        def start(service: str, *arguments: str) -> OwnServer:
            started = client.own(service, *arguments)
            stack.callback(started.discard)
            return started

        yield start


@pytest.fixture
def fault_proxy() -> Iterator[Callable[[Server | int], FaultProxy]]:
    """Puts a proxy that makes faults in front of a server or a port of 127.0.0.1."""
    with contextlib.ExitStack() as stack:

        def start(target: Server | int) -> FaultProxy:
            port = target if isinstance(target, int) else target.port
            return stack.enter_context(FaultProxy("127.0.0.1", port))

        yield start


def fresh_name() -> str:
    """A name for a database, a prefix of keys or a queue that nothing else has."""
    return f"t{uuid.uuid4().hex[:16]}"


@pytest.fixture
def redis_space() -> Iterator[Space]:
    """A Redis server and a prefix for keys."""
    yield from _redis_space("redis")


@pytest.fixture
def redis_cluster_space() -> Iterator[Space]:
    """A Redis Cluster of three nodes (the URL names one of them) and a prefix for keys."""
    yield from _redis_space("redis-cluster")


@pytest.fixture
def memcached_space() -> Space:
    """A memcached server and a prefix for keys."""
    found = client.shared("memcached")
    return Space(found.url, fresh_name(), found)


@pytest.fixture
def amqp_space() -> Space:
    """A RabbitMQ broker and a prefix for the names of queues."""
    found = client.shared("amqp")
    return Space(found.url, fresh_name(), found)


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """A new, empty PostgreSQL database, as a URL for SQLAlchemy with psycopg."""
    with databases.postgres(client.shared("postgres").url, fresh_name()) as url:
        yield url


@pytest.fixture
def mysql_url() -> Iterator[str]:
    """A new, empty MariaDB or MySQL database, as a URL for SQLAlchemy with PyMySQL."""
    with databases.mysql(client.shared("mysql").url, fresh_name()) as url:
        yield url


def _redis_space(service: str) -> Iterator[Space]:
    found = client.shared(service)
    space = Space(found.url, f"{fresh_name()}:", found)
    yield space
    if not found.name:  # a private server takes its data with it
        databases.drop_redis_keys(found.url, space.prefix, cluster=service == "redis-cluster")
