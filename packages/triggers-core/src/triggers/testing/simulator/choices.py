"""The choices of a schedule: replayed from a list as far as it goes, then drawn from a seed."""

from __future__ import annotations

import random
from collections.abc import Sequence


class Choices:
    """A source of small numbers that remembers what it gave.

    Args:
        replay: the first choices; one that is too large for its question is taken modulo.
        seed: where the others come from; ``None`` gives zeros, the calmest schedule.
    """

    def __init__(self, replay: Sequence[int] = (), seed: int | None = None) -> None:
        self._replay = list(replay)
        self._random = None if seed is None else random.Random(seed)
        self.taken: list[int] = []
        self.widths: list[int] = []

    def pick(self, width: int) -> int:
        """A number from 0 to ``width - 1``."""
        position = len(self.taken)
        if position < len(self._replay):
            choice = self._replay[position] % width
        elif self._random is not None:
            choice = self._random.randrange(width)
        else:
            choice = 0
        self.taken.append(choice)
        self.widths.append(width)
        return choice
