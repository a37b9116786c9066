"""The servers that the other tests stand on do what is said of them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from sqlalchemy import Connection, create_engine, pool, text

from tests.servers import client
from tests.servers.client import OwnServer, Server
from tests.servers.plugin import Space

OwnServers = Callable[..., OwnServer]


def talk(port: int, question: bytes) -> bytes:
    """One question, and what comes back for it."""
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        connection.sendall(question)
        return connection.recv(65536)


@pytest.mark.parametrize(
    "service, question, answer",
    [
        ("redis", b"PING\r\n", b"+PONG"),
        ("memcached", b"version\r\n", b"VERSION"),
        ("amqp", b"AMQP\x00\x00\x09\x01", b"\x01\x00\x00"),
    ],
)
def test_a_private_server_answers(server: Callable[[str], Server], service: str, question: bytes, answer: bytes) -> None:
    """The port that is given out belongs to a server of the kind that was asked for."""
    assert talk(server(service).port, question).startswith(answer)


def test_the_server_is_shared(server: Callable[[str], Server]) -> None:
    """Asking twice gives the same server."""
    assert server("redis") == server("redis")


@pytest.mark.parametrize("kind", ["postgres_url", "mysql_url"])
def test_each_database_is_new(request: pytest.FixtureRequest, kind: str) -> None:
    """A database can be written to, and holds no table from before."""
    engine = create_engine(request.getfixturevalue(kind), poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE here (n INTEGER)"))
        connection.execute(text("INSERT INTO here VALUES (7)"))
        assert connection.execute(text("SELECT n FROM here")).scalar_one() == 7


@pytest.mark.parametrize("kind", ["postgres_url", "mysql_url"])
def test_each_database_is_new_again(request: pytest.FixtureRequest, kind: str) -> None:
    """What another test did in its database is not seen in this one's."""
    test_each_database_is_new(request, kind)


@pytest.fixture
def left_open() -> Iterator[list[Connection]]:
    """Connections that are let go of only after the database was removed."""
    held: list[Connection] = []
    yield held
    for connection in held:
        connection.invalidate()


