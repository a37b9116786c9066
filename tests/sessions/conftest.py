"""Two storages of a process, in the settings, as an application has them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import triggers
from tests.rules.backends import BACKENDS
from triggers.process import forget_shared_stores
from triggers.settings import reset
from triggers.storages import storage_backends
from triggers.store import Store

PAIRS = [(left, right) for left in ("memory", "sqlite", "redis") for right in ("memory", "sqlite", "redis") if left != right] + [
    ("redis", "postgres")
]


class Dies(BaseException):
    """The process dies."""


class Places(NamedTuple):
    """Two stores, known to the settings as ``left`` and ``right``."""

    left: Store
    right: Store

    @contextmanager
    def dying(self, commit: int) -> Iterator[list[int]]:
        """The process dies after its so manieth commit or deletion in either store."""
        counted = [0]

        def wrap(call: Any) -> Any:
            def wrapped(*arguments: Any, **options: Any) -> Any:
                result = call(*arguments, **options)
                counted[0] += 1
                if counted[0] == commit:
                    raise Dies
                return result

            return wrapped

        with pytest.MonkeyPatch.context() as patch:
            for store in self:
                patch.setattr(store, "commit", wrap(store.commit))
                patch.setattr(store, "delete", wrap(store.delete))
            yield counted


@pytest.fixture(params=PAIRS, ids=lambda pair: f"{pair[0]} to {pair[1]}")
def places(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Places]:
    """Each pair of storages."""
    with ExitStack() as stack:
        storages = {}
        for key, name in zip(("left", "right"), request.param, strict=True):
            folder = tmp_path / key
            folder.mkdir()
            backend, options = stack.enter_context(contextmanager(BACKENDS[name])(folder))
            storages[key] = {"backend": backend, **options}
        triggers.configure(storage="left", storages=storages, runner="inline", sweep_interval=0.0, history=1000)
        found = Places(*(storage_backends.open_store(key) for key in ("left", "right")))
        for store in found:
            store.setup()
        yield found
        forget_shared_stores()
        reset()
