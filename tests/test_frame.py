"""What the repository as a whole promises, beside what its tools check."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ENGINE = ROOT / "packages/triggers-core/src/triggers/engine"


def tracked() -> list[Path]:
    """The files that git knows; a folder that is no clone has none."""
    outcome = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    return [ROOT / name for name in outcome.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("path", sorted(ENGINE.glob("*.py")), ids=lambda path: path.name)
def test_the_engine_asks_no_clock(path: Path) -> None:
    """The time is an argument: no `now()`, `today()` or `utcnow()` is called. (Imports are checked by the contracts.)"""
    calls = [node.func for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    names = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    assert not names & {"now", "today", "utcnow"}


def test_pins_name_no_host_and_no_folder() -> None:
    """constraints.txt works with any package index: each line is a name, a version and perhaps a marker."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    odd = [line for line in lines if not re.fullmatch(r"[a-z0-9.-]+==[\w.!+]+( ; [\w\s'\"<>=!.*()]+)?", line)]
    assert odd == []


def test_no_file_names_a_home_of_its_author() -> None:
    """Nothing that is published has a path of the machine that it was made on."""
    paths = tracked()
    if not paths:
        pytest.skip("this folder is no git clone")
    pattern = re.compile(rb"(?<![\w./-])/(work|root|home)/[a-z]|files\.python" + rb"hosted")
    found = [str(path.relative_to(ROOT)) for path in paths if pattern.search(path.read_bytes())]
    assert found == []
