"""Starts the application (a broker, a web process, a Celery worker), has respondents use it, and checks what came of it.

``python main.py`` drives the plain application beside it; ``--place``, ``--web`` and so on name another one that answers the
same requests.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

from check import check, entries
from programs import Program, Programs, free_port, start_redis
from respondents import Web, make_answers, send_all

HERE = Path(__file__).resolve().parent

TIMES = {"TRIGGERS_REDELIVER_AFTER": "2", "TRIGGERS_SWEEP_INTERVAL": "0.5"}
SHORT_LEASE = {"TRIGGERS_LEASE": "4"}
"""So that one need not wait to see a recovery; a machine that stands still for so long would repeat works, too."""


def main(arguments: list[str] | None = None) -> int:
    """Runs the demo; returns 0 if all is right."""
    options = read(arguments)
    with tempfile.TemporaryDirectory(prefix="survey-", ignore_cleanup_errors=True) as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        with Programs(folder) as programs:
            return run(options, folder, programs)


def run(options: argparse.Namespace, folder: Path, programs: Programs) -> int:
    """One run, with programs that are stopped by the caller."""
    port = free_port()
    environment = {
        **TIMES,
        **(SHORT_LEASE if options.kill else {}),
        "SURVEY_BROKER": options.broker or start_redis(programs),
        "SURVEY_SESSIONS": options.sessions or f"sqlite:///{folder / 'sessions.db'}",
        "SURVEY_LEDGER": str(folder / "ledger.db"),
        "SURVEY_FOLDER": str(folder),
        "PYTHONUNBUFFERED": "1",
        "C_FORCE_ROOT": "1",
    }

    def start(name: str, command: str) -> Program:
        return programs.start(name, [sys.executable, *command.format(port=port).split()], options.place, environment)

    if options.migrate:
        start("migrate", options.migrate).wait_until_ended()
    web = start("web", options.web)
    web.wait_for_port(port)
    worker = start("worker", options.worker)
    worker.wait_for_words(" ready.")
    print(f"a web process on port {port} and a worker run; what they say is in {folder}", flush=True)

    chance = random.Random(options.seed)
    answers = make_answers(options.respondents, chance)
    browser = Web(port)
    began = time.monotonic()

    def taken(number: int) -> None:
        show("answers", number, len(answers))
        if options.kill and number == len(answers) // 2:
            worker.kill()
            print("\nthe worker and its processes were killed by SIGKILL; another one starts", flush=True)
            start("worker-2", options.worker)

    send_all(browser, answers, options.at_once, taken)
    wait_for_works(browser, sorted({answer.respondent for answer in answers}), options.patience)
    took = time.monotonic() - began

    found = entries(folder / "ledger.db", options.table)
    lines = check(answers, found)
    show_end()
    print("Computed without Triggers from what was sent, and compared with what the works entered:")
    for good, words in lines:
        print(f"  {'ok   ' if good else 'WRONG'}  {words}")
    runs, again = sum(entry.runs for entry in found), sum(entry.runs > 1 for entry in found)
    print(f"{len(answers)} answers, {len(found)} effects, {runs} runs in {took:.1f} s")
    if again:
        print(f"{again} works had entered their effect when the worker was killed, and ran again: it is there once")
    right = all(good for good, _ in lines) and (options.kill or not again)
    print("All right." if right else "NOT right.")
    return 0 if right else 1


def wait_for_works(web: Web, respondents: list[str], patience: float) -> None:
    """Waits until nothing is left to do."""
    end = time.monotonic() + patience
    waiting = respondents
    while waiting:
        waiting = [respondent for respondent in waiting if web.state(respondent)["open"]]
        show("respondents done", len(respondents) - len(waiting), len(respondents))
        if time.monotonic() > end:
            raise SystemExit(f"\nafter {patience:g} s there is still work for {', '.join(waiting[:5])}")
        time.sleep(0.2)


def show(what: str, number: int, of: int) -> None:
    """Progress: a line that changes in a terminal, nothing else elsewhere."""
    if sys.stdout.isatty():
        print(f"\r{what}: {number} of {of}   ", end="", flush=True)


def show_end() -> None:
    """Ends the line that changes."""
    if sys.stdout.isatty():
        print()


def read(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--respondents", type=int, default=40, help="how many people answer")
    parser.add_argument("--at-once", type=int, default=4, help="how many answers are sent at the same time")
    parser.add_argument("--seed", type=int, default=1, help="another order of everything")
    parser.add_argument("--kill", action="store_true", help="kill the worker in the middle")
    parser.add_argument("--broker", help="a broker to use (redis://…, amqp://…); else a Redis of its own is started")
    parser.add_argument("--sessions", help="a database for the sessions, as a URL; else a SQLite file")
    parser.add_argument("--folder", type=Path, help="keep all files here; else they are removed")
    parser.add_argument("--patience", type=float, default=90, help="how long (seconds) the works may take at the end")
    parser.add_argument("--place", type=Path, default=HERE, help="the folder of the application")
    parser.add_argument("--migrate", default="-m survey.migrate", help="how python makes its tables")
    parser.add_argument("--web", default="-m survey.web --port {port}", help="how python starts its web process")
    parser.add_argument(
        "--worker", default="-m celery -A survey.queue worker -c 2 -Q survey,letters -l INFO", help="how python starts its worker"
    )
    parser.add_argument("--table", default="entry", help="the table of its ledger")
    options = parser.parse_args(arguments)
    if not options.table.isidentifier():
        parser.error(f"--table is the name of a table, got {options.table!r}")
    return options


if __name__ == "__main__":
    sys.exit(main())
