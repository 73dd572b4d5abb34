"""Methods that can show what they learned: functions of one number, and attention over a prompt's tokens."""

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from torch import Tensor

from iapt.results.inspection import Functions


@runtime_checkable
class Inspectable(Protocol):
    """A method that can show what it learned, once it is attached and trained."""

    def functions(self) -> Sequence[Functions]:
        """Return the functions that it learned; empty without any."""

    def attention(self, read: Callable[[], object]) -> Mapping[str, Tensor]:
        """Return its weights over the tokens of one prompt.

        Args:
            read: runs the backbone over the prompt once.

        Returns:
            Name of a view -> (T,) weights that sum to 1, at most 16 views; empty without any.
        """
