"""What it costs to start: the bare interpreter, ``import triggers``, and the first fire."""

from __future__ import annotations

import subprocess
import sys

from bench import Bench, in_turn
from report import Row, seconds

PROGRAMS = {
    "limit: the bare interpreter": "pass",
    "import triggers": "import triggers",
    "import, configure and fire in memory": (
        "import triggers; triggers.configure(storage='memory', runner='inline', sweep_interval=0); "
        "triggers.get_manager('s').fire('a')"
    ),
}


def measure(bench: Bench) -> list[Row]:
    """Each program in turn, in a process of its own."""
    acts = [(what, lambda text=text: subprocess.run([sys.executable, "-c", text], check=True)) for what, text in PROGRAMS.items()]
    medians = in_turn(acts, 3 if bench.quick else 15, warm=1)
    bare = medians["limit: the bare interpreter"]
    return [
        Row(
            "Starting",
            "Python",
            what,
            seconds(median),
            None if what.startswith("limit") else median / bare,
            "" if what.startswith("limit") else "the bare interpreter",
            "≤ 3.75" if what == "import triggers" else "",
        )
        for what, median in medians.items()
    ]
