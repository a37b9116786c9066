"""The whole kit for stores."""

from __future__ import annotations

from triggers.testing.conformance.commits import Commits
from triggers.testing.conformance.concurrency import Concurrency
from triggers.testing.conformance.lifecycle import Lifecycle
from triggers.testing.conformance.listing import Listing
from triggers.testing.conformance.loads import Loads
from triggers.testing.conformance.model import Model
from triggers.testing.conformance.processes import Processes
from triggers.testing.conformance.values import Values
from triggers.testing.conformance.wakeups import WakeUps


class StoreConformance(Loads, Commits, Values, Concurrency, Processes, WakeUps, Listing, Lifecycle, Model):
    """The rules S1 to S34 as tests.

    A subclass gives the fixture ``open_store``, and where it can ``break_connections`` and ``spoil_format``.
    """
