"""The pytest plugin, in runs of pytest of their own, as in a user's project."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WORKFLOW = """
import triggers
from triggers.testing import PassThruTask, SelfRetryingTask

def test_a_join(trigger_manager, trigger_storage, trigger_process, trigger_clock):
    trigger_manager.update_configuration({"t_it": {"after": ["a", "b"], "run": SelfRetryingTask.name,
        "withParams": {"retry": {"cooldown": 60}}}})
    trigger_manager.fire("a")
    trigger_manager.fire("b")
    triggers.join_all()
    assert trigger_storage["t_it#1"].status == "scheduled"
    trigger_clock.move(minutes=1)
    assert trigger_storage["t_it#1"].status == "finished"
    assert trigger_process is triggers.process.get_process()

def test_the_next_begins_with_nothing(trigger_storage):
    assert not trigger_storage.exists()
"""

KIT = """
import pytest
from triggers.storages.memory import MemoryStore
from triggers.testing.conformance import StoreConformance

class TestTheirs(StoreConformance):
    between_processes = False

    @pytest.fixture
    def open_store(self):
        store = MemoryStore()
        return lambda: store
"""


def run_pytest(folder: Path, *arguments: str, **files: str) -> subprocess.CompletedProcess[str]:
    """Runs pytest on files in an empty folder, without the settings of this repository."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\naddopts = -p no:cacheprovider\n")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("TRIGGERS_", "PYTEST_"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
    )


def test_the_fixtures_work_in_a_project(tmp_path: Path) -> None:
    """A project that has Triggers installed has the fixtures, with nothing to declare."""
    run = run_pytest(tmp_path, test_workflow=WORKFLOW)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "2 passed" in run.stdout


def test_the_fixtures_work_in_several_processes(tmp_path: Path) -> None:
    """With pytest-xdist each process has its own memory: nothing of one test is seen by another."""
    many = WORKFLOW + "\nimport pytest\n@pytest.mark.parametrize('n', range(20))\ndef test_alone(n, trigger_manager):\n"
    many += "    assert not trigger_manager.storage.exists()\n    trigger_manager.fire('go')\n"
    run = run_pytest(tmp_path, "-n2", test_workflow=many)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "22 passed" in run.stdout


def test_a_run_that_does_not_ask_imports_nothing(tmp_path: Path) -> None:
    """Where no test asks for a fixture, the plugin has imported none of the core: no time is lost, and no coverage."""
    loaded = "import sys\ndef test_nothing():\n    loaded = sorted(name for name in sys.modules if name.startswith('triggers'))\n"
    loaded += "    assert loaded == ['triggers', 'triggers.testing', 'triggers.testing.pytest_plugin']\n"
    run = run_pytest(tmp_path, "-p", "no:randomly", test_nothing=loaded)
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_summary_names_what_a_kit_could_not_show(tmp_path: Path) -> None:
    """At the end of a run stands, for each suite, which rules were not shown and why."""
    run = run_pytest(tmp_path, "-k", "s25 or s26 or s27 or s28", test_theirs=KIT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "not shown" in run.stdout
    assert "TestTheirs" in run.stdout.partition("not shown")[2]


def test_the_summary_comes_from_several_processes(tmp_path: Path) -> None:
    """With pytest-xdist the summary says the same."""
    run = run_pytest(tmp_path, "-n2", "-k", "s25 or s26 or s27 or s28", test_theirs=KIT)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "TestTheirs" in run.stdout.partition("not shown")[2]


def test_the_summary_leaves_other_tests_alone(tmp_path: Path) -> None:
    """A user's own test whose name looks like one of the kit's is none of it."""
    run = run_pytest(
        tmp_path, test_other="import pytest\ndef test_s3_upload():\n    pytest.skip('no bucket')\n", test_workflow=WORKFLOW
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "1 skipped" in run.stdout
    assert "not shown" not in run.stdout
