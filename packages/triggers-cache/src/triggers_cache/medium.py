"""What the store needs of a cache: one value per key, replaced only if nobody has replaced it since."""

from __future__ import annotations

import abc
from typing import Any, ClassVar


class Medium(abc.ABC):
    """A cache that can compare and set, however it comes by it. One object is shared by all threads of a process."""

    method: ClassVar[str]
    """How a commit is made atomic, for people."""
    max_value_bytes: int | None = None

    @abc.abstractmethod
    def read(self, key: str) -> tuple[bytes, Any] | None:
        """The value and a mark of this very revision, or ``None``; never an older value than one read before.

        Raises:
            StorageUnavailable: the cache does not answer.
        """

    @abc.abstractmethod
    def swap(self, key: str, mark: Any, value: bytes, seconds: int | None) -> bool:
        """Stores the value if the revision is still ``mark`` (``None``: if there is none); says whether it did.

        Args:
            key: at most 250 bytes of ASCII.
            mark: what ``read`` gave.
            value: UTF-8.
            seconds: how long the value is kept at least; ``None`` for ever.

        Raises:
            OutcomeUnknown: the connection was lost after the value was sent.
            StorageUnavailable: the cache does not answer, and nothing was sent.
            SessionTooLarge: the cache refuses a value of this size.
        """

    @abc.abstractmethod
    def remove(self, key: str, mark: Any) -> bool:
        """Removes the value if the revision is still ``mark``; says whether it did. Raises what ``swap`` raises."""

    @abc.abstractmethod
    def eviction(self) -> str:
        """One sentence: when this cache throws away what it was given."""

    def setup(self) -> None:
        """Makes what the cache needs, a table for example."""

    def advice(self) -> list[str]:
        """What to change in the server as it is set up now; may ask it."""
        return []

    def close(self) -> None:
        """Lets go of connections."""

    def after_fork(self) -> None:
        """Called in the child of a fork."""
