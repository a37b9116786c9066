"""What importing the core costs: nothing that is not used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = [
    "alembic",
    "celery",
    "class_registry",
    "click",
    "django",
    "importlib.metadata",
    "msgspec",
    "pluggy",
    "pydantic",
    "pymemcache",
    "redis",
    "rich",
    "sqlalchemy",
    "triggers_cache",
    "triggers_redis",
    "triggers_sql",
]


def imported(program: str) -> set[str]:
    """Which of the heavy modules a program leaves imported."""
    ending = f"\nimport sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program + ending], capture_output=True, text=True, check=True)
    found: list[str] = eval(done.stdout.splitlines()[-1])
    return set(found)


def test_import_triggers_imports_nothing() -> None:
    """Neither a backend nor the registry's machinery nor the core's own modules."""
    assert imported("import triggers") == set()


def test_a_workflow_on_memory_imports_no_backend() -> None:
    """Firing and running imports what it uses, and no other storage or runner; a distribution may bring settings."""
    program = """
import triggers
triggers.configure(storage="memory", runner="inline")
triggers.task("w")(lambda context: None)
manager = triggers.get_manager("s")
manager.update_configuration({"t": {"after": ["a"], "run": "w"}})
manager.fire("a")
assert str(manager.storage["t#0"].status) == "finished"
"""
    assert imported(program) - {"triggers_cache"} == {"class_registry", "importlib.metadata", "msgspec", "pluggy"}


def test_the_public_names() -> None:
    """Every public name can be imported, is listed, and an unknown one is an error as for any module."""
    import triggers

    for name in triggers.__all__:
        assert getattr(triggers, name) is not None
    assert set(triggers.__all__) <= set(dir(triggers))
    with pytest.raises(AttributeError, match="module 'triggers' has no attribute 'absent'"):
        _ = triggers.absent
