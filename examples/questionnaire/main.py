"""Several processes send the pages of a questionnaire in random order; each join runs exactly once.

Shows progress, then what is stored, then a check that is computed without Triggers, from what the processes and the works wrote
down themselves. Ends with 0 if all is as it has to be, with 1 if not, with 2 if it could not run.

    python examples/questionnaire/main.py
    python examples/questionnaire/main.py --sessions 500 --processes 8 --pause 0
    python examples/questionnaire/main.py --kill
    python examples/questionnaire/main.py --storage redis --url redis://localhost/0
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

from answering import Answer, deal, make_answers, send
from check import check
from display import Progress, findings_text, instances_table, letter_of, sessions_table
from notebook import Notebook
from survey import CONFIGURATION, FOLDER

import triggers
from triggers import Status, TaskInstance, TriggersError
from triggers.errors import SettingsError
from triggers.storages import storage_backends

PATIENCE = 60.0
"""How many seconds may pass without anything happening before the run is given up."""
IN_FLIGHT = (Status.SCHEDULED, Status.RUNNING)


class Stuck(Exception):
    """A process ended that should not have, or nothing happens any more."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=positive, default=80, metavar="N", help="respondents (80)")
    parser.add_argument("--processes", type=positive, default=4, metavar="N", help="processes that send answers (4)")
    parser.add_argument("--seed", type=int, help="repeat a run: who answers what, and who sends it (random)")
    parser.add_argument("--pause", type=seconds, default=0.02, metavar="S", help="seconds between two answers (0.02)")
    parser.add_argument("--kill", action="store_true", help="kill one process in the middle, with SIGKILL")
    parser.add_argument("--storage", default=os.environ.get("TRIGGERS_STORAGE", "sql"), metavar="KEY", help="storage (sql)")
    parser.add_argument("--url", help="URL of the storage (an SQLite file that is removed at the end)")
    parser.add_argument("--folder", type=Path, help="a new folder for the own records and the SQLite file; it stays")
    parser.add_argument("--check", action="store_true", help="only check the records of an earlier run in --folder again")
    parser.add_argument("--keep", action="store_true", help="do not delete the sessions at the end")
    parser.add_argument("--rows", type=positive, default=12, metavar="N", help="respondents in the table (12)")
    options = parser.parse_args(arguments)
    if options.check and not options.folder:
        parser.error("--check needs the --folder of the earlier run")
    return options


def positive(text: str) -> int:
    """A whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def seconds(text: str) -> float:
    """A time of 0 or more."""
    number = float(text)
    if not 0 <= number < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, not {text}")
    return number


def settings_for(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The settings of Triggers, the same in every process."""
    if options.storage == "memory":
        raise SettingsError("the memory storage is seen by one process only; take sql, redis or cache")
    settings: dict[str, Any] = {"storage": options.storage, "runner": "threading", "tasks": ["survey"], "threads": 4}
    if options.url:
        settings["storages"] = {options.storage: {"url": options.url}}
    elif options.storage == "sql" and "TRIGGERS_SQL_URL" not in os.environ:
        settings["storages"] = {"sql": {"url": f"sqlite:///{folder / 'questionnaire.db'}"}}
    if options.kill:
        settings |= {"lease": 2.0, "redeliver_after": 2.0, "sweep_interval": 0.5}
    return settings


