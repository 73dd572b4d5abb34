"""The interface of a method: one required verb, `attach`, and four optional hooks.

Each ability that only some methods have is a separate class, and callers test for it with `isinstance`,
never by name: `searched.Searched` (and its bases `Structured`, `Reshaped`), `merge.Mergeable`,
`peft_format.PeftCompatible`, `inspected.Inspectable`, `Started`, `Measured`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from iapt.backbone.base import Backbone


@dataclass(frozen=True)
class Progress:
    """The progress of training: `step` counts optimizer steps from 1, of `total_steps` planned."""

    step: int
    total_steps: int


class Method(nn.Module):
    """A parameter-efficient tuning method; its parameters exist after ``__init__(dims, ...)``.

    `state_dict()` is the checkpoint, the parameters are what is trained, and `backbone.detach()` undoes
    `attach`.

    Attributes:
        neutral: whether the freshly attached method leaves every logit unchanged.
        soft_tokens: the number of positions that it takes up in a sequence.
        instruction_aware: whether its effect depends on the whole instruction.
        decodes: whether its parameters are used in decoding steps; False if their results are in the
            cache by then. A submodule that is unused in decoding sets the same attribute.
    """

    neutral: bool = False
    soft_tokens: int = 0
    instruction_aware: bool = False
    decodes: bool = True

    def attach(self, backbone: Backbone) -> None:
        """Wire the method into a backbone (creates no parameters)."""
        raise NotImplementedError(
            f"{type(self).__name__} must define attach(backbone), which says where it acts."
        )

    def arch_parameters(self) -> list[nn.Parameter]:
        """Return the architecture parameters (the paper's Θ); a non-empty list turns on bilevel training."""
        return []

    def penalty(self) -> Tensor | None:
        """Return a scalar to add to the training loss (never to the dev loss), or None."""
        return None

    def on_step_start(self, progress: Progress) -> None:
        """Run before the forward passes of a step of the weights."""

    def on_step_end(self, progress: Progress) -> None:
        """Run after the weights' optimizer step, while gradients still exist."""


def trained(method: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that training changes, by name; those with `requires_grad=False` are only saved."""
    return {name: p for name, p in method.named_parameters() if p.requires_grad}


@runtime_checkable
class Started(Protocol):
    """A method whose first values depend on the backbone."""

    def start(self, backbone: Backbone, encode: Callable[[str], Sequence[int]]) -> None:
        """Set the first values; called once before `attach`, on a backbone without a method, and never on loading.

        Args:
            backbone: the frozen model; nothing may be left attached.
            encode: text -> tokens, with BOS where the backbone has one.
        """


@runtime_checkable
class Measured(Protocol):
    """A method with measurements to log beside the loss."""

    def measurements(self) -> dict[str, float]:
        """Return values of the last forward pass by name; called at evaluations."""
