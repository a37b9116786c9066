"""The template for a backend, and the manual's page about writing one, from nothing to a passing kit."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.third_party.conftest import ROOT, Installed, uv

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

FIND = """
from triggers.storages import storage_backends
storage = storage_backends.get("KEY", "applicant 42", folder="sessions")
print(type(storage).__name__, storage.exists())
"""

COPIER = ("tool", "run", "--quiet", "--from", "copier>=9", "copier", "copy", "--quiet", "--defaults")


def test_a_project_from_the_template_passes_the_kit(install: Callable[[Path, str], Installed], tmp_path: Path) -> None:
    """What copier writes is built, installed from its wheel, found by its key, and keeps the contract as it is."""
    project = tmp_path / "project"
    uv(*COPIER, "--data", "key=my_shelf", str(ROOT / "templates" / "backend"), str(project), folder=tmp_path)
    installed = install(project, "triggers-my-shelf")
    assert installed.python("-c", FIND.replace("KEY", "my_shelf")) == "MyShelfStorageBackend False\n"
    counts = installed.contract()
    assert counts["passed"] >= 80
    assert counts.keys() == {"passed", "skipped"}


@pytest.mark.parametrize("key", ["Shelf", "my-shelf", "1shelf", "shelf_", "sql", "redis", "core", "celery", "cli", ""])
def test_the_template_refuses_a_key_that_cannot_be_one(tmp_path: Path, key: str) -> None:
    """A key that is no name, or is taken, is refused, and nothing is written."""
    project = tmp_path / "project"
    with pytest.raises(AssertionError, match="not sql, redis, cache or"):
        uv(*COPIER, "--data", f"key={key}", str(ROOT / "templates" / "backend"), str(project), folder=tmp_path)
    assert not project.exists()


@pytest.mark.parametrize("description", ['A "shelf"', "On C:\\shelf", " ", "one\nand two"])
def test_the_template_refuses_a_description_that_it_cannot_quote(tmp_path: Path, description: str) -> None:
    """The description lands in ``pyproject.toml`` and in docstrings as it is, so what would break them is refused."""
    project = tmp_path / "project"
    with pytest.raises(AssertionError, match="One line without double quotes and backslashes"):
        uv(
            *COPIER,
            "--data",
            "key=shelf",
            "--data",
            f"description={description}",
            str(ROOT / "templates" / "backend"),
            str(project),
            folder=tmp_path,
        )
    assert not project.exists()


def test_the_page_leads_to_a_passing_kit(install: Callable[[Path, str], Installed], tmp_path: Path) -> None:
    """The files that the page shows, put where their captions say, are a backend that passes the kit."""
    page = (ROOT / "docs" / "writing-a-backend.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"```\{code-block\} \w+\n:caption: (\S+)\n\n(.*?)```\n", page, re.DOTALL))
    assert files.keys() == {
        "pyproject.toml",
        "src/triggers_shelf/__init__.py",
        "src/triggers_shelf/store.py",
        "tests/test_contract.py",
        "use.py",
    }
    project = tmp_path / "project"
    for name, text in files.items():
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(text, encoding="utf-8")
    installed = install(project, "triggers-shelf")
    assert installed.python(str(project / "use.py")) == "False sessions\n"
    counts = installed.contract()
    assert counts["passed"] >= 80
    assert counts.keys() == {"passed", "skipped"}
