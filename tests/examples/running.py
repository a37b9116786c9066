"""Runs an example as its reader would: as a program of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def environment(folder: Path) -> dict[str, str]:
    """An environment without settings of Triggers, in which temporary folders are made in the given one."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("TRIGGERS_") or "TEST" in name}
    return {**own, "TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}


def command(example: str, *arguments: object, program: str = "main.py") -> list[str]:
    """The command line of an example."""
    return [sys.executable, str(EXAMPLES / example / program), *map(str, arguments)]


def run(
    folder: Path, example: str, *arguments: object, program: str = "main.py", **extra: str
) -> subprocess.CompletedProcess[str]:
    """Runs an example to its end, in a folder and with that folder for temporary files."""
    return subprocess.run(
        command(example, *arguments, program=program),
        cwd=folder,
        env={**environment(folder), **extra},
        capture_output=True,
        encoding="utf-8",
        timeout=250,
    )


def lines(folder: Path, pattern: str) -> list[tuple[Path, list[dict[str, Any]]]]:
    """The records that a kept run has written: each file with its lines."""
    return [
        (path, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])
        for path in sorted(folder.glob(pattern))
    ]


def rewrite(path: Path, found: list[dict[str, Any]]) -> None:
    """Puts other lines into a file of records."""
    path.write_text("".join(json.dumps(line) + "\n" for line in found), encoding="utf-8")


def wait_until(true: Callable[[], bool], seconds: float = 200.0) -> None:
    """Waits until something has become true."""
    give_up_at = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up_at, "waited in vain"
        time.sleep(0.02)
