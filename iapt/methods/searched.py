"""Methods whose tensors change in number or shape: pruned ranks, chosen modules, multiplied-out products.

Three classes, each of which extends the one before:

    Reshaped      saves other tensors than it trains      adopt, serving_state
    Structured    settles its structure while training    ready, structure
    Searched      searches for it before training         search, on_arch_step_start, end_search

The functions at the end accept every method.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from iapt.methods.base import Method, Progress


@dataclass(frozen=True)
class Search:
    """Bilevel steps on a split training set, before training.

    Attributes:
        fraction: length as a share of the training steps, which come in addition.
        arch_lr: peak learning rate of the architecture parameters.
        held_out: share of the training set for these parameters; the weights get the rest.
        clip: largest gradient norm while searching; None is the run's own.
        order: 1 for the first-order architecture gradient, 2 for the second-order one (through one step of
            the weights).
    """

    fraction: float
    arch_lr: float
    held_out: float = 0.5
    clip: float | None = None
    order: int = 1


class Reshaped(Method):
    """A method whose saved tensors may differ in number or shape from those of a fresh one."""

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the structure of saved tensors, before `load_state_dict`.

        The tensors are untrusted: whatever does not fit is left for the loader to report.
        """
        raise NotImplementedError(f"{type(self).__name__} must define adopt(tensors).")

    def serving_state(self) -> dict[str, Tensor]:
        """Return the tensors of a saved adapter, without those that only training needs."""
        return self.state_dict()


class Structured(Reshaped):
    """A method that settles its structure while training."""

    def ready(self, progress: Progress) -> bool:
        """Say whether the structure is settled after this step, so its weights may become the best."""
        return True

    def structure(self) -> dict[str, Any]:
        """Return the structure found, as JSON values; empty during the search."""
        raise NotImplementedError(f"{type(self).__name__} must define structure().")


class Searched(Structured):
    """A method that searches for its structure before training.

    Attributes:
        search: the pending search; None after it.
    """

    search: Search | None = None

    def on_arch_step_start(self, progress: Progress) -> None:
        """Run before the forward passes of a step of the architecture parameters."""

    def end_search(self) -> None:
        """Settle the structure, re-initialise its weights, and remove Θ and `search`."""
        raise NotImplementedError(f"{type(self).__name__} must define end_search().")


def pending_search(method: Method) -> Search | None:
    """Return the search that a method still needs before training, or None."""
    return method.search if isinstance(method, Searched) else None


def adopt(method: Method, tensors: Mapping[str, Tensor]) -> None:
    """Give a method the structure of saved tensors, if its structure can vary."""
    if isinstance(method, Reshaped):
        method.adopt(tensors)


def serving_state(method: Method) -> dict[str, Tensor]:
    """Return the tensors of a method's saved adapter."""
    return method.serving_state() if isinstance(method, Reshaped) else method.state_dict()


def structure(method: Method) -> dict[str, Any]:
    """Return the structure that training found; empty for a method without one."""
    return method.structure() if isinstance(method, Structured) else {}
