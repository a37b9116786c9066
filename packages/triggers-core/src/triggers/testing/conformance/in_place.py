"""The module of tests that ``check_store`` runs; the plugin ``Aim`` tells it on what."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from triggers.testing.conformance import StoreConformance
from triggers.testing.conformance.space import OpenStore

if TYPE_CHECKING:
    from triggers.testing.conformance.configured import Target


class Aim:
    """A pytest plugin with the storage that is to be checked."""

    def __init__(self, target: Target) -> None:
        self.aimed_at = target

    @pytest.fixture
    def target(self) -> Target:
        """The storage of the settings."""
        return self.aimed_at


class TestConfigured(StoreConformance):
    """S1 to S34 on the storage of the settings."""

    @pytest.fixture(autouse=True)
    def declared(self, target: Target) -> None:
        """Whether other processes see its data was found out before."""
        type(self).between_processes = target.between_processes

    @pytest.fixture
    def open_store(self, target: Target) -> OpenStore:
        """One more handle on it."""
        return target.open_store
