"""What a backend's author inherits from: the fixtures of the kit for stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from triggers.store import Capability, Store
from triggers.testing.conformance.children import Children
from triggers.testing.conformance.contract import Contract, not_tested
from triggers.testing.conformance.space import OpenStore, Space

__all__ = ["Kit", "not_tested"]


class Kit(Contract):
    """Fixtures and declarations of the store kit."""

    rule_prefix = "test_s"

    between_processes: ClassVar[bool] = True
    """Whether other processes see what this store keeps; without it those rules are reported as not tested."""

    @pytest.fixture
    def open_store(self) -> OpenStore:
        """To be overridden: a callable that opens one more handle on the same fresh, empty data.

        Each call gives a new object, as another process would make it. Where it can be pickled
        (``functools.partial`` of an importable class), child processes are started clean; else they are forked.
        """
        raise NotImplementedError(f"{type(self).__name__} needs a fixture `open_store` that returns a callable")

    @pytest.fixture
    def open_fresh_store(self, open_store: OpenStore) -> OpenStore:
        """Optional, for suites whose tests share a medium: like ``open_store``, on one that nobody has set up yet."""
        return open_store

    @pytest.fixture
    def break_connections(self) -> Callable[[], None] | None:
        """Optional: a callable that cuts every connection that a store has now, as a restart of the server would."""
        return None

    @pytest.fixture
    def spoil_format(self) -> Callable[[str], None] | None:
        """Optional: a callable that gives the stored session of this uid a format number from the future."""
        return None

    @pytest.fixture
    def another(self, open_store: OpenStore) -> Iterator[OpenStore]:
        """Opens handles that are closed at the end of the test."""
        opened: list[Store] = []

        def open_one() -> Store:
            opened.append(open_store())
            return opened[-1]

        yield open_one
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, another: OpenStore) -> Store:
        """The first handle, set up."""
        first = another()
        first.setup()
        return first

    @pytest.fixture
    def other(self, store: Store, another: OpenStore) -> Store:
        """A second handle on the same data; nobody calls its ``setup``."""
        return another()

    @pytest.fixture
    def space(self, store: Store) -> Iterator[Space]:
        """Names of this test alone; its sessions are removed at the end."""
        space = Space()
        yield space
        space.clean(store)

    @pytest.fixture
    def children(self) -> Iterator[Children]:
        """Child processes, all ended with the test."""
        if not self.between_processes:
            not_tested("its data are not shared between processes")
        with Children() as children:
            yield children

    def needs(self, store: Store, capability: Capability) -> None:
        """Ends the test where the store does not declare the capability."""
        if capability not in store.capabilities:
            not_tested(f"declares no capability {capability.name}")
