"""Random choices that come out the same on every Python version and machine.

`random.Random.random()` is promised to be stable from one Python to the next; `choice`, `shuffle`
and `sample` are not, so they are built on it here.
"""

import random
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


class Draw:
    """A source of choices.

    Args:
        name: seeds it; each file has its own, so that changing one data set leaves the others
            alone.
    """

    def __init__(self, name: str) -> None:
        self._random = random.Random(f"iapt sample {name}")

    def below(self, n: int) -> int:
        """Return an integer from 0 to n - 1."""
        return int(self._random.random() * n)

    def between(self, low: int, high: int) -> int:
        """Return an integer from low to high, both included."""
        return low + self.below(high - low + 1)

    def chance(self, share: float) -> bool:
        """Return True with this probability."""
        return self._random.random() < share

    def pick(self, items: Sequence[T]) -> T:
        """Return one of the items."""
        return items[self.below(len(items))]

    def shuffled(self, items: Sequence[T]) -> list[T]:
        """Return the items in random order."""
        rest = list(items)
        return [rest.pop(self.below(len(rest))) for _ in range(len(items))]

    def some(self, items: Sequence[T], n: int) -> list[T]:
        """Return n different items in random order."""
        return self.shuffled(items)[:n]

    def mixed(self, n: int, share: float) -> list[bool]:
        """Return n truth values in random order, of which this share, rounded, is True."""
        true = round(n * share)
        return self.shuffled([True] * true + [False] * (n - true))
