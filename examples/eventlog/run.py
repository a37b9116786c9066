"""One run: shares of the log for several processes, until everything has ended, and what came of it."""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import random
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from check import Claims, Verdict, check
from expectation import Rulebook
from firing import Share, fire_share
from reading import Event, Plan
from records import FOLDER, Records

import triggers
from report import Progress, processes_table, table
from triggers import BaseTriggerStorage, Status
from triggers.config import parse_configuration
from triggers.errors import SettingsError
from triggers.storages import storage_backends

PATIENCE = 90.0
"""How many seconds may pass without anything happening before the run is given up."""
TIMES = {"lease": 20.0, "redeliver_after": 10.0, "sweep_interval": 2.0}
"""How soon the work of a process that was killed is taken up by another."""
MOST_SHOWN = 10
IN_FLIGHT = (Status.SCHEDULED, Status.RUNNING)


class Stuck(Exception):
    """A process ended that should not have, or nothing happens any more."""


class Run:
    """Fires a log, waits, checks.

    Args:
        options: the command line.
        folder: where everything is written down.
        log: the event log.
        plan: what its columns mean, and the tasks.
        events: its rows, in the order in which they would be fired.
    """

    def __init__(self, options: argparse.Namespace, folder: Path, log: Path, plan: Plan, events: list[Event]) -> None:
        self.options = options
        self.folder = folder
        parse_configuration(plan.tasks)
        self.book = Rulebook(plan.tasks)
        self.log = log
        self.events = events
        self.sessions: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            self.sessions[event.session].append(event)
        chance = random.Random(options.seed)
        self.shared = frozenset(chance.sample(sorted(self.sessions), round(len(self.sessions) * options.shared)))
        if options.order == "shuffled":
            chance.shuffle(events)
        self.records = Records(folder)
        self.settings = settings_for(options, folder)
        triggers.configure(**self.settings)
        storage_backends.backend_of(options.storage)
        self.prefix = self._begin(plan)
        self._stop = multiprocessing.get_context("spawn").Event()
        self._processes: list[SpawnProcess] = []

    def play(self) -> bool:
        """Fires what is not fired yet and waits for all work; returns whether the check found everything right."""
        os.environ[FOLDER] = str(self.folder)
        shares = self._shares()
        print(
            f"{self.log.name}: {len(self.events)} rows of {len(self.sessions)} sessions, fired by {len(shares)} processes "
            f"in {self.options.order} order\ninto storage {self.options.storage!r}; "
            f"into {len(self.shared)} sessions all processes fire at once (seed {self.options.seed})\n",
            flush=True,
        )
        storage_backends.open_store(self.options.storage).setup()
        for share in shares:
            self._start(share)
        self._watch()
        stored = self._settle()
        self.end()
        return self._tell(stored)

    def check_again(self) -> bool:
        """Checks what was written down; fires nothing."""
        return self._tell(None)

    def end(self) -> None:
        """Stops the processes that are still there, and deletes the sessions of a run that is not kept."""
        self._stop.set()
        for process in self._processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
        started, self._processes = bool(self._processes), []
        if started and not self.options.folder and str(self.folder) not in repr(self.settings):
            for session in self.sessions:
                triggers.get_manager(self.prefix + session).storage.delete()

    def _begin(self, plan: Plan) -> str:
        """Writes down, or compares with what is written down, what this run is about; returns the prefix of its sessions."""
        about = {
            "log": hashlib.sha256(self.log.read_bytes()).hexdigest(),
            "tasks": plan.tasks,
            **{name: getattr(self.options, name) for name in ("order", "seed", "shared", "storage")},
        }
        path = self.folder / "run.json"
        if path.exists():
            known = json.loads(path.read_text(encoding="utf-8"))
            for name, value in about.items():
                if known[name] != value:
                    raise SettingsError(f"the run in {self.folder} began with another {name}; give the same, or a new --folder")
            return str(known["prefix"])
        prefix = f"eventlog/{os.urandom(4).hex()}/"
        path.write_text(json.dumps({**about, "prefix": prefix}, ensure_ascii=False, indent=1), encoding="utf-8")
        return prefix

    def _shares(self) -> list[Share]:
        fired = frozenset(line["row"] for line in self.records.read("fired"))
        number_of = {session: number for number, session in enumerate(sorted(self.sessions))}
        often = {task: directives for task, directives in self.book.tasks.items() if task not in self.book.order_matters}
        configurations = {session: often if session in self.shared else dict(self.book.tasks) for session in self.sessions}
        rows: list[list[Event]] = [[] for _ in range(self.options.processes)]
        for number, event in enumerate(self.events):
            owner = number if event.session in self.shared else number_of[event.session]
            rows[owner % len(rows)].append(event)
        return [
            Share(number, part, configurations, self.settings, self.folder, self.prefix, fired)
            for number, part in enumerate(rows)
        ]

    def _start(self, share: Share) -> None:
        process = multiprocessing.get_context("spawn").Process(target=fire_share, args=(share, self._stop))
        # A child inherits what is ignored: Ctrl-C reaches the whole group, and only this process is to act on it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        self._processes.append(process)

    def _counts(self) -> tuple[int, int]:
        return self.records.count("fired"), self.records.count("work")

    def _watch(self) -> None:
        progress = Progress(len(self.events), self._counts)
        last, last_news = (0, 0), time.monotonic()
        while any(process.is_alive() for process in self._processes):
            found = progress.show()
            if found != last:
                last, last_news = found, time.monotonic()
            elif time.monotonic() - last_news > PATIENCE:
                raise Stuck(f"nothing has happened for {PATIENCE:.0f} seconds")
            if any(process.exitcode for process in self._processes):
                raise Stuck("a process ended with an error; see above")
            time.sleep(0.1)
        if any(process.exitcode for process in self._processes):
            raise Stuck("a process ended with an error; see above")
        progress.show(last=True)

    def _settle(self) -> Counter[tuple[str, str]]:
        """Waits until nothing is scheduled or running; returns how many instances of a task have which status."""
        counts: Counter[tuple[str, str]] = Counter()
        give_up_at = time.monotonic() + PATIENCE
        for session in self.sessions:
            storage = triggers.get_manager(self.prefix + session).storage
            while in_flight(found := statuses_of(storage)):
                if time.monotonic() > give_up_at:
                    raise Stuck(f"session {session} still has work to do:\n{storage.debug_repr()}")
                triggers.sweep()
                triggers.join_all()
                time.sleep(0.5)
            counts.update(found)
        return counts

    def _tell(self, stored: Counter[tuple[str, str]] | None) -> bool:
        fired, works = list(self.records.read("fired")), list(self.records.read("work"))
        interrupted = bool(self.options.resume or self.options.check)
        verdict = check(self.book, Claims(self.sessions, self.shared, self.prefix, interrupted), fired, works)
        if stored is not None:
            self._compare_stored(stored, verdict)
            self._tell_speed(fired, works)
        print("\nThe tasks: what the log says, computed without Triggers, and what the works wrote down\n")
        headings = ["task", "waits for", "had to run", "ran", "abandoned"]
        rows = [
            [task, waits_for(self.book.tasks[task]), verdict.expected[task], verdict.ran[task], verdict.abandoned[task]]
            for task in self.book.tasks
        ]
        print(table(headings, rows))
        if verdict.again:
            print(f"\n{verdict.again} works were begun again, because their process was stopped in the middle")
        for line in verdict.wrong[:MOST_SHOWN]:
            print(f"WRONG  {line}")
        if len(verdict.wrong) > MOST_SHOWN:
            print(f"WRONG  and {len(verdict.wrong) - MOST_SHOWN} more")
        total = f"{verdict.expected.total()} works had to run, {verdict.ran.total()} ran"
        print(f"\n{'NOT right' if verdict.wrong else 'All right'}: {total}; {len(verdict.wrong)} differences")
        return not verdict.wrong

    def _compare_stored(self, stored: Counter[tuple[str, str]], verdict: Verdict) -> None:
        for task in self.book.tasks:
            for status, wanted in (("finished", verdict.expected[task]), ("abandoned", verdict.abandoned[task]), ("failed", 0)):
                if stored[task, status] != wanted:
                    verdict.wrong.append(f"stored are {stored[task, status]} {status} instances of {task}, not {wanted}")

    def _tell_speed(self, fired: Sequence[dict[str, Any]], works: Sequence[dict[str, Any]]) -> None:
        if not fired:
            return
        times: dict[int, list[float]] = defaultdict(list)
        for line in fired:
            times[line["process"]].append(line["ms"])
        moments = [line["at"] for line in (*fired, *works)]
        seconds = max(max(moments) - min(moments), 0.001)
        speed = f"{len(fired)} rows fired, {len(works)} works done, {len(works) / seconds:.0f} works per second"
        print(f"\nIn {seconds:.1f} s: {speed}\n")
        print(processes_table(times, seconds))


