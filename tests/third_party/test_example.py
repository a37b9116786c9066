"""The example of a backend from outside, as its users get it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.third_party.conftest import ROOT, Installed

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

USE = """
import sys
from triggers.storages import storage_backends
storage = storage_backends.get("files", "applicant 42", folder="sessions")
print(type(storage).__module__, type(storage).__name__, storage.exists(), sorted(storage_backends.keys()))
print("site-packages" in sys.modules["triggers_files"].__file__, "site-packages" in sys.modules["triggers"].__file__)
"""


def test_the_example_keeps_the_contract_when_installed_from_its_wheel(
    install: Callable[[Path, str], Installed], tmp_path: Path
) -> None:
    """Built and installed next to the core's wheel, it is found by its key and passes the whole kit, DUE and SCAN included."""
    project = tmp_path / "project"
    shutil.copytree(ROOT / "examples" / "third-party-backend", project, ignore=shutil.ignore_patterns("__pycache__", ".*_cache"))
    installed = install(project, "triggers-files")
    assert installed.python("-c", USE).splitlines() == [
        "triggers_files FilesStorageBackend False ['files', 'memory']",
        "True True",
    ]
    counts = installed.contract()
    assert counts["passed"] >= 100
    assert counts["skipped"] <= 8
    assert counts.keys() == {"passed", "skipped"}
