"""A Django project whose processes meet in sessions that a cache keeps."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from caching import projects
from test_contract import alias
from tests.servers.plugin import Space

SETTINGS = """
USE_TZ = True
CACHES = {{"{alias}": {cache!r}}}
DATABASES = {databases!r}
DATABASE_ROUTERS = ["caching.projects.Router"]
TRIGGERS = {{
    "storage": "cache",
    "storages": {{"cache": {{"cache": "{alias}", "timeout": 3600}}}},
    "tasks": ["shop_tasks"],
}}
"""

TASKS = """
import os
from triggers import TaskContext, task

def note(line):
    with open("done.txt", "a") as file:
        file.write(line + "\\n")

@task("shop.pack")
def pack(context: TaskContext):
    kwargs = context.trigger_kwargs
    note(f"pack {context.manager.storage.uid} {sum(kwargs[name]['n'] for name in ('paid', 'picked', 'checked'))}")
    return {"parcel": 1}

@task("shop.ship")
def ship(context: TaskContext):
    note(f"ship {context.manager.storage.uid} {context.trigger_kwargs['t_pack']['parcel']}")
"""

SETUP = """
import django, triggers
django.setup()
triggers.get_manager("x").storage.store.setup()
"""

FIRE = """
import random, sys
import django, triggers
django.setup()
name, n, sessions = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
orders = list(range(sessions))
random.shuffle(orders)
for order in orders:
    manager = triggers.get_manager(f"order {order}")
    manager.update_configuration({
        "t_pack": {"after": ["paid", "picked", "checked"], "run": "shop.pack"},
        "t_ship": {"after": ["t_pack"], "run": "shop.ship"},
    })
    manager.fire(name, {"n": n})
triggers.join_all()
"""

SESSIONS = 12


@pytest.mark.parametrize("kind", ["redis", "memcached", "postgres", "add on redis"])
def test_processes_meet_and_each_join_runs_once(request: pytest.FixtureRequest, tmp_path: Path, kind: str) -> None:
    """3 processes fire one trigger each into 12 sessions, in orders of their own; each join and its cascade run once."""
    name = alias()
    databases: dict[str, Any] = {}
    options: dict[str, Any] = {}
    if kind == "postgres":
        databases = {"default": {}, name: projects.postgres_database(request.getfixturevalue("postgres_url"))}
        cache = projects.database_cache(name)
    else:
        space: Space = request.getfixturevalue("memcached_space" if kind == "memcached" else "redis_space")
        cache = (projects.memcached_cache if kind == "memcached" else projects.redis_cache)(space.url, space.prefix)
    if kind.startswith("add"):
        cache, options = projects.strange_cache(cache), {"atomic_add": True}
    text = SETTINGS.format(alias=name, cache=cache, databases=databases)
    if options:
        text += f"TRIGGERS['storages']['cache'].update({options!r})\n"
    (tmp_path / "shop_settings.py").write_text(text)
    (tmp_path / "shop_tasks.py").write_text(TASKS)

    _ended(_start(tmp_path, "-c", SETUP))
    running = [
        _start(tmp_path, "-c", FIRE, trigger, n, str(SESSIONS))
        for trigger, n in (("paid", "1"), ("picked", "10"), ("checked", "100"))
    ]
    for process in running:
        _ended(process)

    done = Counter((tmp_path / "done.txt").read_text().splitlines())
    expected = {f"pack order {at} 111" for at in range(SESSIONS)} | {f"ship order {at} 1" for at in range(SESSIONS)}
    assert done == Counter(expected)


def _start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRIGGERS_", "DJANGO_"))}
    return subprocess.Popen(
        [sys.executable, "-W", "error", *arguments],
        cwd=folder,
        env={**kept, "PYTHONPATH": f"{folder}:{Path(__file__).parent}", "DJANGO_SETTINGS_MODULE": "shop_settings"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ended(process: subprocess.Popen[str]) -> None:
    _, complaint = process.communicate(timeout=110)
    assert process.returncode == 0, complaint
