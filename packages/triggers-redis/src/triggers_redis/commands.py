"""A command on its way to the server, and the two ways in which it can fail to bring a reply."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from triggers_redis.scripts import Script


class Command(NamedTuple):
    """One command, and a key that says which node of a cluster runs it."""

    key: bytes
    arguments: tuple[bytes, ...]
    script: Script | None = None


def call(script: Script, names: Sequence[bytes], arguments: Sequence[bytes]) -> Command:
    """The call of a script by its digest."""
    return Command(names[0], (b"EVALSHA", script.digest, b"%d" % len(names), *names, *arguments), script)


def with_text(command: Command) -> Command:
    """The same call for a server that does not know the script yet: it keeps the text for the next time."""
    if command.script is None:
        return command
    return command._replace(arguments=(b"EVAL", command.script.text, *command.arguments[2:]))


def packed(command: Command) -> bytes:
    """The command as it goes over the wire."""
    parts = [b"$%d\r\n%b\r\n" % (len(part), part) for part in command.arguments]
    return b"*%d\r\n%b" % (len(parts), b"".join(parts))


class NotRun(Exception):
    """No command was run: the server was not reached, or refused."""

    def __init__(self, cause: Exception, *, hopeless: bool = False) -> None:
        super().__init__(str(cause))
        self.cause = cause
        self.hopeless = hopeless
        """Whether trying again cannot help."""


class ReplyLost(Exception):
    """The connection failed after commands were sent: they may have run."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause
