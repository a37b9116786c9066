"""What was measured, as a Markdown table and as plots."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

WIDEST = 12


class Row(NamedTuple):
    """One measured line."""

    section: str
    where: str
    """The storage, the broker, the library."""
    what: str
    value: str
    ratio: float | None = None
    of: str = ""
    """What the ratio compares with."""
    target: str = ""


def seconds(value: float) -> str:
    """A time, as people read it."""
    if value < 0.001:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.2f} ms" if value < 1 else f"{value:.2f} s"


def table(rows: Iterable[Row], notes: Iterable[str]) -> str:
    """One table for each section, in the order of the rows."""
    lines: list[str] = [*(f"{note}  " for note in notes)]
    section = ""
    for row in rows:
        if row.section != section:
            section = row.section
            lines += ["", f"**{section}**", "", "| where | what | measured | ratio | aim |", "| --- | --- | --- | --- | --- |"]
        ratio = "" if row.ratio is None else f"{row.ratio:.2f} × {row.of}".rstrip()
        lines.append(f"| {row.where} | {row.what} | {row.value} | {ratio} | {row.target} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """Where it was measured."""
    import os

    return f"Python {platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores."


def plot(rows: Sequence[Row], folder: Path) -> list[Path]:
    """One bar chart of ratios for each section that has some."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams |= {"svg.hashsalt": "triggers", "svg.fonttype": "none"}
    from matplotlib import pyplot as plt

    made = []
    for section in dict.fromkeys(row.section for row in rows):
        shown = [row for row in rows if row.section == section and row.ratio is not None]
        if not shown:
            continue
        figure, axes = plt.subplots(figsize=(8, 0.6 + 0.3 * len(shown)))
        ratios = [row.ratio or 0.0 for row in shown]
        axes.barh([f"{row.where}: {row.what}" for row in shown], [min(ratio, WIDEST) for ratio in ratios], color="#4477aa")
        for place, ratio in enumerate(ratios):
            axes.text(min(ratio, WIDEST), place, f" {ratio:.2f}", va="center", fontsize=8)
        axes.invert_yaxis()
        axes.axvline(1, color="#999999", linewidth=0.8)
        axes.set_title(section, loc="left", fontsize=10)
        axes.tick_params(labelsize=8)
        figure.tight_layout()
        name = "".join(letter if letter.isalnum() else "-" for letter in section.lower()).strip("-")
        made.append(folder / f"{name}.svg")
        metadata: dict[str, Any] = {"Date": None}
        figure.savefig(made[-1], metadata=metadata)
        plt.close(figure)
    return made
