"""Each distribution, installed from its wheel alone, works with what it declares."""

from __future__ import annotations

import email
import json
import textwrap
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.packaging.conftest import DISTRIBUTIONS, ROOT, Environment
from tests.servers.plugin import Space

pytestmark = [pytest.mark.packaging, pytest.mark.timeout(300)]

Install = Callable[..., Environment]

JOIN = textwrap.dedent(
    """
    import sys, triggers
    from triggers import TaskContext, task

    @task("add")
    def add(context: TaskContext) -> dict:
        kwargs = context.trigger_kwargs
        print("ran with", kwargs["first"]["n"] + kwargs["second"]["n"])
        return {}

    storage, options = sys.argv[1], dict(part.split("=", 1) for part in sys.argv[2:])
    triggers.configure(storage=storage, storages={storage: options}, runner="inline")
    manager = triggers.get_manager("session 1")
    manager.update_configuration({"t_add": {"after": ["first", "second"], "run": "add"}})
    manager.fire("second", {"n": 2})
    print("fired one")
    manager.fire("first", {"n": 1})
    print("unresolved", len(triggers.get_manager("session 1").storage.get_unresolved_instances()))
    """
)
RAN_ONCE = ["fired one", "ran with 3", "unresolved 0"]

IMPORT_ALL = textwrap.dedent(
    """
    import importlib, pkgutil, sys
    package = importlib.import_module(sys.argv[1])
    skipped = tuple(sys.argv[2:])
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.endswith("__main__") and not (skipped and module.name.startswith(skipped)):
            importlib.import_module(module.name)
            print(module.name)
    """
)

ENTRY_POINTS = textwrap.dedent(
    """
    import json
    from triggers.manager import trigger_managers
    from triggers.runners import task_runners
    from triggers.storages import storage_backends
    kinds = [trigger_managers, storage_backends, task_runners]
    print(json.dumps([{key: registry.get_class(key).__name__ for key in registry.keys()} for registry in kinds]))
    """
)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_holds_what_belongs_into_it(wheels: Path, name: str) -> None:
    """The package with `py.typed`, the licence and the readme; no tests, nothing at the top beside the package."""
    (wheel,) = wheels.glob(f"triggers_{name}-*.whl")
    package = "triggers" if name == "core" else f"triggers_{name}"
    with zipfile.ZipFile(wheel) as archive:
        files = archive.namelist()
        metadata = email.message_from_bytes(archive.read(next(file for file in files if file.endswith(".dist-info/METADATA"))))
    assert f"{package}/py.typed" in files
    assert any(file.endswith(".dist-info/licenses/LICENSE") for file in files)
    assert {file.split("/")[0].split("-")[0] for file in files} == {package, f"triggers_{name}"}
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "MIT"
    assert metadata.get_payload()


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_version_is_the_newest_of_its_changelog(name: str) -> None:
    """The version in the metadata is the first one that the changelog tells of."""
    folder = ROOT / "packages" / f"triggers-{name}"
    version = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
    headings = [line for line in (folder / "CHANGELOG.md").read_text().splitlines() if line.startswith("## ")]
    assert headings[0].removeprefix("## ").split()[0] == version


def test_the_core_alone_runs_a_join_in_memory(install: Install) -> None:
    """The core's wheel needs no backend, no runner and no plugin of another distribution."""
    assert install("triggers-core").run("-c", JOIN, "memory").splitlines() == RAN_ONCE


def test_the_core_brings_its_own_entry_points_and_no_others(install: Install) -> None:
    """Managers, storages and runners are found by the keys that the manual names."""
    found = json.loads(install("triggers-core").run("-c", ENTRY_POINTS))
    assert found == [
        {"default": "TriggerManager", "finalizing": "FinalizingTriggerManager"},
        {"memory": "MemoryStorageBackend"},
        {"inline": "InlineTaskRunner", "threading": "ThreadingTaskRunner"},
    ]


