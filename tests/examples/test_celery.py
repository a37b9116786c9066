"""The questionnaires on Celery, plain and as a Django project: they run, survive a kill, and leave nothing behind."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.examples.running import EXAMPLES, run
from tests.servers.client import OwnServer

BOTH = pytest.mark.parametrize("example", ["celery_app", "celery_django"])


@BOTH
def test_it_runs_and_is_right(tmp_path: Path, own_server: Callable[..., OwnServer], example: str) -> None:
    """A small run ends well, with each work run once, and leaves neither a process nor a file."""
    done = run(tmp_path, example, "--respondents", 6, "--broker", own_server("redis").url)
    assert done.returncode == 0, done.stdout + done.stderr
    checked = [line.split() for line in done.stdout.partition("without Triggers")[2].splitlines() if " t_" in line]
    assert [line[:2] for line in checked] == [
        ["ok", "t_comment"],
        ["ok", "t_household"],
        ["ok", "t_income"],
        ["ok", "t_letter"],
        ["ok", "t_report"],
    ]
    found = re.search(r"(\d+) effects, (\d+) runs", done.stdout)
    assert found is not None
    assert found[1] == found[2]
    assert done.stdout.endswith("All right.\n")
    assert list(tmp_path.iterdir()) == []
    assert left_behind(tmp_path) == []


@pytest.mark.faults
@BOTH
def test_r28_a_killed_worker_changes_nothing(tmp_path: Path, own_server: Callable[..., OwnServer], example: str) -> None:
    """With ``--kill`` the worker dies by SIGKILL in the middle, and each effect is there once."""
    done = run(tmp_path, example, "--respondents", 30, "--kill", "--broker", own_server("redis").url)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "were killed by SIGKILL" in done.stdout
    assert done.stdout.endswith("All right.\n")


def test_a_broker_is_needed(tmp_path: Path) -> None:
    """Without a Redis to start and without a broker, it says what to do, and ends."""
    done = run(tmp_path, "celery_app", PATH=str(tmp_path))
    assert done.returncode == 1
    assert "there is no redis-server here to start: install one, or name a broker, --broker" in done.stderr


def test_the_check_sees_what_is_wrong() -> None:
    """The check passes what had to happen, and finds an effect that is missing, doubled, or has another value."""
    code = """
from random import Random
from check import Entry, check, expected
from respondents import make_answers
answers = make_answers(5, Random(1))
right = [Entry(effect, 1) for effect in expected(answers)]
(respondent, task, value), other = right[0].effect, right[1:]
changed, unknown = Entry((respondent, task, value + "0"), 1), Entry((respondent, "t_new", "1"), 1)
wrong = [other, [right[0], *right], [changed, *other], [unknown, *right]]
print([all(good for good, _ in check(answers, found)) for found in (right, *wrong)])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=EXAMPLES / "celery_app", capture_output=True, encoding="utf-8", timeout=60
    )
    assert done.stdout == "[True, False, False, False, False]\n", done.stderr


def left_behind(folder: Path) -> list[str]:
    """The programs that still run with files in a folder below this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SURVEY_FOLDER", "").startswith(str(folder)):
                found.append(" ".join(process.cmdline()))
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found