class Run:
    """One run, from the first answer to the check."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self.options = options
        self.folder = folder
        self.seed = random.randrange(10**6) if options.seed is None else options.seed
        self.settings = settings_for(options, folder)
        self.in_folder = str(folder) in repr(self.settings)
        self.made: list[str] = []
        self.notebook = Notebook(folder)
        self.sessions = self._sessions_of_before() if options.check else self._new_sessions()
        chance = random.Random(self.seed)
        self.shares = deal(make_answers(self.sessions, chance), options.processes, chance)
        self.progress = Progress([len(share) for share in self.shares])
        self.done: set[int] = set()
        context = multiprocessing.get_context("spawn")
        self._stop = context.Event()
        self._spawn = context.Process
        self._processes: dict[int, SpawnProcess] = {}

    def _new_sessions(self) -> list[str]:
        run = f"questionnaire/{os.urandom(3).hex()}"
        return [f"{run}/{number:03}" for number in range(1, self.options.sessions + 1)]

    def _sessions_of_before(self) -> list[str]:
        return sorted({line["session"] for line in self.notebook.all_lines() if "session" in line})

    def play(self) -> bool:
        """Does all of it; returns whether the check found everything right."""
        os.environ[FOLDER] = str(self.folder)
        triggers.configure(**self.settings)
        if self.options.check:
            return self._tell()
        self._greet()
        storage_backends.open_store(self.options.storage).setup()
        for session in self.sessions:
            triggers.get_manager(session).update_configuration(CONFIGURATION)
            self.made.append(session)
        for number, share in enumerate(self.shares):
            self._start(number, share)
        print("the processes start", flush=True)
        self._watch()
        for session in self.sessions:
            triggers.get_manager(session).fire("deadline", event_id="deadline")
        self._settle()
        self.end()
        return self._tell()

    def end(self) -> None:
        """Stops the processes that are still there."""
        self._stop.set()
        for process in self._processes.values():
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
        self._processes.clear()

    def remove(self) -> None:
        """Deletes the sessions, unless they are to be kept or go with the folder."""
        if not self.options.keep and not self.in_folder:
            for session in self.made:
                triggers.get_manager(session).storage.delete()

    def _start(self, number: int, share: list[Answer]) -> None:
        process = self._spawn(target=send, args=(share, self.settings, str(self.folder), number, self.options.pause, self._stop))
        # A child inherits what is ignored: Ctrl-C reaches the whole group, and only this process is to act on it.
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, before)
        self._processes[number] = process

    def _greet(self) -> None:
        answers = sum(map(len, self.shares))
        print(
            f"{len(self.sessions)} respondents send {answers} pages and comments in random order\n"
            f"through {len(self.shares)} processes into {place_of(self.settings)} (seed {self.seed})\n"
        )

    def _watch(self) -> None:
        """Until every process has sent its share."""
        victim = 0 if self.options.kill else None
        last_news = time.monotonic()
        while len(self.done) < len(self.shares):
            lines = self.notebook.new_lines()
            if lines:
                last_news = time.monotonic()
            self.progress.take(lines)
            self.done |= {line["process"] for line in lines if line["kind"] == "done"}
            self.progress.show()
            if victim is not None and self.progress.sent[victim] >= len(self.shares[victim]) * 0.4:
                self._kill(victim)
                victim = None
            self._look_after(last_news)
            time.sleep(0.05)
        self.progress.show(last=True)

    def _kill(self, number: int) -> None:
        process = self._processes[number]
        process.kill()
        process.join()
        self.notebook.write("killed", process=number)
        self.progress.note(
            f"process {letter_of(number)} was killed; a new one sends its share again, from the first answer: "
            "what is stored already is recognised by its event id"
        )
        self.progress.sent[number] = 0
        self._start(number, self.shares[number])

    def _look_after(self, last_news: float) -> None:
        ended = [letter_of(number) for number, process in self._processes.items() if process.exitcode is not None]
        if ended:
            raise Stuck(f"process {ended[0]} ended with an error; see above")
        if time.monotonic() - last_news > PATIENCE:
            raise Stuck(f"nothing has happened for {PATIENCE:.0f} seconds")

    def _settle(self) -> None:
        """Until nothing is scheduled or running any more; this process has its part in the work by now."""
        last_news = time.monotonic()
        open_sessions = list(self.sessions)
        while open_sessions:
            lines = self.notebook.new_lines()
            if lines:
                last_news = time.monotonic()
            self.progress.take(lines)
            self.progress.show()
            self._look_after(last_news)
            while open_sessions and not in_flight(open_sessions[-1]):
                open_sessions.pop()
            time.sleep(0.05 if open_sessions else 0)
        self.progress.take(self.notebook.new_lines())
        self.progress.show(last=True)

    def _tell(self) -> bool:
        lines = self.notebook.all_lines()
        stored = {session: triggers.get_manager(session).storage.instances for session in self.sessions}
        print("\nWhat is stored, by respondent:\n")
        print(sessions_table(lines, stored, self.options.rows))
        print("\nand by task:\n")
        print(instances_table(stored))
        findings = check(lines, {session: total_of(instances) for session, instances in stored.items()})
        print("\nThe check, computed without Triggers from what the processes and the works wrote down:\n")
        print(findings_text(findings))
        good = all(finding.good for finding in findings)
        fires = sum(line["kind"] == "answer" for line in lines) + len(self.sessions)
        works = sum(line["kind"] == "work" for line in lines)
        took = lines[-1]["at"] - lines[0]["at"]
        print(
            f"\n{'All right' if good else 'NOT right'}: {fires} fires and {works} works in {took:.1f} s, "
            f"{(fires + works) / took:.0f} per second."
        )
        return good


def place_of(settings: dict[str, Any]) -> str:
    """Where the sessions are kept, as people say it."""
    shown = repr(triggers.get_settings().options_of(settings["storage"]).get("url", ""))
    url = str(triggers.settings.redact(shown)).strip("'")
    if url.startswith("sqlite:///"):
        return "one SQLite file"
    return f"storage {settings['storage']!r}" + (f" at {url}" if url else "")


def in_flight(session: str) -> bool:
    """Whether anything of a session is scheduled or running."""
    return any(instance.status in IN_FLIGHT for instance in triggers.get_manager(session).storage)


def total_of(instances: dict[str, TaskInstance]) -> int | None:
    """The total of the stored report."""
    found = instances.get("t_report#0")
    return None if found is None or found.result is None else found.result.get("total")


@contextmanager
def place(options: argparse.Namespace) -> Iterator[Path]:
    """The folder for the own records: the one asked for, else a temporary one that is removed."""
    if options.check:
        if not any(options.folder.glob("*.jsonl")):
            raise SettingsError(f"{options.folder} has no records of an earlier run")
        yield options.folder.resolve()
        return
    if options.folder:
        options.folder.mkdir(parents=True)
        yield options.folder.resolve()
        return
    folder = Path(tempfile.mkdtemp(prefix="questionnaire-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main(arguments: list[str] | None = None) -> int:
    """Runs and returns the exit status."""
    options = parse(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with place(options) as folder:
            run = Run(options, folder)
            try:
                return 0 if run.play() else 1
            finally:
                run.end()
                run.remove()
    except KeyboardInterrupt:
        print("\nstopped" if options.folder or options.keep else "\nstopped; nothing is left behind", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Nobody reads any more (`| head`): nothing else is to be said, also not at the end of the interpreter.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Stuck as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 1
    except FileExistsError:
        print(f"main.py: {options.folder} is there already; name a new folder", file=sys.stderr)
        return 2
    except (TriggersError, OSError) as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
