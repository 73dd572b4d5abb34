"""SSP: sparse structure search over small modules (Hu et al. 2022, "S3PET"; code thunlp/S3Delta).

Every projection of every block gets two candidates, each with a gate g in (0, 1) (`gates.py`):

    y <- x W;   y <- y + g_1 (alpha / r) x A B       LoRA, parallel
                y <- y + g_2 b                       bias, sequential

*Search*, before training: bilevel, with the gates' alpha on one half of the training set and the
candidates' weights on the other, both with the run's own warm-up; it keeps the state with the lowest dev
loss.  *Cut*: in order of decreasing p, take every candidate that still fits the budget.  *Training*: the
chosen candidates, re-initialised, with g = 1.

The original's rank-1 candidates (5.2M on LLaMA-2 7B in total) cannot reach the paper's 8.6M, so we use
rank 8: 19,988,480 + 1,359,872 = 21,348,352 candidate parameters behind 448 gates, of which the budget
is 40.3 %.  The budget is a share, so that it means the same on every backbone.

Symbols: r -> rank, C -> budget (share), order -> order of the gates' gradient.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import NonNegative, Positive, Share
from iapt.methods.arguments import Rank, one_of, rank_within
from iapt.methods.base import Progress
from iapt.methods.gates import BudgetedGates, cut
from iapt.methods.lora import LowRank
from iapt.methods.merge import Mergeable
from iapt.methods.per_site import PerSite
from iapt.methods.searched import Search, Searched

KINDS = ("lora", "bias")  # in the order in which they act
Order = Literal[1, 2]
CLIP = 2.0  # of gradient norms while searching; the original's


class Bias(nn.Module):
    """Delta = b, from zero."""

    def __init__(self, out_dim: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(out_dim))

    def delta(self, x: Tensor) -> Tensor:
        """Return b, (out,)."""
        return self.bias.to(x.dtype)


class SSP(Mergeable, Searched):
    """LoRA and bias modules at the places that a search under a budget chooses.

    Args:
        dims: sizes of the backbone.
        rank: r of the LoRA candidates.
        alpha: numerator of their scaling.
        budget: C as a share of all candidates' parameters, in (0, 1].
        search_fraction: length of the search as a share of the training steps.
        gate_lr: learning rate of the gates.
        order: 1, or 2 for the gradient through one step of the weights (three more passes per step).
    """

    neutral = True
    kept: Tensor
    probabilities: Tensor

    def __init__(
        self,
        dims: Dims,
        rank: Rank = 8,
        alpha: Positive = 16.0,
        budget: Share = 0.4028414,
        search_fraction: Share = 0.3,
        gate_lr: NonNegative = 0.1,
        order: Order = 1,
    ) -> None:
        super().__init__()
        rank_within(dims, "rank", rank)
        one_of("order", order, Order)
        self.dims, self.rank, self.alpha = dims, rank, alpha
        self.search = Search(search_fraction, gate_lr, held_out=0.5, clip=CLIP, order=order)
        self.blocks = PerSite(
            dims.num_layers,
            dims.linears,
            lambda site: nn.ModuleDict({kind: self._fresh(site, kind) for kind in KINDS}),
        )
        candidates = {
            f"{layer}.{site}.{kind}": sum(p.numel() for p in module.parameters())
            for layer, site, modules in self.blocks.each()
            for kind, module in modules.items()
        }
        self.names, self.sizes = list(candidates), list(candidates.values())
        self.index = {name: i for i, name in enumerate(self.names)}
        self.budget = max(1, round(budget * sum(self.sizes)))
        self.gates: BudgetedGates | None = BudgetedGates(self.sizes, self.budget)
        self.register_buffer("kept", torch.ones(len(self.names), dtype=torch.bool))
        self.register_buffer("probabilities", self.gates.probabilities().detach())

    def _fresh(self, site: str, kind: str) -> nn.Module:
        in_dim, out_dim = self.dims.in_out(site)
        if kind == "lora":
            return LowRank(in_dim, out_dim, self.rank, self.alpha, dropout=0.0)
        return Bias(out_dim)

    def attach(self, backbone: Backbone) -> None:
        for layer, site, candidates in self.blocks.each():
            if candidates:
                fn = partial(self.add, f"{layer}.{site}", candidates)
                backbone.on_linear(layer, site, fn)

    def add(self, place: str, candidates: nn.ModuleDict, x: Tensor, y: Tensor) -> Tensor:
        """Return y (B,T,out) plus the gated outputs of one projection's candidates on x (B,T,in)."""
        gates = None if self.gates is None else self.gates()
        for kind, candidate in candidates.items():
            delta = candidate.delta(x)  # type: ignore[operator]
            gate = 1 if gates is None else gates[self.index[f"{place}.{kind}"]].to(y.dtype)
            y = y + gate * delta
        return y

    def arch_parameters(self) -> list[nn.Parameter]:
        return [] if self.gates is None else [self.gates.alpha]

    def on_step_start(self, progress: Progress) -> None:
        if self.gates is not None:
            self.gates.redraw()

    def on_arch_step_start(self, progress: Progress) -> None:
        self.on_step_start(progress)

    def end_search(self) -> None:
        if self.gates is None:
            return
        self.probabilities.copy_(self.gates.probabilities().detach())
        self._keep(cut(self.probabilities, self.sizes, self.budget))
        for _, site, candidates in self.blocks.each():
            for kind in candidates:
                candidates[kind] = self._fresh(site, kind).to(self.probabilities)

    def _keep(self, kept: Tensor) -> None:
        self.kept.copy_(kept)
        for layer, site, candidates in self.blocks.each():
            for kind in list(candidates):
                if not kept[self.index[f"{layer}.{site}.{kind}"]]:
                    del candidates[kind]
        self.gates = self.search = None

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        kept = tensors.get("kept")
        if self.gates is None or any(name.startswith("gates.") for name in tensors):
            return
        if kept is not None and kept.shape == self.kept.shape:
            self._keep(kept.bool())

    def structure(self) -> dict[str, Any]:
        if self.gates is not None:
            return {}
        chosen = [i for i, keep in enumerate(self.kept.tolist()) if keep]
        return {
            "chosen": [self.names[i] for i in chosen],
            "parameters": sum(self.sizes[i] for i in chosen),
            "budget": self.budget,
            "probabilities": dict(zip(self.names, self.probabilities.tolist(), strict=True)),
        }

    def fold(
        self, layer: int, site: str, weight: Tensor, bias: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        candidates = self.blocks.at(layer, site)
        if "lora" in candidates:
            weight = weight + candidates["lora"].change_of_weight().to(weight)
        return weight, bias + candidates["bias"].bias.to(bias) if "bias" in candidates else None
