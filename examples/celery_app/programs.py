"""The programs of the demo: started, waited for, and stopped by their own process ids."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

PATIENCE = 60.0


class Program:
    """A program with its children, in a process group of its own; what it says goes to a file."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, place: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603
                command,
                cwd=place,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def wait_until(self, true: Callable[[], bool]) -> None:
        """Waits until it serves."""
        end = time.monotonic() + PATIENCE
        while not true():
            if self._process.poll() is not None or time.monotonic() > end:
                raise SystemExit(f"{self.name} did not start; it said:\n{self._said()[-3000:]}")
            time.sleep(0.05)

    def wait_until_ended(self) -> None:
        """Waits until it has done its work."""
        if self._process.wait(PATIENCE):
            raise SystemExit(f"{self.name} failed; it said:\n{self._said()[-3000:]}")

    def wait_for_words(self, words: str) -> None:
        """Waits until it has said these words."""
        self.wait_until(lambda: words in self._said())

    def wait_for_port(self, port: int) -> None:
        """Waits until it listens."""
        self.wait_until(lambda: listens(port))

    def stop(self) -> None:
        """Asks it to end, and insists after a while."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
        self.kill()

    def kill(self) -> None:
        """Ends it and its children at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _said(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


class Programs:
    """All programs of a run; the last one that was started is the first to be stopped.

    Args:
        folder: where they write what they say.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[Program] = []

    def start(self, name: str, command: Sequence[str], place: Path, environment: Mapping[str, str]) -> Program:
        """Starts one."""
        self._started.append(Program(name, command, self.folder, place, environment))
        return self._started[-1]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None) -> None:
        for program in reversed(self._started):
            program.stop()


def start_redis(programs: Programs) -> str:
    """Starts a Redis of our own, and returns its URL.

    Raises:
        SystemExit: none is installed.
    """
    server = shutil.which("redis-server") or shutil.which("valkey-server")
    if server is None:
        raise SystemExit("there is no redis-server here to start: install one, or name a broker, --broker redis://… or amqp://…")
    port = free_port()
    arguments = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
    programs.start("redis", [server, *arguments], programs.folder, {}).wait_for_port(port)
    return f"redis://127.0.0.1:{port}/0"


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listens(port: int) -> bool:
    """Whether somebody listens on this port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0
