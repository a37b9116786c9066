"""The kit on the store that the core brings: memory."""

from __future__ import annotations

import pytest

from triggers.storages.memory import MemoryStore
from triggers.testing.conformance import StoreConformance
from triggers.testing.conformance.space import OpenStore


class TestMemoryStore(StoreConformance):
    """S1 to S34 on memory; its data end with the process."""

    between_processes = False

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """One object: memory has no second handle."""
        store = MemoryStore()
        return lambda: store
