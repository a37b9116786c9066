"""Runs the code of the manual: the blocks of a page in order, in one namespace and an empty folder of their own."""

from __future__ import annotations

import doctest
import logging
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from sybil import Example, Sybil
from sybil.parsers.myst import CodeBlockParser, PythonCodeBlockParser, SkipParser

from triggers import settings
from triggers.process import get_process
from triggers.storages.base import forget_shared_stores
from triggers.tasks import registered


def _begin(namespace: dict[str, Any]) -> None:
    namespace["_folder"] = Path.cwd()
    namespace["_known"] = set(registered.names())
    logging.getLogger("triggers").setLevel(logging.CRITICAL)
    os.chdir(tempfile.mkdtemp(prefix="manual-"))
    settings.reset()
    forget_shared_stores()


def _end(namespace: dict[str, Any]) -> None:
    process = get_process()
    for runner in process.runners.opened():
        runner.join_all(30)
    for name in set(registered.names()) - namespace["_known"]:
        registered.remove(name)
    settings.reset()
    forget_shared_stores()
    logging.getLogger("triggers").setLevel(logging.NOTSET)
    os.chdir(namespace["_folder"])


def _save(example: Example) -> None:
    """Blocks that begin with ``# name.py`` or ``# name.toml`` are files of the page's folder."""
    found = re.match(r"# ([\w.-]+\.(?:py|toml))\n", example.parsed)
    if found:
        Path(found[1]).write_text(example.parsed, encoding="utf-8")


def _type_in(example: Example) -> None:
    """Types each line after ``$`` into a shell, and compares what it says with what follows; ``...`` stands for anything."""
    commands = re.split(r"^\$ ", example.parsed, flags=re.MULTILINE)[1:]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TRIGGERS_")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    shell = {**kept, "PATH": path, "COLUMNS": "100", "NO_COLOR": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    for command in commands:
        typed, _, expected = command.partition("\n")
        done = subprocess.run(  # noqa: S603 - what the manual itself says
            ["/bin/bash", "-c", typed], env=shell, capture_output=True, text=True, timeout=60, check=False
        )
        said = "".join(f"{line.rstrip()}\n" for line in (done.stdout + done.stderr).splitlines())
        if not doctest.OutputChecker().check_output(expected.rstrip() + "\n", said.rstrip() + "\n", doctest.ELLIPSIS):
            raise AssertionError(f"$ {typed}\nexpected:\n{expected}\nbut it said ({done.returncode}):\n{said}")


pytest_collect_file = Sybil(
    parsers=[
        PythonCodeBlockParser(),
        SkipParser(),
        CodeBlockParser("toml", _save),
        CodeBlockParser("py", _save),
        CodeBlockParser("console", _type_in),
    ],
    patterns=["*.md"],
    excludes=["writing-a-backend.md"],  # tests/third_party follows it in environments of its own
    setup=_begin,
    teardown=_end,
).pytest()
