"""Sessions and the sessions of which they are parts: fires an event log (CSV) from several processes, and checks the reports.

One session per application, one for all applications of a department and a month, whose report is written exactly when
the last of them is finalized. Ends with 0 if the reports are those that a computation from the log alone expects, with 1 if not,
with 2 for input that cannot be used.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from expectation import Family, check_tasks, families
from firing import Share, fire_share, join_share
from reading import BadInput, Columns, Event, read_events

import triggers
from triggers import TriggersError
from triggers.storages import storage_backends

HERE = Path(__file__).resolve().parent


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", type=Path, help="the CSV file (one that is made up)")
    parser.add_argument("--tasks", type=Path, default=HERE / "tasks.json", help="the tasks of an application (tasks.json)")
    parser.add_argument("--case-column", default="case", metavar="NAME")
    parser.add_argument("--activity-column", default="activity", metavar="NAME")
    parser.add_argument("--time-column", default="timestamp", metavar="NAME")
    parser.add_argument("--department-column", default="department", metavar="NAME")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 2, metavar="N", help="one per processor")
    parser.add_argument("--seed", type=int, default=1, help="of the order of the rows (1)")
    parser.add_argument("--storage", default=os.environ.get("TRIGGERS_STORAGE", "sql"), metavar="KEY", help="storage (sql)")
    parser.add_argument("--url", help="URL of the storage (an SQLite file that is removed)")
    options = parser.parse_args(arguments)
    if options.processes < 1:
        parser.error("--processes must be 1 or more")
    return options


def made_up(folder: Path) -> Path:
    """A log of sixty applications, some of which are never checked."""
    path, chance = folder / "applications.csv", random.Random(1)
    lines = ["case,activity,timestamp,department"]
    for number in range(60):
        start = f"2026-{1 + number % 6:02}-03T08:00:00Z,{'North' if number % 4 else 'South'}"
        lines.append(f"a{number},Confirmation of receipt,{start}")
        if chance.random() < 0.95:
            lines.append(f"a{number},T02 Check confirmation of receipt,{start}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def read(options: argparse.Namespace, folder: Path) -> tuple[list[Event], dict[str, Any]]:
    """The rows of the log and the tasks."""
    columns = Columns(options.case_column, options.activity_column, options.time_column, (options.department_column,))
    try:
        tasks = json.loads(options.tasks.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"the tasks in {options.tasks} cannot be read: {error}") from None
    return read_events(options.log or made_up(folder), columns), check_tasks(tasks)


def settings_for(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """The settings of every process; works run where their trigger is fired."""
    url = options.url or (f"sqlite:///{folder / 'families.db'}" if options.storage == "sql" else None)
    storages = {options.storage: {"url": url}} if url else {}
    return {"storage": options.storage, "storages": storages, "runner": "inline", "sweep_interval": 0.0}


def run(options: argparse.Namespace, folder: Path) -> bool:
    """Fires the log; returns whether all is as expected."""
    events, tasks = read(options, folder)
    expected = families(events, tasks)
    family_of = {case: name for name, family in expected.items() for case in family.cases}
    settings = settings_for(options, folder)
    triggers.configure(**settings)
    storage_backends.open_store(options.storage).setup()
    prefix = f"families/{os.urandom(4).hex()}/"
    random.Random(options.seed).shuffle(events)
    joins = sorted(family_of.items())
    sizes = {name: len(family.cases) for name, family in expected.items()}
    count = options.processes
    shares = [
        Share(
            joins[number::count],
            [(event.row, event.session, event.trigger) for event in events[number::count]],
            sizes,
            tasks,
            settings,
            prefix,
            folder,
        )
        for number in range(count)
    ]
    what = f"{len(events)} rows of {len(joins)} applications in {len(expected)} families"
    print(f"{what}, by {count} processes, into {options.storage!r}", flush=True)
    try:
        began = time.monotonic()
        in_processes(join_share, [(share,) for share in shares])
        joined = time.monotonic()
        in_processes(fire_share, [(share, family_of) for share in shares])
        print(f"joined in {joined - began:.1f} s, fired in {time.monotonic() - joined:.1f} s")
        triggers.sweep()
        return compare(expected, reports(folder, prefix), prefix)
    finally:
        if options.url or options.storage != "sql":
            for case, name in joins:
                triggers.delete_session(f"{prefix}{name}/{case}")
            for name in expected:
                triggers.delete_session(prefix + name)


def in_processes(target: Callable[..., None], arguments: Sequence[tuple[Any, ...]]) -> None:
    """Runs a function in several processes at once.

    Raises:
        ChildProcessError: one ended with an error.
    """
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=target, args=given) for given in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise ChildProcessError("a process ended with an error; see above")


def reports(folder: Path, prefix: str) -> Counter[tuple[str, tuple[str, ...]]]:
    """How often which report was written: the family and the cases that it names."""
    lines = [json.loads(line) for path in folder.glob("reports-*.ndjson") for line in path.read_text("utf-8").splitlines()]
    return Counter((line["family"].removeprefix(prefix), tuple(line["cases"])) for line in lines)


def compare(expected: dict[str, Family], written: Counter[tuple[str, tuple[str, ...]]], prefix: str) -> bool:
    """Compares the reports, and what is stored, with the expectation; prints what differs."""
    wrong = []
    due = Counter((name, tuple(sorted(family.cases))) for name, family in expected.items() if family.reports)
    for name, cases in due | written:
        if due[name, cases] != written[name, cases]:
            wrong.append(
                f"the report of {name} ({len(cases)} cases) was written {written[name, cases]} times, not {due[name, cases]}"
            )
    done = 0
    for name, family in expected.items():
        for case in family.cases:
            finalized = triggers.get_manager(f"{prefix}{name}/{case}").storage.metadata["finalized_at"] is not None
            done += finalized
            if finalized != (case in family.done):
                wrong.append(f"{case} of {name} is {'' if finalized else 'not '}finalized")
    for line in wrong[:10]:
        print(f"WRONG  {line}")
    total = f"{done} applications are finalized, {due.total()} reports were due, {written.total()} written"
    print(f"{'NOT right' if wrong else 'All right'}: {total}; {len(wrong)} differences")
    return not wrong


def main(arguments: list[str] | None = None) -> int:
    """Runs and returns the exit status."""
    options = parse(arguments)
    with tempfile.TemporaryDirectory(prefix="families-") as folder:
        try:
            return 0 if run(options, Path(folder)) else 1
        except KeyboardInterrupt:
            print("stopped", file=sys.stderr)
            return 130
        except (BadInput, TriggersError, OSError) as error:
            print(f"main.py: {error}", file=sys.stderr)
            return 2


if __name__ == "__main__":
    sys.exit(main())