@pytest.mark.parametrize("kind", ["postgres_url", "mysql_url"])
def test_a_transaction_left_open_does_not_keep_the_database(
    left_open: list[Connection], request: pytest.FixtureRequest, kind: str
) -> None:
    """The removal ends the connections of the test; this test would hang in its teardown otherwise."""
    engine = create_engine(request.getfixturevalue(kind), poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE held (n INTEGER)"))
    left = engine.connect()
    left.execute(text("SELECT count(*) FROM held"))
    left_open.append(left)


def test_the_cluster_serves_all_slots(redis_cluster_space: Space) -> None:
    """Keys of all three nodes can be written and read through the URL of one of them."""
    redis = pytest.importorskip("redis")
    cluster = redis.RedisCluster.from_url(redis_cluster_space.url)
    names = [f"{redis_cluster_space.prefix}{number}" for number in range(40)]
    for name in names:
        cluster.set(name, "x")
    owners = {cluster.get_node_from_key(name).port for name in names}
    assert owners == set(redis_cluster_space.server.ports)
    assert [cluster.get(name) for name in names] == [b"x"] * 40
    cluster.close()


@pytest.mark.faults
def test_the_sentinel_fails_over(own_server: OwnServers) -> None:
    """When the primary is killed, the sentinel names the replica as the new one."""
    started = own_server("redis-sentinel")
    question = b"SENTINEL get-master-addr-by-name mymaster\r\n"
    _, primary, replica = started.ports
    assert f"\r\n{primary}\r\n".encode() in talk(started.port, question)
    started.kill(0)
    end = time.monotonic() + 40
    while f"\r\n{replica}\r\n".encode() not in talk(started.port, question):
        assert time.monotonic() < end, "no fail-over within 40 s"
        time.sleep(0.2)


def test_a_killed_redis_comes_back_with_its_data(own_server: OwnServers) -> None:
    """After SIGKILL nobody listens; after a start, what was confirmed is there, on the same port."""
    started = own_server("redis")
    assert talk(started.port, b"SET kept 1\r\n") == b"+OK\r\n"
    started.kill()
    with pytest.raises(ConnectionRefusedError):
        talk(started.port, b"PING\r\n")
    started.start()
    assert talk(started.port, b"GET kept\r\n") == b"$1\r\n1\r\n"


@pytest.mark.parametrize("service", ["postgres", "mysql"])
def test_a_killed_database_comes_back_with_its_data(own_server: OwnServers, service: str) -> None:
    """A commit that was confirmed survives SIGKILL."""
    started = own_server(service)
    engine = create_engine(started.url, poolclass=pool.NullPool)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE triggers_kept (n INTEGER)"))
        connection.execute(text("INSERT INTO triggers_kept VALUES (7)"))
    started.kill()
    with pytest.raises(ConnectionRefusedError):
        talk(started.port, b"")
    started.start()
    with engine.begin() as connection:
        assert connection.execute(text("SELECT n FROM triggers_kept")).scalar_one() == 7


@pytest.mark.faults
def test_a_stopped_broker_comes_back(own_server: OwnServers) -> None:
    """The broker can be killed, without its name server, and started again on its port."""
    started = own_server("amqp")
    started.kill(1)
    with pytest.raises(ConnectionRefusedError):
        talk(started.port, b"")
    started.start()
    assert talk(started.port, b"AMQP\x00\x00\x09\x01").startswith(b"\x01")


def test_a_paused_server_is_silent_until_it_is_resumed(own_server: OwnServers) -> None:
    """SIGSTOP leaves the port open and the question unanswered; SIGCONT answers it."""
    started = own_server("redis")
    started.pause()
    with socket.create_connection(("127.0.0.1", started.port), timeout=0.3) as connection:
        connection.sendall(b"PING\r\n")
        with pytest.raises(TimeoutError):
            connection.recv(10)
        started.resume()
        connection.settimeout(5)
        assert connection.recv(10) == b"+PONG\r\n"


def test_arguments_reach_the_server(own_server: OwnServers) -> None:
    """A test can start a server with the settings that it needs."""
    started = own_server("redis", "--maxmemory", "12345678")
    assert b"12345678" in talk(started.port, b"CONFIG GET maxmemory\r\n")


def test_a_server_that_cannot_start_says_why(own_server: OwnServers) -> None:
    """The error has what the server wrote."""
    with pytest.raises(RuntimeError, match=r"(?s)private redis ended with 1.*no-such-option"):
        own_server("redis", "--no-such-option", "1")


INNER = """
import os, signal
from tests.servers.client import own, shared

def test_uses_a_server():
    print("PIDS", *shared("redis").pids, *own("redis").pids)
    if os.environ.get("DIE"):
        os.kill(os.getpid(), signal.SIGKILL)
"""


def run_pytest(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Another run of pytest, which starts a keeper of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRIGGERS_TEST", "PYTEST", "COV"))}
    (folder / "test_inner.py").write_text(INNER)
    (folder / "conftest.py").write_text('pytest_plugins = ["tests.servers.plugin"]')
    plugins = ["-p", "no:cacheprovider", "-p", "no:triggers"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-s", "--rootdir", str(folder), *plugins, *arguments, str(folder)],
        cwd=folder,
        env={**kept, "PYTHONPATH": str(client.ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )


@pytest.mark.parametrize("death", ["", "1"])
def test_no_server_outlives_its_run(tmp_path: Path, death: str) -> None:
    """The servers end with the run, also where that is killed with SIGKILL."""
    outcome = run_pytest(tmp_path, DIE=death)
    assert outcome.returncode == (-9 if death else 0), outcome.stdout + outcome.stderr
    pids = [int(pid) for pid in outcome.stdout.split("PIDS")[1].splitlines()[0].split()]
    assert len(pids) == 2
    end = time.monotonic() + 60
    while any(psutil.pid_exists(pid) for pid in pids):
        assert time.monotonic() < end, f"still there: {pids}"
        time.sleep(0.1)


@pytest.fixture
def without_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder whose inner tests find no program for Redis."""
    (tmp_path / "sitecustomize.py").write_text(
        "import tests.servers.recipes.redis as r\nr.Redis.programs = lambda self: {'redis-server': None}\n"
    )
    return tmp_path


def test_what_is_missing_is_skipped_loudly(without_redis: Path) -> None:
    """Without URL and program the test is skipped, and the last line of the run says what was not tested."""
    outcome = run_pytest(without_redis, PYTHONPATH=f"{client.ROOT}:{without_redis}")
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr
    assert "1 skipped" in outcome.stdout
    assert outcome.stdout.splitlines()[-1] == "NOT TESTED against: redis (install redis-server)"


def test_the_last_line_comes_from_workers_too(without_redis: Path) -> None:
    """With several workers the line is written once, by the main process."""
    outcome = run_pytest(without_redis, "-n", "2", PYTHONPATH=f"{client.ROOT}:{without_redis}")
    assert outcome.stdout.count("NOT TESTED against: redis") == 1, outcome.stdout + outcome.stderr


def test_what_is_required_may_not_be_missing(without_redis: Path) -> None:
    """TRIGGERS_TEST_REQUIRE makes a failure of the skip."""
    environment = {"PYTHONPATH": f"{client.ROOT}:{without_redis}", client.REQUIRE_VARIABLE: "redis"}
    outcome = run_pytest(without_redis, **environment)
    assert outcome.returncode == 1
    assert "TRIGGERS_TEST_REQUIRE asks for it" in outcome.stdout


def test_an_unknown_requirement_is_refused(tmp_path: Path) -> None:
    """A misspelt service in TRIGGERS_TEST_REQUIRE stops the run instead of requiring nothing."""
    outcome = run_pytest(tmp_path, TRIGGERS_TEST_REQUIRE="reddis")
    assert outcome.returncode == 4
    assert "reddis" in outcome.stderr + outcome.stdout


def test_a_given_server_that_is_silent_is_an_error(tmp_path: Path) -> None:
    """A URL in the environment is never passed over in favour of a private server or a skip."""
    outcome = run_pytest(tmp_path, TRIGGERS_TEST_REDIS_URL="redis://127.0.0.1:1/0")
    assert outcome.returncode == 1
    assert "TRIGGERS_TEST_REDIS_URL names 127.0.0.1:1, which does not answer" in outcome.stdout


def test_a_given_server_is_used(own_server: OwnServers, tmp_path: Path) -> None:
    """The URL in the environment wins over an installed program."""
    started = own_server("redis")
    (tmp_path / "test_given.py").write_text(
        "from tests.servers.client import shared\ndef test_it():\n    print('GIVEN', shared('redis').url)\n"
    )
    outcome = run_pytest(tmp_path, "-k", "test_it", TRIGGERS_TEST_REDIS_URL=started.url)
    assert f"GIVEN {started.url}\n" in outcome.stdout
