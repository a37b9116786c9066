"""What tests see of the servers: which there are, where they listen, and how to stop one's own."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest

from tests.servers.recipes import RECIPES

FOLDER_VARIABLE = "TRIGGERS_TEST_KEEPER"
REQUIRE_VARIABLE = "TRIGGERS_TEST_REQUIRE"
NOT_TESTED = "NOT TESTED against"
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Server:
    """A server that answers, whoever started it."""

    service: str
    url: str
    ports: tuple[int, ...] = ()
    name: str = ""
    """Its name at the keeper; empty for one that the environment gave."""
    pids: tuple[int, ...] = ()

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.ports[0]


@dataclass(frozen=True)
class OwnServer(Server):
    """A private server that belongs to one test, which may do with it what it likes.

    Each method takes the index of one process where the server has several (the node of a cluster); without one, it
    means all. A server comes back on the same ports with the same data.
    """

    def kill(self, index: int | None = None) -> None:
        """SIGKILL, to it and its children; returns when they are gone."""
        ask_keeper({"do": "kill", "name": self.name, "index": index})

    def stop(self, index: int | None = None) -> None:
        """Ends it in good order."""
        ask_keeper({"do": "stop", "name": self.name, "index": index})

    def start(self) -> None:
        """Starts what does not run; returns when clients are served."""
        ask_keeper({"do": "start", "name": self.name})

    def pause(self, index: int | None = None) -> None:
        """Stops its processes in their tracks: connections stay open, and nobody answers."""
        ask_keeper({"do": "pause", "name": self.name, "index": index})

    def resume(self, index: int | None = None) -> None:
        """Lets paused processes go on."""
        ask_keeper({"do": "resume", "name": self.name, "index": index})

    def discard(self) -> None:
        """Kills it and deletes its data."""
        ask_keeper({"do": "discard", "name": self.name})


def shared(service: str) -> Server:
    """The server of this kind for the whole run. Skips the test, or fails it, where there is none."""
    recipe = RECIPES[service]
    if url := os.environ.get(recipe.variable):
        return given(service, url)
    if not recipe.installed():
        not_available(service)
    return Server(service=service, **_frozen(ask_keeper({"do": "shared", "service": service})))


def own(service: str, *arguments: str) -> OwnServer:
    """A new private server, with further arguments for its command line. The fixture `own_server` also discards it."""
    if not RECIPES[service].installed():
        not_available(service)
    request = {"do": "own", "service": service, "arguments": list(arguments)}
    return OwnServer(service=service, **_frozen(ask_keeper(request)))


def given(service: str, url: str) -> Server:
    """The server that the environment names. That it does not answer is an error, never a reason to skip."""
    parts = urlsplit(url)
    host, port = parts.hostname or "127.0.0.1", parts.port or _usual_port(service)
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError as error:
        pytest.fail(f"{RECIPES[service].variable} names {host}:{port}, which does not answer: {error}", pytrace=False)
    return Server(service=service, url=url, ports=(port,))


def not_available(service: str) -> NoReturn:
    """Skips the test with the reason, or fails it where the service is required."""
    recipe = RECIPES[service]
    missing = ", ".join(name for name, path in recipe.programs().items() if not path) or "program"
    reason = f"{NOT_TESTED} {service}: no {recipe.variable} and no {missing} here; install the package {recipe.package}"
    if service in required():
        pytest.fail(f"{reason} ({REQUIRE_VARIABLE} asks for it)", pytrace=False)
    pytest.skip(reason)


def required() -> set[str]:
    """The services without which tests fail."""
    names = {name.strip() for name in os.environ.get(REQUIRE_VARIABLE, "").split(",")} - {""}
    if unknown := names - set(RECIPES):
        known = ", ".join(sorted(RECIPES))
        raise pytest.UsageError(f"{REQUIRE_VARIABLE} names {', '.join(sorted(unknown))}; there are {known}")
    return names


def start_keeper() -> subprocess.Popen[bytes]:
    """Starts the keeper as a child of this process and tells our children, and theirs, where it is."""
    # Short, since the path of a socket may have some hundred characters at most.
    folder = Path(tempfile.mkdtemp(prefix="trg-", dir="/tmp"))
    folder.chmod(0o755)
    os.environ[FOLDER_VARIABLE] = str(folder)
    with (folder / "keeper.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.servers.keeper", str(folder)],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")},
        )


def ask_keeper(request: dict[str, Any], patience: float = 180.0) -> dict[str, Any]:
    """One request to the keeper; raises RuntimeError with what it says went wrong."""
    if FOLDER_VARIABLE not in os.environ:
        raise RuntimeError("no keeper of servers runs; load the pytest plugin tests.servers.plugin")
    folder = Path(os.environ[FOLDER_VARIABLE])
    with contextlib.closing(socket.socket(socket.AF_UNIX)) as connection:
        connection.settimeout(patience)
        _connect(connection, folder)
        connection.sendall(json.dumps(request).encode() + b"\n")
        with connection.makefile("rb") as stream:
            line = stream.readline()
    answer: dict[str, Any] = json.loads(line or b'{"error": "the keeper has gone away"}')
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer


def _connect(connection: socket.socket, folder: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            connection.connect(str(folder / "keeper"))
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if time.monotonic() > end:
                log = folder / "keeper.log"
                said = log.read_text(encoding="utf-8", errors="replace") if log.exists() else "(no log)"
                raise RuntimeError(f"the keeper of servers did not start:\n{said}") from error
            time.sleep(0.02)
        else:
            return


def _frozen(answer: dict[str, Any]) -> dict[str, Any]:
    return answer | {"ports": tuple(answer["ports"]), "pids": tuple(answer["pids"])}


def _usual_port(service: str) -> int:
    usual = {"postgres": 5432, "mysql": 3306, "memcached": 11211, "amqp": 5672, "redis-sentinel": 26379}
    return usual.get(service, 6379)
