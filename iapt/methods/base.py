"""The interface of a method: one required verb, `attach`; everything else is optional.

    while training     arch_parameters, penalty, on_step_start, on_arch_step_start, on_step_end, ready
    before training    search, end_search
    when saved         serving_state, adopt, structure
    when served        merge, unmerge, peft_adapter
    when counted       counted_parameters, reading, active_at_decode, endings
    when watched       measurements

The training loop asks what a method can do, never what it is called.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.errors import AdapterError


@dataclass(frozen=True)
class Progress:
    """Where training stands: `step` is 1-based and counts optimizer steps, of `total_steps` planned."""

    step: int
    total_steps: int


@dataclass(frozen=True)
class Search:
    """A search for structure that comes before training: bilevel steps on a split training set.

    Attributes:
        fraction: its length as a share of the training steps, which it does not shorten.
        arch_lr: peak learning rate of the architecture parameters.
        held_out: share of the training set that they are trained on; the weights get the rest.
        clip: largest gradient norm while searching; None is the run's own.
        order: 1 takes their gradient as it is, 2 adds how it changes with one step of the weights.
    """

    fraction: float
    arch_lr: float
    held_out: float = 0.5
    clip: float | None = None
    order: int = 1


class Method(nn.Module):
    """A parameter-efficient tuning method; its parameters exist after ``__init__(dims, ...)``.

    `state_dict()` is the checkpoint, its parameters are the trained ones, `backbone.detach()` undoes
    `attach`.

    Attributes:
        neutral: whether the freshly attached method leaves every logit as it was.
        mergeable: whether it can be folded into the backbone's weights.
        soft_tokens: positions it takes from a sequence.
        instruction_aware: whether what it adds depends on the instruction as a whole.
        search: the search for structure that is still to be done before training, if any.
        uncounted: last names of parameters that the paper's column of sizes leaves out (latents, biases).
    """

    neutral: bool = False
    mergeable: bool = False
    soft_tokens: int = 0
    instruction_aware: bool = False
    search: Search | None = None
    uncounted: tuple[str, ...] = ()

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

    def on_arch_step_start(self, progress: Progress) -> None:
        """Called before the forward passes of a step of the architecture parameters."""

    def on_step_end(self, progress: Progress) -> None:
        """Called after the weights' optimizer step, while gradients are still there."""

    def ready(self, progress: Progress) -> bool:
        """Whether what is trained after this step may be chosen as the best; True unless structure is unsettled."""
        return True

    def end_search(self) -> None:
        """Called once after `search`: settle the structure, start its weights afresh, leave no Θ behind."""

    def serving_state(self) -> dict[str, Tensor]:
        """The tensors a saved adapter consists of; what only training needs may be left out."""
        return self.state_dict()

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the structure that saved tensors have, so that `load_state_dict` can follow."""

    def structure(self) -> dict[str, Any]:
        """What training has found out about structure, as JSON-able values; empty if nothing."""
        return {}

    def merge(self, backbone: Backbone) -> None:
        """Fold the method into the backbone's weights; merging twice changes nothing.

        Raises:
            AdapterError: it cannot be folded, or the folded weights are not finite.
        """
        raise AdapterError(
            f"{type(self).__name__} cannot be merged: what it does is no change of the backbone's weights. "
            "Keep it attached."
        )

    def unmerge(self, backbone: Backbone) -> None:
        """Give the backbone its own weights back, bit for bit, and attach the method again.

        Raises:
            AdapterError: it cannot be folded in the first place.
        """
        raise AdapterError(f"{type(self).__name__} cannot be merged, so there is nothing to undo.")

    def peft_adapter(self, backbone: Backbone) -> tuple[dict[str, Any], dict[str, Tensor]]:
        """The method as the peft library stores it: (its configuration, its tensors).

        Raises:
            AdapterError: peft has no such method.
        """
        raise AdapterError(
            f"{type(self).__name__} has no counterpart in peft; save it as an adapter of ours."
        )

    def counted_parameters(self) -> int:
        """Size under the rule of the paper's "Tunable Params": without `uncounted`, pruned methods by target."""
        return sum(
            p.numel()
            for name, p in self.named_parameters()
            if name.rpartition(".")[2] not in self.uncounted
        )

    def reading(self) -> str:
        """How `counted_parameters` comes about, in one line; empty if the method does not say.

        A formula in numbers, with words between them, that can be worked out; behind a semicolon, remarks.
        """
        return ""

    def endings(self) -> list["Method"]:
        """The smallest and the largest method that training can leave, if it settles how large that is.

        They are for counting: their tensors have the right shapes, not the values of any training.

        Returns:
            One or two methods; the method itself where training changes no size.
        """
        return [self]

    def active_at_decode(self) -> int:
        """Parameters that take part in every decoding step (0 for prompts that live in the cache)."""
        return sum(p.numel() for p in self.parameters())

    def measurements(self) -> dict[str, float]:
        """What is worth logging beside the loss, by name, as of the last forward pass; asked at evaluations."""
        return {}

    def weight_parameters(self) -> list[nn.Parameter]:
        """All trained parameters but the architecture ones (the paper's Ω)."""
        arch = {id(p) for p in self.arch_parameters()}
        return [p for p in self.parameters() if id(p) not in arch]
