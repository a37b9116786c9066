"""Wheels and clean environments for backends from outside of the workspace."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, folder: Path, patience: float = 240) -> str:
    """Runs a program in a folder outside of the repository; returns what it printed, and fails if it fails."""
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=patience, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


def uv(*arguments: str, folder: Path) -> str:
    """Runs uv with the indexes and caches of this process."""
    command = [sys.executable, "-m", "uv", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Installed:
    """A backend, installed from its wheel with what it declares, and its tests beside it."""

    folder: Path

    def python(self, *arguments: str) -> str:
        """Runs the environment's Python in a folder that holds the tests and no sources."""
        return run(str(self.folder / "env" / "bin" / "python"), *arguments, folder=self.folder / "work")

    def contract(self) -> dict[str, int]:
        """Runs the backend's own tests; returns how many passed, were skipped and so on."""
        said = self.python("-m", "pytest", "-q", "-c", "pyproject.toml", "-p", "no:cacheprovider", "tests")
        result = said.strip().splitlines()[-1].partition(" in ")[0]
        return {word: int(count) for count, word in re.findall(r"(\d+) (\w+)", result)}


@pytest.fixture(scope="session")
def core_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the core's wheel."""
    folder = tmp_path_factory.mktemp("core-wheel")
    source = str(ROOT / "packages" / "triggers-core")
    uv("build", "--quiet", "--no-sources", "--wheel", "--out-dir", str(folder), source, folder=folder)
    return folder


@pytest.fixture
def install(core_wheel: Path, tmp_path: Path) -> Callable[[Path, str], Installed]:
    """Builds a project's wheel and installs it by name into a clean environment."""

    def make(project: Path, name: str) -> Installed:
        wheels = tmp_path / "wheels"
        uv("build", "--quiet", "--no-sources", "--out-dir", str(wheels), str(project), folder=tmp_path)
        uv("venv", "--quiet", "--python", sys.executable, str(tmp_path / "env"), folder=tmp_path)
        found = ["--find-links", str(wheels), "--find-links", str(core_wheel)]
        target = ["--python", str(tmp_path / "env" / "bin" / "python"), "--constraint", str(ROOT / "constraints.txt")]
        uv("pip", "install", "--quiet", *target, *found, f"{name}[test]", folder=tmp_path)
        (tmp_path / "work").mkdir()
        shutil.copytree(project / "tests", tmp_path / "work" / "tests", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(project / "pyproject.toml", tmp_path / "work")
        return Installed(tmp_path)

    return make
