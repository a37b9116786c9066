"""The process that starts the private servers of a test run and ends them with it.

Run as ``python -m tests.servers.keeper FOLDER`` by the run's main process. It listens on ``FOLDER/keeper`` for lines of
JSON, one request and one answer per connection. It ends when it is told to, or when its parent is gone, and takes all
servers with it; where it is itself killed, the kernel ends them (Linux).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.servers.place import Place, account_for, free_ports
from tests.servers.recipes import RECIPES
from tests.servers.recipes.base import Recipe, log_tail

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def die_with_parent() -> None:
    """In a new server process: have the kernel end it when the keeper ends, however that happens."""
    if _libc is not None:
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class PrivateServer:
    """One server that this keeper has started."""

    def __init__(self, recipe: Recipe, folder: Path, arguments: list[str]) -> None:
        folder.mkdir()
        folder.chmod(0o755)
        self.recipe = recipe
        self.place = Place(folder, free_ports(recipe.port_count, recipe.highest_port), account_for(recipe.accounts), arguments)
        if self.place.account:
            shutil.chown(folder, self.place.account)
        self.processes: dict[int, asyncio.subprocess.Process] = {}

    async def create(self) -> None:
        """The first start."""
        await self.recipe.prepare(self.place)
        await self.start()
        await self.recipe.arrange(self.place)
        await self.until_it_answers()

    async def start(self) -> None:
        """Starts those of its processes that do not run, and waits until it serves clients."""
        for index, command in enumerate(self.recipe.commands(self.place)):
            if index in self.processes and self.processes[index].returncode is None:
                continue
            with (self.place.folder / f"output{index}.log").open("ab") as log:
                self.processes[index] = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=die_with_parent,
                    **self.recipe.spawn_options(self.place),
                )
        await self.until_it_answers()

    async def until_it_answers(self) -> None:
        """Returns once clients are served; raises if a process has ended or patience has."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self.recipe.patience
        while True:
            with contextlib.suppress(OSError, ValueError, TimeoutError):
                if await self.recipe.answers(self.place):
                    return
            ended = [process.returncode for process in self.processes.values() if process.returncode is not None]
            if ended or loop.time() > end:
                reason = f"ended with {ended[0]}" if ended else f"did not answer within {self.recipe.patience:.0f} s"
                raise RuntimeError(f"the private {self.recipe.service} {reason}\n{log_tail(self.place.folder)}")
            await asyncio.sleep(0.02)

    def chosen(self, index: int | None) -> list[asyncio.subprocess.Process]:
        """One of its processes, or all."""
        return list(self.processes.values()) if index is None else [self.processes[index]]

    async def end(self, how: signal.Signals, index: int | None = None, patience: float = 10.0) -> None:
        """Sends a signal and waits until the processes are gone; kills what is left of them."""
        for process in self.chosen(index):
            if process.returncode is not None:
                continue
            family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
            if how == signal.SIGKILL:
                kill_all(family)
            else:
                process.send_signal(how)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), patience)
            kill_all(family)
            await process.wait()
            while any(map(is_alive, family)):
                await asyncio.sleep(0.005)

    def signal_all(self, how: signal.Signals, index: int | None) -> None:
        """Sends a signal to the processes and to all that they have started."""
        for process in self.chosen(index):
            for member in [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]:
                member.send_signal(how)


def kill_all(family: list[psutil.Process]) -> None:
    """SIGKILL for each that still runs. psutil compares start times, so a pid that was given anew is left alone."""
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()


def is_alive(process: psutil.Process) -> bool:
    """Whether it still holds ports and files.

    A dead one may wait for long until somebody takes notice of its end; and one that looks dead holds its ports until the
    last of its threads has ended.
    """
    try:
        if process.is_running() and process.status() == psutil.STATUS_ZOMBIE:
            return len(os.listdir(f"/proc/{process.pid}/task")) > 1
        return process.is_running()
    except (psutil.NoSuchProcess, OSError):
        return False


class Keeper:
    """Answers requests; one server of each kind is shared, the others belong to the test that asked for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.servers: dict[str, PrivateServer] = {}
        self.shared: dict[str, asyncio.Task[str]] = {}
        self.finished = asyncio.Event()

    async def create(self, service: str, arguments: list[str]) -> str:
        """Starts a server; tries again where somebody else took its port in between."""
        for attempt in range(3):
            name = f"{service}{len(self.servers)}"
            server = self.servers[name] = PrivateServer(RECIPES[service], self.folder / name, arguments)
            try:
                await server.create()
            except BaseException as error:
                await server.end(signal.SIGKILL)
                if attempt == 2 or not isinstance(error, RuntimeError) or "in use" not in str(error).lower():
                    raise
            else:
                return name
        raise AssertionError("unreachable")

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Does what one request says."""
        name, index = request.get("name", ""), request.get("index")
        match request["do"]:
            case "shared":
                service = request["service"]
                if service not in self.shared:
                    self.shared[service] = asyncio.create_task(self.create(service, []))
                return self.describe(await asyncio.shield(self.shared[service]))
            case "own":
                return self.describe(await self.create(request["service"], request["arguments"]))
            case "start":
                await self.servers[name].start()
            case "stop":
                await self.servers[name].end(signal.SIGTERM, index)
            case "kill":
                await self.servers[name].end(signal.SIGKILL, index)
            case "pause":
                self.servers[name].signal_all(signal.SIGSTOP, index)
            case "resume":
                self.servers[name].signal_all(signal.SIGCONT, index)
            case "discard":
                await self.servers[name].end(signal.SIGKILL)
                shutil.rmtree(self.servers[name].place.folder, ignore_errors=True)
            case "finish":
                await self.finish()
        return {}

    def describe(self, name: str) -> dict[str, Any]:
        """What a client needs to know of a server."""
        server = self.servers[name]
        pids = [process.pid for _, process in sorted(server.processes.items())]
        return {"name": name, "url": server.recipe.url(server.place), "ports": server.place.ports, "pids": pids}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection: one request, one answer."""
        try:
            request = json.loads(await reader.readline())
            try:
                answer = await self.answer(request)
            except Exception as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            writer.write(json.dumps(answer).encode() + b"\n")
            with contextlib.suppress(ConnectionError):
                await writer.drain()
        finally:
            writer.close()
        if request["do"] == "finish":
            self.finished.set()

    async def finish(self) -> None:
        """Ends all servers."""
        await asyncio.gather(*(server.end(signal.SIGKILL) for server in self.servers.values()), return_exceptions=True)

    async def watch(self, parent: int) -> None:
        """Waits for the end of the test run."""
        while not self.finished.is_set() and os.getppid() == parent:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.finished.wait(), 0.5)


async def main(folder: Path) -> None:
    """Serves until the run is over."""
    parent = os.getppid()
    keeper = Keeper(folder)
    # Bound under another name first: a client that finds the name finds somebody listening.
    async with await asyncio.start_unix_server(keeper.serve, folder / "starting"):
        (folder / "starting").rename(folder / "keeper")
        try:
            await keeper.watch(parent)
        finally:
            await keeper.finish()
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
