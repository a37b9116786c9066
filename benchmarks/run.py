"""Measures Triggers beside its limits and its peers: one process, one run, all in turn; medians and their ratios.

``python benchmarks/run.py --quick`` is a smoke run of about a minute; ``--output docs/benchmarks`` writes table and plots.
The servers are those that ``TRIGGERS_TEST_REDIS_URL`` and ``TRIGGERS_TEST_POSTGRES_URL`` name, or private ones.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import contention
import fires
import importing
import joins
import sessions
from bench import Bench, servers, working_folder
from report import Row, machine, plot, table
from triggers.tasks import task

SECTIONS = {
    "fires": fires.measure,
    "joins": joins.measure,
    "contention": contention.measure,
    "sessions": sessions.measure,
    "importing": importing.measure,
}


@task("bench.nothing")
def nothing(context: Any) -> None:
    """A work that does nothing."""


def main() -> None:
    """Measures, prints the tables, and writes them where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds and small sessions: shows that all of it works")
    parser.add_argument("--rounds", type=int, default=0, help="how often each is measured (300; 10 with --quick)")
    parser.add_argument("--only", nargs="*", default=list(SECTIONS), choices=list(SECTIONS), help="the parts to measure")
    parser.add_argument("--output", type=Path, help="a folder for the table and the plots")
    options = parser.parse_args()
    rows: list[Row] = []
    with working_folder() as folder:
        bench = Bench(folder, options.rounds or (10 if options.quick else 300), options.quick)
        with servers(bench):
            for name in options.only:
                began = time.monotonic()
                found = SECTIONS[name](bench)
                rows += found
                print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
        notes = [machine(), *bench.notes]
        print(table(rows, notes))
        if options.output:
            options.output.mkdir(parents=True, exist_ok=True)
            text = table(rows, notes)
            (options.output / "table.md").write_text(text, encoding="utf-8")
            for path in plot(rows, options.output):
                print(f"wrote {path}")


if __name__ == "__main__":
    main()
