"""Methods whose tensors change in number or shape: pruned ranks, chosen modules, products multiplied out.

Three classes, each the one before and more verbs:

    Reshaped      saves other tensors than it trains      adopt, serving_state
    Structured    settles its structure while training    ready, structure
    Searched      searches for it before training         search, on_arch_step_start, end_search

The functions at the end answer for every method.
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
        fraction: length as a share of the training steps, which it does not shorten.
        arch_lr: peak learning rate of the architecture parameters.
        held_out: share of the training set that they are trained on; the weights get the rest.
        clip: largest gradient norm while searching; None is the run's own.
        order: 1 takes the architecture gradient as it is, 2 adds how it changes with one step of the weights.
    """

    fraction: float
    arch_lr: float
    held_out: float = 0.5
    clip: float | None = None
    order: int = 1


class Reshaped(Method):
    """A method whose saved tensors may differ in number or shape from those of a fresh one."""

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the structure of saved tensors, so that `load_state_dict` can follow.

        The tensors may be anybody's: what does not fit is left for the loader to name.
        """
        raise NotImplementedError(f"{type(self).__name__} must define adopt(tensors).")

    def serving_state(self) -> dict[str, Tensor]:
        """The tensors that a saved adapter consists of, without what only training needs."""
        return self.state_dict()


class Structured(Reshaped):
    """A method that settles its structure while training."""

    def ready(self, progress: Progress) -> bool:
        """Whether the structure is settled after this step, so that its weights may be chosen as the best."""
        return True

    def structure(self) -> dict[str, Any]:
        """The structure found, as JSON-able values; empty while it is searched for."""
        raise NotImplementedError(f"{type(self).__name__} must define structure().")


class Searched(Structured):
    """A method whose structure is searched for before training.

    Attributes:
        search: the search still to be done; None afterwards.
    """

    search: Search | None = None

    def on_arch_step_start(self, progress: Progress) -> None:
        """Called before the forward passes of a step of the architecture parameters."""

    def end_search(self) -> None:
        """Settle the structure, start its weights afresh, leave no Θ and no `search` behind."""
        raise NotImplementedError(f"{type(self).__name__} must define end_search().")


def pending_search(method: Method) -> Search | None:
    """The search that a method still needs before it can be trained."""
    return method.search if isinstance(method, Searched) else None


def adopt(method: Method, tensors: Mapping[str, Tensor]) -> None:
    """Give a method the structure of saved tensors, where structures can differ."""
    if isinstance(method, Reshaped):
        method.adopt(tensors)


def serving_state(method: Method) -> dict[str, Tensor]:
    """The tensors that a saved adapter of a method consists of."""
    return method.serving_state() if isinstance(method, Reshaped) else method.state_dict()


def structure(method: Method) -> dict[str, Any]:
    """The structure that training has found; empty where there was none to find."""
    return method.structure() if isinstance(method, Structured) else {}
