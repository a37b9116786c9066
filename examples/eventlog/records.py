"""What the firing processes and the works write down themselves, without Triggers: lines of JSON in a folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FOLDER = "EVENTLOG_FOLDER"
"""The environment variable that tells the works where to write."""

_STARTED = time.time_ns()


class Records:
    """A folder with one file per process and kind; only appended to.

    Args:
        folder: where the files are.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._counted: dict[Path, tuple[int, int]] = {}

    def write(self, kind: str, **entry: Any) -> None:
        """Appends a line with one system call, so that the lines of several threads never mix."""
        line = json.dumps({"at": round(time.time(), 4), **entry}, ensure_ascii=False, separators=(",", ":")) + "\n"
        handle = os.open(self.folder / f"{kind}-{_STARTED}-{os.getpid()}.jsonl", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)

    def read(self, kind: str) -> Iterator[dict[str, Any]]:
        """All lines of a kind: those of a process in its own order, those of an earlier run first."""
        for path in sorted(self.folder.glob(f"{kind}-*.jsonl")):
            # The last line of a process that was killed may lack its end.
            yield from (json.loads(line) for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n"))

    def count(self, kind: str) -> int:
        """How many lines of a kind there are; reads only what is new."""
        total = 0
        for path in self.folder.glob(f"{kind}-*.jsonl"):
            offset, lines = self._counted.get(path, (0, 0))
            with path.open("rb") as file:
                file.seek(offset)
                new = file.read()
            self._counted[path] = (offset + len(new), lines + new.count(b"\n"))
            total += self._counted[path][1]
        return total
