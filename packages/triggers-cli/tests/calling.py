"""How the tests call commands: within this process, or in a real terminal (a pty) with several commands per interpreter."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pexpect

_MANY = """
import json, sys
from triggers_cli.__main__ import run
for arguments in json.loads(sys.argv[1]):
    code = run(arguments)
    sys.stderr.flush()
    print(f"\\n<exit {code}>", flush=True)
"""


class Answer(NamedTuple):
    """What a command gave."""

    code: int
    out: str
    err: str = ""

    def json(self) -> Any:
        """What it printed, as JSON."""
        return json.loads(self.out)


Call = Callable[..., Answer]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """The environment without settings of this run."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TRIGGERS_", "NO_COLOR", "COLUMNS", "LINES"))}
    return {**kept, "TERM": "xterm-256color", **more}


def in_terminal(
    folder: Path, commands: Sequence[Sequence[str]], *, columns: int = 80, more: Mapping[str, str] | None = None
) -> list[Answer]:
    """Runs commands one after the other in one terminal of so many columns; what each showed, and its exit code."""
    terminal = pexpect.spawn(
        sys.executable, ["-c", _MANY, json.dumps([list(command) for command in commands])],
        cwd=str(folder), env=environment(folder, **(more or {})), dimensions=(50, columns), encoding="utf-8", timeout=60,
    )  # fmt: skip
    answers = []
    for _ in commands:
        terminal.expect(r"\r\n<exit (\d+)>\r\n")
        answers.append(Answer(int(terminal.match.group(1)), terminal.before.replace("\r\n", "\n")))
    terminal.expect(pexpect.EOF)
    terminal.close()
    return answers
