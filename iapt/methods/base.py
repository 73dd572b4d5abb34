"""The interface of a method: one required verb, `attach`, and four optional hooks.

What only some methods can do is a class of its own, and callers ask with `isinstance`, never by name:
`searched.Searched` (and its bases `Structured`, `Reshaped`), `merge.Mergeable`, `peft_format.PeftCompatible`,
`Measured`.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from iapt.backbone.base import Backbone


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` is 1-based and counts optimizer steps, of `total_steps` planned."""

    step: int
    total_steps: int


class Method(nn.Module):
    """A parameter-efficient tuning method; its parameters exist after ``__init__(dims, ...)``.

    `state_dict()` is the checkpoint, its parameters are the trained ones, `backbone.detach()` undoes
    `attach`.

    Attributes:
        neutral: whether the freshly attached method leaves every logit as it was.
        soft_tokens: positions it takes from a sequence.
        instruction_aware: whether what it adds depends on the instruction as a whole.
        decodes: whether its parameters take part in decoding steps; False where what they made lies in the
            cache by then. A part of a method that rests while decoding says the same of itself.
    """

    neutral: bool = False
    soft_tokens: int = 0
    instruction_aware: bool = False
    decodes: bool = True

    def attach(self, backbone: Backbone) -> None:
        """Wire the method into a backbone (creates no parameters)."""
        raise NotImplementedError(
            f"{type(self).__name__} must say where it acts: define attach(backbone)."
        )

    def arch_parameters(self) -> list[nn.Parameter]:
        """Architecture parameters (the paper's Θ); a non-empty list switches bilevel training on."""
        return []

    def penalty(self) -> Tensor | None:
        """A scalar added to the training loss (never to the dev loss), or None."""
        return None

    def on_step_start(self, progress: Progress) -> None:
        """Called before the forward passes of a step of the weights."""

    def on_step_end(self, progress: Progress) -> None:
        """Called after the weights' optimizer step, while gradients are still there."""


@runtime_checkable
class Measured(Protocol):
    """A method with something worth logging beside the loss."""

    def measurements(self) -> dict[str, float]:
        """Values by name, as of the last forward pass; asked at evaluations."""
