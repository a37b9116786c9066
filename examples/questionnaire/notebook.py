"""What the processes and the works write down themselves, without the framework: lines of JSON in files of their own."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


class Notebook:
    """A folder in which each process appends to files of its own, and that one process reads as it grows.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._read: dict[Path, int] = {}

    def write(self, kind: str, **entry: Any) -> None:
        """Appends one line with one system call, so that lines of several threads never mix."""
        line = json.dumps({"kind": kind, "at": time.time(), **entry}, ensure_ascii=False) + "\n"
        handle = os.open(self.folder / f"{kind}-{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def new_lines(self) -> list[dict[str, Any]]:
        """The lines that were written since the last call, by anybody."""
        found = []
        for path in sorted(self.folder.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                text = file.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            found += [json.loads(line) for line in whole.splitlines()]
        return found

    def all_lines(self) -> list[dict[str, Any]]:
        """All lines that were ever written here, in order of time."""
        lines = Notebook(self.folder).new_lines()
        return sorted(lines, key=lambda line: float(line["at"]))
