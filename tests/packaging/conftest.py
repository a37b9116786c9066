"""Wheels of all distributions, built once, and clean environments to install them into."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DISTRIBUTIONS = ["core", "sql", "redis", "cache", "celery", "cli"]


def uv(*arguments: str, folder: Path) -> None:
    """Runs uv outside of the repository, whose workspace it would take the sources from."""
    command = [sys.executable, "-m", "uv", *arguments]
    outcome = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, f"{' '.join(command)}\n{outcome.stdout}{outcome.stderr}"


@dataclass(frozen=True)
class Environment:
    """A virtual environment that holds a few wheels and what they declare."""

    folder: Path

    def run(self, *arguments: str, **variables: str) -> str:
        """Runs its Python in an empty folder of its own, and returns what that printed."""
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        command = [str(self.folder / "bin" / "python"), *arguments]
        outcome = subprocess.run(
            command,
            cwd=work,
            env={"PATH": f"{self.folder / 'bin'}:/usr/bin:/bin", "HOME": str(work), **variables},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert outcome.returncode == 0, f"{' '.join(command)}\n{outcome.stdout}{outcome.stderr}"
        return outcome.stdout


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel of each distribution, built from its source archive."""
    folder = tmp_path_factory.mktemp("wheels")
    for name in DISTRIBUTIONS:
        source = str(ROOT / "packages" / f"triggers-{name}")
        uv("build", "--quiet", "--no-sources", "--out-dir", str(folder), source, folder=folder)
    return folder


@pytest.fixture(scope="session")
def install(wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Environment]:
    """Installs wheels by name (``"triggers-sql[mysql]"``) into a clean environment, made once for the same names."""
    made: dict[tuple[str, ...], Environment] = {}

    def make(*requirements: str) -> Environment:
        if requirements not in made:
            folder = tmp_path_factory.mktemp("environment")
            uv("venv", "--quiet", "--clear", "--python", sys.executable, str(folder), folder=folder.parent)
            target = ["--python", str(folder / "bin" / "python"), "--constraint", str(ROOT / "constraints.txt")]
            uv("pip", "install", "--quiet", *target, "--find-links", str(wheels), *requirements, folder=folder)
            made[requirements] = Environment(folder)
        return made[requirements]

    return make
