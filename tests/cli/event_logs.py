"""Event logs for ``triggers fire --from``: made up or real, and what must be stored after them, computed without Triggers."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import triggers
from triggers import Status

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "eventlog"
WORKS = """
from triggers import task

@task("eventlog.note")
def note(context):
    rows = set()
    for kwargs in context.trigger_kwargs.values():
        rows.update([kwargs["row"]] if "row" in kwargs else kwargs.get("rows", ()))
    return {"rows": sorted(rows)}
"""
TIMES = "lease = 5.0\nredeliver_after = 2.0\nsweep_interval = 0.5\n"
"""How soon the work of a process that was killed is taken up by another."""


def of_the_example(name: str) -> ModuleType:
    """A module of the event log example."""
    spec = importlib.util.spec_from_file_location(f"eventlog_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@dataclass(frozen=True)
class Log:
    """A log with a first column ``row``, and the configuration of its sessions, in a folder with settings and works."""

    folder: Path
    columns: Mapping[str, str]
    rows: list[dict[str, str]]
    tasks: dict[str, Any]
    url: str

    def arguments(self, *more: str) -> list[str]:
        """The command line that fires it."""
        uid, trigger = self.columns["session"], self.columns["trigger"]
        columns = ["--uid-column", uid, "--trigger-column", trigger, "--rest-as-kwargs"]
        return ["fire", "--from", "log.csv", *columns, "--configure", "tasks.json", "--yes", *more]

    def start(self, *more: str) -> subprocess.Popen[str]:
        """Starts the command in a group of processes of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "triggers_cli", *self.arguments(*more)],
            cwd=self.folder, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            start_new_session=True,
        )  # fmt: skip

    def expected(self) -> dict[str, Any]:
        """For each session: how often something fired in it, and what each work received; computed from the rows alone."""
        expectation = of_the_example("expectation")
        book = expectation.Rulebook(self.tasks)
        fires = defaultdict(list)
        for number, row in enumerate(self.rows, 1):
            fires[row[self.columns["session"]]].append((number, row[self.columns["trigger"]]))
        found = {}
        for uid, fired in fires.items():
            must = book.expect(fired, known_order=True)
            found[uid] = (len(fired) + must.works.total(), must.works, must.abandoned)
        return found

    def stored(self) -> dict[str, Any]:
        """The same of what is stored."""
        book = of_the_example("expectation").Rulebook(self.tasks)
        found = {}
        for uid in {row[self.columns["session"]] for row in self.rows}:
            storage = triggers.get_manager(uid).storage
            works: Counter[Any] = Counter()
            abandoned: Counter[str] = Counter()
            for instance in storage:
                if instance.status is Status.ABANDONED:
                    abandoned[instance.task] += 1
                elif instance.status is not Status.UNSTARTED:
                    assert instance.status is Status.FINISHED, f"{uid} {instance}"
                    seen = {trigger: rows_of(kwargs) for trigger, kwargs in instance.kwargs.items()}
                    works[instance.task, book.shown(instance.task, seen, known_order=True)] += 1
            found[uid] = (storage.metadata["fires"], works, abandoned)
        return found


def rows_of(kwargs: Mapping[str, Any]) -> tuple[int, ...]:
    """The rows that a trigger stems from."""
    return (int(kwargs["row"]),) if "row" in kwargs else tuple(sorted(map(int, kwargs["rows"])))


def prepare(folder: Path, url: str, sessions: int, real: str | None = None) -> Log:
    """A log of so many orders, or the real one, in a folder with settings for this database."""
    source = folder / "made.csv"
    if real is None:
        with source.open("w", encoding="utf-8", newline="") as file:
            of_the_example("generate").write(file, sessions, 7)
        document = json.loads((EXAMPLE / "orders.json").read_text(encoding="utf-8"))
    else:
        source = Path(real)
        document = json.loads((EXAMPLE / "permits.json").read_text(encoding="utf-8"))
    with source.open(encoding="utf-8", newline="") as file:
        rows = [{"row": str(number), **row} for number, row in enumerate(csv.DictReader(file), 1)]
    with (folder / "log.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    (folder / "tasks.json").write_text(json.dumps(document["tasks"]), encoding="utf-8")
    (folder / "works.py").write_text(WORKS, encoding="utf-8")
    (folder / "triggers.toml").write_text(
        f'storage = "sql"\ntasks = ["works"]\n{TIMES}[storages.sql]\nurl = "{url}"\n', encoding="utf-8"
    )
    return Log(folder, document["columns"], rows, document["tasks"], url)


def clean_environment() -> dict[str, str]:
    """The environment without settings of this run."""
    return {name: value for name, value in os.environ.items() if not name.startswith("TRIGGERS_")}
