"""Learned-Adapter, a stand-in: the original's code and search are not public.

All that is known of the original (Zhang et al. 2023) is that it searches adapter architectures in a
unified space and then uses them for tuning.  Its activations, operations and search ("GDNAS") are unknown;
what follows is ours and must be reported as a reimplementation, not as the original.

Each block has one adapter beside the whole block, as in `parallel_adapter.py`, with a searched operation:

    y = Block(h) + s * e(phi(x W_d)) W_u        W_d in R^{d x m}, W_u in R^{m x d}, x = LN1(h)
    phi  = sum_k softmax(a)_k phi_k             phi_k of ReLU, GELU, SiLU, tanh, LeakyReLU, identity
    e(z) = softmax(c)_0 z + softmax(c)_1 z W_e  W_e in R^{m x m} from the identity

Everything works token by token, so decoding needs no state.  *Search*: first-order bilevel steps
(`arch_parameters` = a, c) on a training set split in halves, for 20 % of the training steps; over the
next 20 %, a and c of all blocks are settled one after another, the most confident (lowest softmax
entropy) first.  *Training*: the settled adapters, re-initialised, for the full schedule.
9,437,184 to 9,478,656 parameters on LLaMA-2 7B, depending on the number of W_e kept (Table 1: 9.5M).

Symbols: m -> bottleneck_dim, s -> scale.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iapt.backbone.dims import Dims
from iapt.configuration.checking import NonNegative, Positive, Share
from iapt.methods.arguments import Size
from iapt.methods.base import Progress
from iapt.methods.choice import Choice
from iapt.methods.parallel_adapter import Input, ParallelAdapter
from iapt.methods.searched import Search, Searched

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "leaky_relu": F.leaky_relu,
    "identity": lambda z: z,
}


class SearchedOperation(nn.Module):
    """e(phi(z)): a mixture during the search, one activation and one inner map afterwards."""

    def __init__(self, bottleneck_dim: int) -> None:
        super().__init__()
        self.phi = Choice(tuple(ACTIVATIONS))
        self.e = Choice(("none", "linear"))
        self.inner: nn.Parameter | None = nn.Parameter(torch.eye(bottleneck_dim))  # W_e

    def forward(self, z: Tensor) -> Tensor:
        """(B,T,m) -> (B,T,m)."""
        phi = self.phi(tuple(ACTIVATIONS.values()), z)
        return self.e((lambda phi: phi, self._linear), phi)

    def _linear(self, z: Tensor) -> Tensor:
        assert self.inner is not None
        return z @ self.inner.to(z.dtype)

    def settle(self) -> None:
        """Drop what only the search needed and re-initialise W_e, once both choices are made."""
        self.phi.logits = self.e.logits = None
        if self.e.chosen == "none":
            self.inner = None
        elif self.inner is not None:
            nn.init.eye_(self.inner)


class LearnedAdapterReimpl(ParallelAdapter, Searched):
    """Stand-in for Learned-Adapter.

    Args:
        dims: sizes of the backbone.
        bottleneck_dim: m.
        scale: s.
        input: the adapter's input, "ln1" or "raw".
        search_fraction: steps of pure search, as a share of the training steps.
        decide_fraction: steps over which choices are made, as a share of the training steps.
        arch_lr: learning rate of a and c.
    """

    def __init__(
        self,
        dims: Dims,
        bottleneck_dim: Size = 36,
        scale: Positive = 4.0,
        input: Input = "ln1",
        search_fraction: Share = 0.2,
        decide_fraction: Share = 0.2,
        arch_lr: NonNegative = 1e-3,
    ) -> None:
        self._bottleneck_dim = bottleneck_dim
        super().__init__(dims, bottleneck_dim, scale, input)
        length = search_fraction + decide_fraction
        self.decide_from = search_fraction / length
        self.search = Search(length, arch_lr, held_out=0.5)

    def activation(self, layer: int) -> nn.Module:
        return SearchedOperation(self._bottleneck_dim)

    def operations(self) -> list[SearchedOperation]:
        """Return the searched operation of every block's adapter."""
        return [m for m in self.modules() if isinstance(m, SearchedOperation)]

    def choices(self) -> list[Choice]:
        """Return the choices of phi and e of every block, in forward order."""
        return [choice for op in self.operations() for choice in (op.phi, op.e)]

    def arch_parameters(self) -> list[nn.Parameter]:
        return [choice.logits for choice in self.choices() if choice.logits is not None]

    def on_step_end(self, progress: Progress) -> None:
        if self.search is None:
            return
        start = self.decide_from * progress.total_steps
        share = (progress.step - start) / (progress.total_steps - start)
        choices = self.choices()
        due = math.ceil(share * len(choices) - 1e-9)
        left = sorted((choice for choice in choices if choice.open), key=Choice.entropy)
        for choice in left[: max(0, due - (len(choices) - len(left)))]:
            choice.decide()

    def ready(self, progress: Progress) -> bool:
        return not any(choice.open for choice in self.choices())

    def end_search(self) -> None:
        for choice in self.choices():
            if choice.open:
                choice.decide()
        self._settle()
        for block in self.blocks:
            block.reset()  # type: ignore[operator]

    def _settle(self) -> None:
        for operation in self.operations():
            operation.settle()
        self.search = None

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        saved = {name: t for name, t in tensors.items() if name.endswith(".choice")}
        if self.search is None or not saved or any(n.endswith(".logits") for n in tensors):
            return
        for name, module in self.named_modules():
            index = saved.get(f"{name}.choice")
            if isinstance(module, Choice) and index is not None and index.dim() == 0:
                module.take(int(index))
        if not any(choice.open for choice in self.choices()):
            self._settle()

    def structure(self) -> dict[str, Any]:
        if self.search is not None:
            return {}
        return {
            f"{layer}": {"activation": op.phi.chosen, "inner": op.e.chosen}
            for layer, op in enumerate(self.operations())
        }
