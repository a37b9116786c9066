"""The first example that somebody sees does what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def first_example(path: str) -> str:
    """The first block of Python in a readme."""
    found = re.search(r"```python\n(.*?)```", (ROOT / path).read_text(encoding="utf-8"), re.DOTALL)
    assert found
    return found.group(1)


def run(code: str, folder: Path) -> str:
    """What the code prints, as a script of its own in a folder of its own."""
    script = folder / "example.py"
    script.write_text(code, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TRIGGERS_")}
    command = [sys.executable, "-W", "error", str(script)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize(
    "path, printed",
    [
        ("README.md", "The score is 42\n"),
        ("packages/triggers-core/README.md", "Hello Ada\n"),
        ("packages/triggers-sql/README.md", ""),
    ],
)
def test_the_example_of_a_readme_runs(path: str, printed: str, tmp_path: Path) -> None:
    """Copied into a file and started, it prints what the text promises."""
    assert run(first_example(path), tmp_path) == printed


def test_the_example_keeps_its_session_in_the_working_folder(tmp_path: Path) -> None:
    """As the readme says, nothing needs to be configured: `triggers.db` appears, and a second run adds nothing."""
    code = first_example("README.md")
    run(code, tmp_path)
    assert (tmp_path / "triggers.db").is_file()
    assert run(code, tmp_path) == ""