def test_all_entry_points_are_found_side_by_side(install: Install) -> None:
    """With every distribution installed, each key leads to its class."""
    everything = ["triggers-sql", "triggers-redis", "triggers-cache", "triggers-celery", "triggers-cli"]
    found = json.loads(install(*everything).run("-c", ENTRY_POINTS))
    assert found[1] == {
        "cache": "CacheStorageBackend",
        "memory": "MemoryStorageBackend",
        "redis": "RedisStorageBackend",
        "sql": "SqlStorageBackend",
    }
    assert found[2] == {
        "celery": "CeleryTaskRunner",
        "inline": "InlineTaskRunner",
        "threading": "ThreadingTaskRunner",
    }


def test_an_unknown_key_names_what_to_install(install: Install) -> None:
    """The core alone knows which distribution brings `redis`."""
    script = "import triggers.storages as s\ntry: s.storage_backends.get('redis', 'u')\nexcept KeyError as e: print(e)"
    assert "pip install triggers-redis" in install("triggers-core").run("-c", script)


def test_sql_alone_keeps_a_session_in_a_file(install: Install) -> None:
    """Core and SQL need no driver and no server for SQLite."""
    environment = install("triggers-sql")
    assert environment.run("-c", JOIN, "sql", "url=sqlite:///wheel.db").splitlines() == RAN_ONCE
    assert (environment.folder / "work" / "wheel.db").is_file()


def test_sql_reaches_postgres_with_its_extra(install: Install, postgres_url: str) -> None:
    """`triggers-sql[postgresql]` brings the driver."""
    environment = install("triggers-sql[postgresql]")
    environment.run("-c", "import sys, triggers_sql; triggers_sql.migrate(sys.argv[1])", postgres_url)
    assert environment.run("-c", JOIN, "sql", f"url={postgres_url}").splitlines() == RAN_ONCE


def test_redis_alone_runs_a_join(install: Install, redis_space: Space) -> None:
    """`triggers-redis` brings its client."""
    options = [f"url={redis_space.url}", f"prefix={redis_space.prefix}"]
    assert install("triggers-redis").run("-c", JOIN, "redis", *options).splitlines() == RAN_ONCE


def test_cache_reaches_memcached_with_its_extra(install: Install, memcached_space: Space) -> None:
    """`triggers-cache[memcached]` brings the client; Django is not needed."""
    options = [f"url={memcached_space.url}"]
    assert install("triggers-cache[memcached]").run("-c", JOIN, "cache", *options).splitlines() == RAN_ONCE


def test_the_command_is_installed(install: Install) -> None:
    """`triggers-cli` brings the command `triggers`, which answers without any backend."""
    environment = install("triggers-cli")
    command = "import subprocess; print(subprocess.run(['triggers', '--help'], check=True, text=True, stdout=-1).stdout)"
    assert "doctor" in environment.run("-c", command)
    assert "doctor" in environment.run("-m", "triggers_cli", "--help")


@pytest.mark.parametrize(
    "requirement, package, left_out",
    [
        ("triggers-core", "triggers", ["triggers.testing"]),
        ("triggers-core[testing]", "triggers", []),
        ("triggers-sql[postgresql,mysql]", "triggers_sql", ["triggers_sql.migrations"]),
        ("triggers-redis", "triggers_redis", []),
        ("triggers-cache[django,memcached]", "triggers_cache", []),
        ("triggers-celery", "triggers_celery", []),
        ("triggers-cli", "triggers_cli", []),
    ],
)
def test_every_module_imports_with_declared_dependencies(
    install: Install, requirement: str, package: str, left_out: list[str]
) -> None:
    """No module leans on something that only the test environment has. (Alembic runs migrations.)"""
    imported = install(requirement).run("-W", "error", "-c", IMPORT_ALL, package, *left_out).splitlines()
    assert all(name.startswith(package) for name in imported)
    assert imported


def test_the_testing_extra_brings_a_pytest_plugin(install: Install) -> None:
    """With `triggers-core[testing]`, pytest has the fixtures without being told."""
    output = install("triggers-core[testing]").run("-m", "pytest", "--fixtures", "-p", "no:cacheprovider")
    assert "trigger_manager" in output
