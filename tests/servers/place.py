"""Where a private server lives: its folder, its ports, the account that it runs under."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

_taken: set[int] = set()


@dataclass
class Place:
    """What a recipe needs to know to start one server."""

    folder: Path
    ports: list[int]
    account: str | None
    """The user to become, where the present one is root and the server refuses root; else None."""
    arguments: list[str] = field(default_factory=list)
    """Further arguments for the server's command line, as a test asked for them."""

    @property
    def port(self) -> int:
        """The port that clients connect to."""
        return self.ports[0]

    def subfolder(self, name: str) -> Path:
        """A folder below, made if need be, that belongs to the server's account."""
        path = self.folder / name
        path.mkdir(exist_ok=True)
        if self.account:
            shutil.chown(path, self.account)
        return path

    def write(self, name: str, text: str) -> Path:
        """A file below that the server's account can read and change."""
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        if self.account:
            shutil.chown(path, self.account)
        return path


def free_ports(count: int, highest: int = 65535) -> list[int]:
    """Loopback ports that nobody listens on, and that were not given out before in this process."""
    found: list[int] = []
    with contextlib.ExitStack() as held:
        while len(found) < count:
            probe = held.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
            if port <= highest and port not in _taken:
                found.append(port)
    _taken.update(found)
    return found


def find_program(names: Iterable[str], folders: Iterable[str] = ()) -> str | None:
    """The first of the programs that is installed, on PATH, in the usual system folders, or in those given."""
    path = os.pathsep.join([*folders, os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin", "/sbin"])
    for name in names:
        if found := shutil.which(name, path=path):
            return found
    return None


def account_for(names: Iterable[str]) -> str | None:
    """The account to start a server under: none but the present one, unless that is root."""
    if os.geteuid() != 0:
        return None
    for name in [*names, "nobody"]:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    return None
