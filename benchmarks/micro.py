"""pyperf: a recorded fire on memory and on SQLite, the engine alone, and the import.

``python benchmarks/micro.py --fast`` takes about two minutes; pyperf's own options apply.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyperf

from triggers.codec import EMPTY
from triggers.engine.application import Fire
from triggers.engine.commands import decide
from triggers.engine.decision import Terms
from triggers.engine.view import View
from triggers.manager import TriggerManager
from triggers.process import Process
from triggers.settings import Settings
from triggers.storages import storage_backends
from triggers.storages.base import BaseTriggerStorage
from triggers.storages.memory import MemoryStorageBackend, MemoryStore

TASKS = {"t": {"after": ["a", "never"], "run": "x"}}


def manager_on(storage: BaseTriggerStorage, remembered: int) -> TriggerManager:
    """A manager with a configured session whose task has an instance that waits."""
    settings = Settings(sweep_interval=0.0, runner="inline", remembered_sessions=remembered)
    manager = TriggerManager(storage, process=Process(settings=lambda: settings))
    manager.update_configuration(TASKS)
    manager.fire("a")
    return manager


def engine_alone() -> Any:
    """Deciding a recorded fire on a loaded view, and encoding its change."""
    store = MemoryStore()
    manager = manager_on(MemoryStorageBackend("bench", store=store), 0)
    command = Fire("a", EMPTY)
    configuration = manager._process.runtime.believed_configuration((id(store), "bench"))
    want = command.want(configuration)
    snapshot = store.load("bench", want)
    known = manager._process.runtime.configurations
    now, terms = datetime.now(UTC), Terms(history=100)

    def run() -> None:
        decide("bench", View(snapshot, want, known), command, now, terms).change("client:1", 32)

    return run


def main() -> None:
    """Measures."""
    folder = Path(tempfile.mkdtemp(prefix="triggers-bench-"))
    runner = pyperf.Runner()
    runner.bench_func("engine alone", engine_alone())
    for remembered in (0, 1000):
        what = "speculating" if remembered else "loading"
        memory = manager_on(MemoryStorageBackend(f"bench-{remembered}", store=MemoryStore()), remembered)
        runner.bench_func(f"fire, memory, {what}", memory.fire, "a", {"n": 1})
        url = f"sqlite:///{folder}/bench.db"
        sqlite = manager_on(storage_backends.get("sql", f"bench-{remembered}", url=url), remembered)
        runner.bench_func(f"fire, SQLite, {what}", sqlite.fire, "a", {"n": 1})
    runner.bench_func("import triggers", subprocess.run, [sys.executable, "-c", "import triggers"])
    runner.bench_func("bare interpreter", subprocess.run, [sys.executable, "-c", "pass"])


if __name__ == "__main__":
    main()
