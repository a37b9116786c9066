"""The families: which reports are due is right, they are written once, on several storages, and the check can fail."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.running import EXAMPLES, command, environment, run
from tests.servers import client

BY_HAND = {
    "a1": ("North", "2026-01-03", "in checked"),
    "a2": ("North", "2026-01-30", "checked in"),
    "b1": ("North", "2026-02-01", "in checked"),
    "b2": ("North", "2026-02-02", "in"),
    "c1": ("South", "2026-01-03", "in other checked"),
    "d1": ("South", "2026-02-03", "checked other"),
}
TASKS = {
    "t_in": {"after": ["in"], "run": "families.note"},
    "t_both": {"after": ["t_in", "checked"], "run": "families.note"},
    "t_late": {"after": ["sessionFinalized"], "run": "families.note"},
}


@pytest.fixture
def log(tmp_path: Path) -> list[object]:
    """Six applications of four families: two of these are done in the end (North in January, South in January)."""
    rows = [f"{case},{step},{day}T09:00:00Z,{place}" for case, (place, day, steps) in BY_HAND.items() for step in steps.split()]
    (tmp_path / "log.csv").write_text("\n".join(["case,activity,timestamp,department", *rows]) + "\n", encoding="utf-8")
    (tmp_path / "tasks.json").write_text(json.dumps(TASKS), encoding="utf-8")
    return ["--log", tmp_path / "log.csv", "--tasks", tmp_path / "tasks.json", "--processes", 2]


def test_the_reports_of_six_applications(tmp_path: Path, log: list[object]) -> None:
    """Counted by hand: four applications are finalized, two of four families have their report."""
    done = run(tmp_path, "families", *log)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "12 rows of 6 applications in 4 families, by 2 processes" in done.stdout
    assert "All right: 4 applications are finalized, 2 reports were due, 2 written; 0 differences" in done.stdout


def test_on_redis(tmp_path: Path, log: list[object]) -> None:
    """The same on a store that is a server."""
    done = run(tmp_path, "families", *log, "--storage", "redis", "--url", client.shared("redis").url)
    assert "All right: 4 applications are finalized, 2 reports were due, 2 written" in done.stdout, done.stdout + done.stderr


def test_the_check_can_fail(tmp_path: Path, log: list[object]) -> None:
    """A report that is missing and one that was written twice are found."""
    script = tmp_path / "spoilt.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(EXAMPLES / 'families')!r})\n"
        "import main\n"
        "honest = main.reports\n"
        "def spoilt(folder, prefix):\n"
        "    written = honest(folder, prefix)\n"
        "    one, two = sorted(written)\n"
        "    del written[one]\n"
        "    written[two] += 1\n"
        "    return written\n"
        "main.reports = spoilt\n"
        "if __name__ == '__main__':\n"
        "    sys.exit(main.main())\n",
        encoding="utf-8",
    )
    command = [sys.executable, str(script), *map(str, log)]
    done = subprocess.run(command, cwd=tmp_path, env=environment(tmp_path), capture_output=True, encoding="utf-8", timeout=250)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "the report of North/2026-01 (2 cases) was written 0 times, not 1" in done.stdout
    assert "the report of South/2026-01 (1 cases) was written 2 times, not 1" in done.stdout
    assert "2 differences" in done.stdout


@pytest.mark.parametrize(
    "tasks, complaint",
    [("[]", "an object of tasks"), ('{"t": {"andEvery": "a", "run": "x"}}', "'after' and 'run' alone"), ("{", "cannot be read")],
)
def test_bad_tasks(tmp_path: Path, log: list[object], tasks: str, complaint: str) -> None:
    """Tasks whose fate cannot be computed from the log are refused before anything is fired."""
    (tmp_path / "tasks.json").write_text(tasks, encoding="utf-8")
    done = run(tmp_path, "families", *log)
    assert (done.returncode, done.stdout) == (2, "")
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr


def test_a_log_without_the_columns(tmp_path: Path, log: list[object]) -> None:
    """The column that is missing is named."""
    done = run(tmp_path, "families", *log, "--department-column", "office")
    assert done.returncode == 2
    assert "no column 'office'" in done.stderr


@pytest.mark.eventlog
@pytest.mark.timeout(900)
def test_a_whole_log(tmp_path: Path) -> None:
    """The permits, where ``TRIGGERS_EVENTLOG`` names them or they lie beside the repository; else a made-up log of their kind."""
    beside = EXAMPLES.parents[1] / "shared" / "data" / "permits.csv"
    log = Path(os.environ.get("TRIGGERS_EVENTLOG") or beside)
    if not log.exists():
        log = tmp_path / "made-up.csv"
        log.write_text(_made_up(600), encoding="utf-8")
    done = subprocess.run(
        command("families", "--log", log, "--processes", 2), cwd=tmp_path, env=environment(tmp_path), capture_output=True,
        encoding="utf-8", timeout=800,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr
    assert "; 0 differences" in done.stdout
    assert "0 reports were due" not in done.stdout


def _made_up(cases: int) -> str:
    """Applications of three departments in four months, most of them with all steps."""
    chance = random.Random(7)
    rows = ["case,activity,timestamp,department"]
    for number in range(cases):
        where, month = chance.choice(["North", "South", "West"]), chance.randrange(1, 5)
        steps = ["Confirmation of receipt"]
        if chance.random() < 0.999:
            steps.append("T02 Check confirmation of receipt")
        rows += [f"c{number},{step},2026-{month:02}-{chance.randrange(1, 29):02}T09:00:00Z,{where}" for step in steps]
    return "\n".join(rows) + "\n"
