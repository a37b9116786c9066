"""Fires each row of an event log (CSV) from several processes in shuffled order, and checks what ran against the log itself.

A configuration file (JSON) says which columns hold the session and the trigger, and which tasks wait for which of them. Half of
the sessions are fired by one process each, so that the order of their rows is known; into the other half all processes fire at
once, with those tasks only for which the order does not matter. Ends with 0 if all ran as it had to, with 1 if not, with 2
for input that cannot be used.

    python examples/eventlog/main.py                            a log that is made up
    python examples/eventlog/main.py --log orders.csv --processes 4
    python examples/eventlog/main.py --log other.csv --config other.json --session-column case --trigger-column activity
    python examples/eventlog/main.py --log orders.csv --folder run    keeps everything; --resume goes on, --check checks again
    python examples/eventlog/main.py --storage redis --url redis://localhost/0
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from expectation import Impossible
from generate import write as write_log
from reading import BadInput, Columns, Event, Plan, plan_for, read_events, read_header, read_plan, with_options

from run import Run, Stuck
from triggers import TriggersError

HERE = Path(__file__).resolve().parent
GENERATED = 300
"""How many orders the log has that is made where none is given."""


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    log = parser.add_argument_group("the log")
    log.add_argument("--log", type=Path, help="the CSV file (TRIGGERS_EVENTLOG, else one that is made up)")
    log.add_argument("--config", type=Path, help="the JSON file with columns and tasks (that of this folder whose columns fit)")
    log.add_argument("--session-column", metavar="NAME", help="instead of the configuration's")
    log.add_argument("--trigger-column", metavar="NAME", help="instead of the configuration's")
    log.add_argument("--time-column", metavar="NAME", help="instead of the configuration's")
    log.add_argument("--kwargs-columns", type=names, metavar="A,B,…", help="instead of the configuration's")
    how = parser.add_argument_group("how it is fired")
    how.add_argument("--processes", type=positive, default=os.cpu_count() or 2, metavar="N", help="one per processor")
    how.add_argument("--order", choices=("shuffled", "time", "file"), default="shuffled", help="of the rows (shuffled)")
    how.add_argument("--shared", type=share, default=0.5, metavar="F", help="part of the sessions that all fire into (0.5)")
    how.add_argument("--seed", type=int, default=1, help="of the order (1)")
    where = parser.add_argument_group("where it is kept")
    where.add_argument("--storage", default=os.environ.get("TRIGGERS_STORAGE", "sql"), metavar="KEY", help="storage (sql)")
    where.add_argument("--url", help="URL of the storage (an SQLite file in the folder)")
    where.add_argument("--folder", type=Path, help="a folder for what the works write down and the SQLite file; it stays")
    where.add_argument("--resume", action="store_true", help="go on with a run in --folder that was stopped")
    where.add_argument("--check", action="store_true", help="only check a run in --folder again; fires nothing")
    options = parser.parse_args(arguments)
    if (options.resume or options.check) and not options.folder:
        parser.error("--resume and --check need the --folder of the earlier run")
    return options


def names(text: str) -> tuple[str, ...]:
    """Names with commas in between."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def positive(text: str) -> int:
    """A whole number above 0."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {text}")
    return int(text)


def share(text: str) -> float:
    """A number from 0 to 1."""
    if not 0 <= float(text) <= 1:
        raise argparse.ArgumentTypeError(f"must lie between 0 and 1, not {text}")
    return float(text)


def read(options: argparse.Namespace, folder: Path) -> tuple[Path, Plan, list[Event]]:
    """The log, the configuration for it, and the rows in the order in which they are to be fired before they are shuffled."""
    log = options.log or _from_environment() or _made_up(folder)
    header = read_header(log)
    plan = read_plan(options.config) if options.config else plan_for(header, HERE)
    columns: Columns = with_options(
        plan.columns,
        {
            "session": options.session_column,
            "trigger": options.trigger_column,
            "time": options.time_column,
            "kwargs": options.kwargs_columns,
        },
    )
    events = read_events(log, columns)
    if options.order == "time":
        if not columns.time:
            raise BadInput("--order time needs a column with the time: --time-column")
        try:
            events.sort(key=lambda event: event.moment)
        except TypeError:
            raise BadInput(f"{log}: some times have a time zone and some have none; they cannot be put in order") from None
    return log, plan, events


def _from_environment() -> Path | None:
    found = os.environ.get("TRIGGERS_EVENTLOG")
    return Path(found) if found else None


def _made_up(folder: Path) -> Path:
    path = folder / "orders.csv"
    if not path.exists():
        with path.open("w", encoding="utf-8") as file:
            write_log(file, GENERATED, seed=1)
    return path


@contextmanager
def place(options: argparse.Namespace) -> Iterator[Path]:
    """The folder of the run: the one asked for, else a temporary one that is removed."""
    if options.folder:
        known = (options.folder / "run.json").exists()
        if known and not (options.resume or options.check):
            raise BadInput(f"{options.folder} has a run already: --resume goes on with it, --check checks it")
        if not known and (options.resume or options.check):
            raise BadInput(f"{options.folder} has no run that could be resumed or checked")
        options.folder.mkdir(parents=True, exist_ok=True)
        try:
            yield options.folder.resolve()
        finally:
            with suppress(OSError):
                options.folder.rmdir()  # only if nothing was written: the input could not be used
        return
    folder = Path(tempfile.mkdtemp(prefix="eventlog-"))
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
            log, plan, events = read(options, folder)
            run = Run(options, folder, log, plan, events)
            if options.check:
                return 0 if run.check_again() else 1
            try:
                return 0 if run.play() else 1
            finally:
                run.end()
    except KeyboardInterrupt:
        print("\nstopped" + ("; the same command with --resume goes on" if options.folder else ""), file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Nobody reads any more (`| head`): nothing else is to be said, also not at the end of the interpreter.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Stuck as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 1
    except (BadInput, Impossible, TriggersError, OSError, json.JSONDecodeError) as error:
        print(f"main.py: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
