"""What the recipes have in common."""

from __future__ import annotations

import abc
import asyncio
import os
import pwd
from pathlib import Path
from typing import Any, ClassVar

from tests.servers.place import Place


class Recipe(abc.ABC):
    """One kind of server. The methods are called by the keeper alone, the class attributes are read by all."""

    service: ClassVar[str]
    package: ClassVar[str]
    """The Debian package that brings the program."""
    accounts: ClassVar[tuple[str, ...]] = ()
    port_count: ClassVar[int] = 1
    highest_port: ClassVar[int] = 65535
    patience: ClassVar[float] = 90.0
    """Seconds within which a start must come to an answer."""

    @property
    def variable(self) -> str:
        """The environment variable that names a server to use instead of a private one."""
        return f"TRIGGERS_TEST_{self.service.upper().replace('-', '_')}_URL"

    @abc.abstractmethod
    def programs(self) -> dict[str, str | None]:
        """The programs that are needed, by name, and where they are."""

    @abc.abstractmethod
    def url(self, place: Place) -> str:
        """What clients are given."""

    @abc.abstractmethod
    def commands(self, place: Place) -> list[list[str]]:
        """The command lines of the processes, in the order in which they are started."""

    @abc.abstractmethod
    async def answers(self, place: Place) -> bool:
        """Whether clients are served by now; may raise OSError or ValueError where they are not."""

    async def prepare(self, place: Place) -> None:
        """What is done once, before the first start."""

    async def arrange(self, place: Place) -> None:
        """What is done once, after the first start."""

    def environment(self, place: Place) -> dict[str, str]:
        """Environment variables for the processes, beside PATH and HOME."""
        return {}

    def installed(self) -> bool:
        """Whether everything that is needed is there."""
        return all(self.programs().values())

    def program(self, name: str) -> str:
        """The path of one of the programs."""
        found = self.programs()[name]
        assert found, name
        return found

    def spawn_options(self, place: Place) -> dict[str, Any]:
        """How the processes are started: in the place's folder, under its account, with little of our environment."""
        kept = {name: os.environ[name] for name in ("PATH", "TZ", "LD_LIBRARY_PATH") if name in os.environ}
        environment = {**kept, "HOME": str(place.folder), "LC_ALL": "C.UTF-8", **self.environment(place)}
        options: dict[str, Any] = {"env": environment, "cwd": place.folder}
        if place.account:
            entry = pwd.getpwnam(place.account)
            options |= {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
        return options

    async def run(self, place: Place, *command: str) -> None:
        """Runs a program to its end, under the place's account; its output is shown if it fails."""
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            **self.spawn_options(place),
        )
        output, _ = await process.communicate()
        if process.returncode:
            raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}:\n{output.decode(errors='replace')}")


async def ask(port: int, question: bytes, length: int, patience: float = 2.0) -> bytes:
    """Connects, sends the question (it may be empty), and returns up to `length` bytes of the answer."""
    async with asyncio.timeout(patience):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(question)
            await writer.drain()
            return await reader.read(length)
        finally:
            writer.close()


def log_tail(folder: Path, lines: int = 15) -> str:
    """The last lines of each log file in the folder."""
    parts = [
        f"--- {path.name}\n" + "\n".join(path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        for path in sorted(folder.rglob("*.log"))
    ]
    return "\n".join(parts)
