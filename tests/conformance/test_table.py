"""The manual's table of what each storage can do is what the stores declare.

``TRIGGERS_WRITE_MANUAL=1 pytest tests/conformance/test_table.py`` writes it anew.
"""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from triggers.storages.memory import MemoryStore
from triggers.store import Capability, Store
from triggers_cache.store import CacheStore
from triggers_redis.store import RedisStore
from triggers_sql.store import SqlStore

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "contract.md"
BEGIN, END = "% what follows is written by tests/conformance/test_table.py\n", "% end of what is written\n"


def stores(folder: Path) -> dict[str, Store]:
    """A store of each kind; none of them connects."""
    example = importlib.import_module("triggers_files.store")
    return {
        "`memory`": MemoryStore(),
        "`sql` on SQLite": SqlStore(url=f"sqlite:///{folder / 'none.db'}"),
        "`sql` on PostgreSQL": SqlStore(url="postgresql://127.0.0.1:1/none"),
        "`sql` on MySQL, MariaDB": SqlStore(url="mysql://127.0.0.1:1/none"),
        "`redis` on Redis, Valkey, Cluster, Sentinel": RedisStore(url="redis://127.0.0.1:1"),
        "`cache` on memcached": CacheStore(url="memcached://127.0.0.1:1"),
        "`files`, the example of a backend": example.FilesStore(folder),
    }


def table(found: dict[str, Store]) -> str:
    """The rows of the table."""
    lines = ["| storage | `DUE` | `SCAN` | `EXPIRE` | limit |", "| --- | --- | --- | --- | --- |"]
    for name, store in found.items():
        cells = ["yes" if capability in store.capabilities else "no" for capability in Capability]
        lines.append(f"| {name} | {' | '.join(cells)} | {limit(store)} |")
    return "\n".join(lines) + "\n"


def limit(store: Store) -> str:
    """What ``max_value_bytes`` says, in words."""
    if store.max_value_bytes is None:
        return "none"
    size = f"{store.max_value_bytes / 2**20:.3g} MiB"
    return f"{size} per {'session' if store.one_value else 'record'}"


def test_the_manual_says_what_the_stores_declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table in ``docs/contract.md`` shows the capabilities and limits of each store as its class declares them."""
    monkeypatch.setattr(sys, "path", [str(ROOT / "examples" / "third-party-backend" / "src"), *sys.path])
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    written, _, after = rest.partition(END)
    now = table(stores(tmp_path))
    if os.environ.get("TRIGGERS_WRITE_MANUAL"):
        PAGE.write_text(f"{before}{BEGIN}\n{now}\n{END}{after}", encoding="utf-8")
        written = f"\n{now}\n"
    assert written == f"\n{now}\n"
