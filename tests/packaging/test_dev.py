"""`dev.py` needs nothing but Python, says what is missing where it cannot go on, and is quick the second time."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.conftest import ROOT

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

NOXFILE = """
import os, sys, nox

@nox.session(venv_backend="none")
def demo(session):
    print("DEMO", *session.posargs)

@nox.session(venv_backend="none")
def tests(session):
    print("TESTS", *session.posargs)
    if "fail" in session.posargs:
        session.error("as asked")
"""


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `dev.py`, the pins, and sessions that only say that they were reached."""
    folder = tmp_path_factory.mktemp("clone")
    for name in ("dev.py", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    (folder / "noxfile.py").write_text(NOXFILE)
    return folder


def dev(clone: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs `dev.py` with this Python and nothing of this environment's tools."""
    base = str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}")
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(clone), **variables}
    command = [base, str(clone / "dev.py"), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)


def test_it_makes_what_is_missing_and_only_once(clone: Path) -> None:
    """The first run installs, the second does not; a half-made environment and changed pins are made anew."""
    first = dev(clone, "demo", "--sessions", "3")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "DEMO --sessions 3" in first.stdout
    assert "installing nox and uv" in first.stdout
    assert "installing" not in dev(clone, "demo").stdout

    (clone / ".dev" / "complete").unlink()
    assert "installing" in dev(clone, "demo").stdout

    pins = (clone / "constraints.txt").read_text()
    (clone / "constraints.txt").write_text(pins + "nox==0\n")
    assert "could not install nox and uv" in dev(clone, "demo").stderr
    (clone / "constraints.txt").write_text(pins)
    assert dev(clone, "demo").returncode == 0


def test_arguments_for_pytest_reach_the_tests_alone(clone: Path) -> None:
    """`dev.py test -- -k x` runs the session of tests with `-k x` and no other; its failure is the exit status."""
    passed = dev(clone, "test", "--", "-k", "replay")
    assert passed.returncode == 0, passed.stdout + passed.stderr
    assert "TESTS -k replay" in passed.stdout
    assert dev(clone, "test", "--", "fail").returncode == 1


def test_nox_is_reachable_with_its_own_arguments(clone: Path) -> None:
    """`dev.py nox …` hands everything over."""
    assert "demo" in dev(clone, "nox", "--list").stdout


def test_a_python_without_venv_is_told_what_to_install(clone: Path, tmp_path: Path) -> None:
    """Debian's bare Python lacks ensurepip: the message names the package, and nothing is left half done."""
    (tmp_path / "ensurepip.py").write_text("raise ImportError")
    bare = tmp_path / "bare"
    bare.mkdir()
    shutil.copy(clone / "dev.py", bare)
    shutil.copy(clone / "constraints.txt", bare)
    outcome = dev(bare, "demo", PYTHONPATH=str(tmp_path))
    assert outcome.returncode == 1
    assert f"apt-get install python{sys.version_info[0]}.{sys.version_info[1]}-venv" in outcome.stderr
    assert "Traceback" not in outcome.stderr
    assert not (bare / ".dev" / "complete").exists()


@pytest.mark.parametrize("arguments", [["frobnicate"], ["tests"]])
def test_an_unknown_command_is_refused(clone: Path, arguments: list[str]) -> None:
    """A misspelt command is told which there are."""
    outcome = dev(clone, *arguments)
    assert outcome.returncode == 2
    assert "demo, test and nox" in outcome.stderr


def test_help_needs_nothing(tmp_path: Path) -> None:
    """Without a command it explains itself and makes nothing."""
    shutil.copy(ROOT / "dev.py", tmp_path)
    outcome = dev(tmp_path)
    assert outcome.returncode == 0
    assert "python3 dev.py test" in outcome.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["dev.py"]
