"""Writes an event log of orders, for `orders.json`: the same seed gives the same log.

python examples/eventlog/generate.py --sessions 500 --seed 7 > orders.csv
"""

from __future__ import annotations

import argparse
import csv
import io
import random
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TextIO

HEADER = ("order", "step", "time", "clerk", "channel")
CLERKS = ("Ana", "Björn", "Chloé", "Dmitri", "Emeka")
CHANNELS = ("web", "shop", "telephone")
START = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def steps(chance: random.Random) -> list[str]:
    """What happens to one order: most are paid, picked and packed; some are cancelled; there are questions and reminders."""
    happened = ["ordered", *["asked"] * chance.choice((0, 0, 0, 1, 1, 2, 4))]
    if chance.random() < 0.25:
        happened += ["reminded", *["due"] * chance.randint(1, 3)]
    if chance.random() < 0.9:
        happened.append("paid")
    if chance.random() < 0.12:
        happened.append("cancelled")
    if chance.random() < 0.85:
        happened += ["picked", "packed"]
        if chance.random() < 0.1:
            happened += ["picked", "packed"]  # packed anew
    return happened


def rows(sessions: int, seed: int) -> Iterator[tuple[str, ...]]:
    """The rows of a log, in order of time."""
    chance = random.Random(seed)
    found = []
    for number in range(1, sessions + 1):
        moment = START + timedelta(minutes=number * 7)
        channel = chance.choice(CHANNELS)
        for step in steps(chance):
            moment += timedelta(seconds=chance.expovariate(1 / 20_000))
            found.append((moment, f"order-{number:05}", step, chance.choice(CLERKS), channel))
    for moment, order, step, clerk, channel in sorted(found):
        yield order, step, moment.isoformat(timespec="milliseconds"), clerk, channel


def write(file: TextIO, sessions: int, seed: int) -> None:
    """Writes a log with its header."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(rows(sessions, seed))


def main() -> int:
    """Writes the log to the standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=500, metavar="N", help="orders (500)")
    parser.add_argument("--seed", type=int, default=1, help="what comes by chance (1)")
    options = parser.parse_args()
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    try:
        write(sys.stdout, options.sessions, options.seed)
    except BrokenPipeError:
        sys.stderr.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
