"""A folder with a workflow that gets stuck: settings, works, one of which fails until it is mended, and tasks."""

from __future__ import annotations

import json
from pathlib import Path

WORKS = """
import os
from triggers import task

@task("good")
def good(context):
    return {"v": 1}

@task("bad")
def bad(context):
    if not os.path.exists("mended"):
        raise ValueError("no paper")
    return {}
"""
SETTINGS = 'storage = "sql"\ntasks = ["works"]\n[storages.sql]\nurl = "sqlite:///mine.db"\n'
TASKS = {
    "t_good": {"after": ["a", "b"], "run": "good"},
    "t_bad": {"after": ["t_good"], "run": "bad"},
}


def write(folder: Path) -> None:
    """Writes all of it."""
    (folder / "works.py").write_text(WORKS)
    (folder / "triggers.toml").write_text(SETTINGS)
    (folder / "tasks.json").write_text(json.dumps(TASKS))
