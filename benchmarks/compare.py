"""Compares two commits: ``python benchmarks/compare.py OLD NEW``. Rounds of both take turns, in processes of their own.

Each commit is checked out beside the other into a temporary folder; both run on the packages that are installed here, on
memory, on SQLite, and on Redis and PostgreSQL where ``TRIGGERS_TEST_REDIS_URL`` and ``TRIGGERS_TEST_POSTGRES_URL`` name them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("core", "sql", "redis")
FIRES = 200


def main() -> None:
    """Prints the table of both, and of their ratios."""
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(_measure(Path(sys.argv[2]))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="a commit")
    parser.add_argument("new", help="a commit, or . for the files as they are here")
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    found: dict[str, dict[str, list[float]]] = {"old": {}, "new": {}}
    with tempfile.TemporaryDirectory(prefix="triggers-compare-", ignore_cleanup_errors=True) as name:
        trees = {"old": _tree(options.old, Path(name, "old")), "new": _tree(options.new, Path(name, "new"))}
        for number in range(options.rounds):
            order = ("old", "new") if number % 2 else ("new", "old")
            for which in order:
                for what, took in _round(trees[which], Path(name)).items():
                    found[which].setdefault(what, []).append(took)
            print(f"round {number + 1} of {options.rounds}", file=sys.stderr, flush=True)
    print(f"| what | {options.old} | {options.new} | ratio |\n| --- | --- | --- | --- |")
    for what in found["new"]:
        if what not in found["old"]:
            continue
        old, new = statistics.median(found["old"][what]), statistics.median(found["new"][what])
        print(f"| {what} | {old * 1e6:.0f} µs | {new * 1e6:.0f} µs | {new / old:.2f} |")


def _tree(commit: str, folder: Path) -> Path:
    if commit == ".":
        return ROOT
    folder.mkdir()
    archive = subprocess.run(["git", "archive", commit, "packages"], cwd=ROOT, check=True, stdout=subprocess.PIPE)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def _round(tree: Path, folder: Path) -> dict[str, float]:
    sources = os.pathsep.join(str(tree / f"packages/triggers-{name}/src") for name in PACKAGES)
    with tempfile.TemporaryDirectory(dir=folder) as own:
        answer = subprocess.run(
            [sys.executable, __file__, "--measure", own],
            env={**os.environ, "PYTHONPATH": sources},
            check=True,
            capture_output=True,
            text=True,
        )
    measured: dict[str, float] = json.loads(answer.stdout.splitlines()[-1])
    return measured


def _measure(folder: Path) -> dict[str, float]:
    """The seconds of one fire on each storage, and the processor time of one in memory; in the process of one commit."""
    from triggers.manager import TriggerManager
    from triggers.process import Process
    from triggers.settings import Settings
    from triggers.storages import storage_backends

    run = f"compare-{uuid.uuid4().hex[:8]}"
    places: dict[str, tuple[str, dict[str, Any]]] = {
        "memory": ("memory", {}),
        "SQLite": ("sql", {"url": f"sqlite:///{folder}/compare.db"}),
    }
    if url := os.environ.get("TRIGGERS_TEST_REDIS_URL"):
        places["Redis"] = ("redis", {"url": url, "prefix": "triggers-compare:"})
    if url := os.environ.get("TRIGGERS_TEST_POSTGRES_URL"):
        url = url.replace("postgresql://", "postgresql+psycopg://")
        places["PostgreSQL"] = ("sql", {"url": url, "table_prefix": "triggers_compare_"})
    settings = Settings(sweep_interval=0.0, runner="inline")
    found: dict[str, float] = {}
    for name, (key, given) in places.items():
        storage = storage_backends.get(key, run, **given)
        storage.store.setup()
        manager = TriggerManager(storage, process=Process(settings=lambda: settings))
        manager.update_configuration({"t": {"after": ["a", "never"], "run": "bench.nothing"}})
        for _ in range(50):
            manager.fire("a", {"n": 1})
        began, worked = time.perf_counter(), time.process_time()
        for _ in range(FIRES):
            manager.fire("a", {"n": 1})
        found[f"a recorded fire, {name}"] = (time.perf_counter() - began) / FIRES
        found[f"a recorded fire, {name}, processor time"] = (time.process_time() - worked) / FIRES
        storage.delete()
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import triggers"], check=True)
    found["import triggers"] = time.perf_counter() - began
    return found


if __name__ == "__main__":
    main()