def statuses_of(storage: BaseTriggerStorage) -> list[tuple[str, str]]:
    """The task and the status of each instance of a session."""
    return [(instance.task, str(instance.status)) for instance in storage]


def in_flight(found: Sequence[tuple[str, str]]) -> bool:
    """Whether any of these is scheduled or running."""
    return any(status in IN_FLIGHT for _, status in found)


def waits_for(directives: dict[str, Any]) -> str:
    """What a task waits for, in few words."""
    after, every, unless = directives.get("after", []), directives.get("andEvery"), directives.get("unless", [])
    parts = [f"{len(after)} trigger{'s' if len(after) != 1 else ''}"] if after else []
    parts += ["each of one"] if every else []
    return " and ".join(parts) + (f", unless {len(unless)}" if unless else "")


def settings_for(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The settings of Triggers, the same in every process."""
    if options.storage == "memory":
        raise SettingsError("the memory storage is seen by one process only; take sql, redis or cache")
    settings: dict[str, Any] = {"storage": options.storage, "runner": "threading", "tasks": ["works"], "threads": 2, **TIMES}
    if options.url:
        settings["storages"] = {options.storage: {"url": options.url}}
    elif options.storage == "sql" and "TRIGGERS_SQL_URL" not in os.environ:
        settings["storages"] = {"sql": {"url": f"sqlite:///{folder / 'eventlog.db'}"}}
    return settings
