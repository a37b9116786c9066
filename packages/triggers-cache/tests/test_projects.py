"""Whole processes: Django projects with ``TRIGGERS`` in their settings, and applications without Django."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.servers.plugin import Space


def run(code: str, folder: Path, **environment: str) -> list[str]:
    """Runs Python code in a folder; returns the lines that it printed."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("TRIGGERS_", "DJANGO_"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**kept, "PYTHONPATH": str(folder), **environment},
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def project(folder: Path, space: Space, triggers: str) -> None:
    """A Django project's settings module."""
    (folder / "project_settings.py").write_text(
        "CACHES = {'sessions': {'BACKEND': 'django.core.cache.backends.redis.RedisCache', "
        f"'LOCATION': {space.url!r}, 'KEY_PREFIX': {space.prefix!r}}},\n"
        "          'default': {'BACKEND': 'django.core.cache.backends.dummy.DummyCache'}}\n"
        f"USE_TZ = True\nTRIGGERS = {triggers}\n"
    )


def test_triggers_in_django_settings_serve_all_of_the_framework(tmp_path: Path, redis_space: Space) -> None:
    """``TRIGGERS`` in Django's settings chooses storage, alias and lease; a second process finds the session."""
    project(
        tmp_path, redis_space, "{'storage': 'cache', 'lease': 7, 'storages': {'cache': {'cache': 'sessions', 'timeout': 600}}}"
    )
    use = """
import triggers
from triggers.storages import storage_backends
from triggers.settings import get_settings
storage = storage_backends.get(get_settings().storage, "s")
print(get_settings().lease, type(storage).__name__, storage.exists(), storage.store.promises()["kept"])
"""
    write = """
from triggers.store import *
storage.store.commit("s", Change("v1", {("c", "k"): Record(b"1")}), ABSENT, Want())
"""
    first = run(use + write, tmp_path, DJANGO_SETTINGS_MODULE="project_settings")
    second = run(use, tmp_path, DJANGO_SETTINGS_MODULE="project_settings")
    assert first == ["7.0 CacheStorageBackend False 600 seconds after the last commit"]
    assert second == ["7.0 CacheStorageBackend True 600 seconds after the last commit"]


def test_the_environment_is_stronger_than_django_settings(tmp_path: Path, redis_space: Space) -> None:
    """``TRIGGERS_LEASE`` overrides what Django's settings say."""
    project(tmp_path, redis_space, "{'lease': 7}")
    code = "from triggers.settings import get_settings; print(get_settings().lease)"
    assert run(code, tmp_path, DJANGO_SETTINGS_MODULE="project_settings", TRIGGERS_LEASE="9") == ["9.0"]
    assert run(code, tmp_path, DJANGO_SETTINGS_MODULE="project_settings") == ["7.0"]
    assert run(code, tmp_path) == ["60.0"]


def test_a_mistake_in_django_settings_is_an_error_of_settings(tmp_path: Path, redis_space: Space) -> None:
    """A misspelt setting, and something that is no dictionary, are refused with a message that names it."""
    code = """
from triggers.errors import SettingsError
from triggers.settings import get_settings
try:
    get_settings()
except SettingsError as error:
    print(error)
"""
    project(tmp_path, redis_space, "{'leese': 7}")
    (line,) = run(code, tmp_path, DJANGO_SETTINGS_MODULE="project_settings")
    assert line.startswith("unknown setting 'leese', did you mean 'lease'?")
    project(tmp_path, redis_space, "['lease']")
    assert run(code, tmp_path, DJANGO_SETTINGS_MODULE="project_settings") == [
        "TRIGGERS in Django's settings is a dictionary of settings, got list"
    ]


def test_settings_made_in_code_count_too(tmp_path: Path, redis_space: Space) -> None:
    """``settings.configure(TRIGGERS=…)`` works as a settings module does; a process without Django never imports it."""
    code = """
from django.conf import settings
settings.configure(USE_TZ=True, TRIGGERS={"lease": 11})
from triggers.settings import get_settings
print(get_settings().lease)
"""
    assert run(code, tmp_path) == ["11.0"]
    without = "import sys; from triggers.settings import get_settings; get_settings(); print('django' in sys.modules)"
    assert run(without, tmp_path) == ["False"]


def test_memcached_by_url_in_the_environment(tmp_path: Path, memcached_space: Space) -> None:
    """``TRIGGERS_CACHE_URL`` is all that an application without Django needs; Django is not imported."""
    code = """
import sys
from triggers.storages import storage_backends
from triggers.store import *
store = storage_backends.get("cache", "s", prefix=PREFIX).store
store.commit("s", Change("v1", {("c", "k"): Record(b"1")}), ABSENT, Want())
print(store.load("s", EVERYTHING).version, "django" in sys.modules)
"""
    code = code.replace("PREFIX", repr(memcached_space.prefix))
    assert run(code, tmp_path, TRIGGERS_CACHE_URL=memcached_space.url) == ["v1 False"]


def test_a_cache_warns_once_that_it_may_lose_sessions(tmp_path: Path, memcached_space: Space) -> None:
    """Each cache is warned about once per process, however many stores and sessions are opened on it."""
    code = """
import logging
logging.basicConfig(format="%(name)s %(levelname)s %(message)s", stream=__import__("sys").stdout)
from triggers_cache import CacheStorageBackend, CacheStore
for number in range(5):
    CacheStorageBackend(f"s{number}", url="memcached://127.0.0.1:1", timeout=60 + number)
CacheStore(url="memcached://127.0.0.1:2")
"""
    reason = "memcached keeps everything in memory: it evicts when that is full, and forgets all when it restarts"
    assert run(code, tmp_path) == [
        f"triggers.cache WARNING sessions are kept in memcached://127.0.0.1:1, which may lose them: {reason}",
        f"triggers.cache WARNING sessions are kept in memcached://127.0.0.1:2, which may lose them: {reason}",
    ]
