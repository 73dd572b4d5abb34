"""AdaLoRA: low-rank updates in SVD form under a global rank budget (Zhang et al. 2023).

    y = x W + alpha / (r0 + 1e-5) * ((dropout(x) P) * lambda) Q      (`svd_low_rank.py`)

on the same projections as LoRA.

*Penalty*, training loss only: gamma * mean over all P, Q of ||gram - I||_F.

*Importance* S of every triplet (P_i, lambda_i, Q_i), smoothed at each step t < T - t_f with b1 = b2 = 0.85.

*Budget*, with N matrices, b0 = r0 N, bT = r_T N:

    b(t) = b0 for t <= t_i;  floor(bT + (b0 - bT) (1 - (t - t_i) / (T - t_f - t_i))^3);  bT from T - t_f on

*Mask*: every `Delta` steps and at T - t_f, lambda_i <- 0 for the b0 - b(t) least important triplets of
the whole model; masked triplets still get gradients and may return, until the pattern is frozen at
T - t_f and applied after every step.  r0 stays in the denominator.

Checkpoints from before T - t_f are over budget and never the best (`ready`).  A saved adapter contains
only the kept triplets.  Exactly b0 - b(t) triplets are masked even if importances are equal.  The original
freezes at the first multiple of Delta at or after T - t_f, which may be a step later.
Source: QingruZhang/AdaLoRA and peft.

Symbols: r0 -> init_rank, r_T -> target_rank, gamma -> orthogonality, t_i, t_f -> warmup, final (shares of T).
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import NonNegative, Positive, Probability
from iapt.errors import ConfigError
from iapt.methods import peft_format as peft
from iapt.methods.arguments import Rank, rank_within
from iapt.methods.base import Progress
from iapt.methods.merge import Mergeable
from iapt.methods.per_site import PerSite
from iapt.methods.searched import Structured
from iapt.methods.stacked import Stackable
from iapt.methods.svd_low_rank import PARTS, SVDLowRank

MASKINGS, LONGEST_GAP = 500, 100  # Delta: about 500 maskings in a run, at most 100 steps apart


PEFT_OPTIONS = (  # peft's training options, and ranks that the tensors themselves show
    *("init_r", "target_r", "lora_alpha", "r", "rank_pattern", "init_lora_weights"),
    *("beta1", "beta2", "deltaT", "orth_reg_weight", "tfinal", "tinit", "total_step"),
)


class AdaLoRA(Mergeable, Structured, peft.PeftCompatible, Stackable):
    """Adaptive budget allocation for low-rank updates.

    Args:
        dims: sizes of the backbone.
        init_rank: r0.
        target_rank: r_T, mean rank at the end.
        alpha: numerator of the scaling.
        dropout: on the input of P, in training.
        orthogonality: gamma.
        warmup: t_i / T, share of the steps before pruning starts.
        final: t_f / T, share of the steps after the pattern is frozen.
        beta1: smoothing of the sensitivity.
        beta2: smoothing of the uncertainty.
    """

    neutral = True
    peft_types = ("ADALORA",)

    def __init__(
        self,
        dims: Dims,
        init_rank: Rank = 8,
        target_rank: Rank = 4,
        alpha: Positive = 16.0,
        dropout: Probability = 0.0,
        orthogonality: NonNegative = 0.1,
        warmup: Probability = 0.12,
        final: Probability = 0.5,
        beta1: Probability = 0.85,
        beta2: Probability = 0.85,
    ) -> None:
        super().__init__()
        rank_within(dims, "init_rank", init_rank)
        if not 1 <= target_rank <= init_rank:
            raise ConfigError(
                f"method.target_rank={target_rank}: must be from 1 to method.init_rank={init_rank}."
            )
        if not warmup + final < 1:
            raise ConfigError(
                f"method.warmup={warmup}, method.final={final}: shares of the steps, together below 1."
            )
        self.init_rank, self.target_rank, self.orthogonality = init_rank, target_rank, orthogonality
        self.alpha = alpha
        self.warmup, self.final, self.beta1, self.beta2 = warmup, final, beta1, beta2
        self._settled = False  # whether these are a saved adapter's ranks, which are final
        self.blocks = PerSite(
            dims.num_layers,
            dims.linears,
            lambda site: SVDLowRank(*dims.in_out(site), init_rank, alpha, dropout),
        )

    def deltas(self) -> list[SVDLowRank]:
        """Return the updates of all matrices, in forward order."""
        return [delta for *_, delta in self.blocks.each()]

    def attach(self, backbone: Backbone) -> None:
        for layer, site, delta in self.blocks.each():
            backbone.on_linear(layer, site, delta)

    def penalty(self) -> Tensor | None:
        if not self.orthogonality:
            return None
        norms = [norm for delta in self.deltas() for norm in delta.gram_penalties()]
        return self.orthogonality * torch.stack(norms).mean()

    def phases(self, total_steps: int) -> tuple[int, int]:
        """Return t_i and T - t_f: the steps after which pruning starts, and at which the pattern freezes."""
        return int(self.warmup * total_steps), total_steps - int(self.final * total_steps)

    def budget(self, progress: Progress) -> int:
        """Return b(t), the number of triplets in the whole model."""
        matrices = len(self.deltas())
        first, last = self.init_rank * matrices, self.target_rank * matrices
        start, stop = self.phases(progress.total_steps)
        if progress.step >= stop:
            return last
        if progress.step <= start:
            return first
        left = 1 - (progress.step - start) / (stop - start)
        return int(last + (first - last) * left**3)

    @torch.no_grad()
    def on_step_end(self, progress: Progress) -> None:
        if self._settled:
            return
        step, (start, stop) = progress.step, self.phases(progress.total_steps)
        if step < stop:
            for delta in self.deltas():
                delta.smooth_importance(self.beta1, self.beta2)
        gap = min(LONGEST_GAP, max(1, progress.total_steps // MASKINGS))
        if step == stop or (start < step < stop and step % gap == 0):
            self._allocate(self.budget(progress))
        if step >= stop:
            self._mask()

    def _allocate(self, budget: int) -> None:
        """Keep the `budget` most important triplets of the whole model, zero the others' lambda."""
        deltas = self.deltas()
        scores = torch.cat([delta.scores() for delta in deltas])
        kept = torch.zeros_like(scores, dtype=torch.bool)
        kept[scores.argsort(descending=True, stable=True)[:budget]] = True
        first = 0
        for delta in deltas:
            delta.kept.copy_(kept[first : first + len(delta.kept)])
            first += len(delta.kept)
        self._mask()

    @torch.no_grad()
    def _mask(self) -> None:
        for delta in self.deltas():
            delta.lora_E.masked_fill_(~delta.kept[:, None], 0.0)

    def ready(self, progress: Progress) -> bool:
        return self._settled or progress.step >= self.phases(progress.total_steps)[1]

    def structure(self) -> dict[str, Any]:
        ranks = {
            f"{layer}.{site}": int((delta.lora_E != 0).sum())
            for layer, site, delta in self.blocks.each()
        }
        return {"ranks": ranks, "total_rank": sum(ranks.values())}

    def serving_state(self) -> dict[str, Tensor]:
        return {
            f"blocks.{layer}.{site}.{part}": tensor
            for layer, site, delta in self.blocks.each()
            for part, tensor in delta.kept_triplets().items()
        }

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        if any(name.endswith(".kept") for name in tensors):  # a checkpoint of training: full size
            return
        for layer, site, delta in self.blocks.each():
            delta.shrink(len(tensors.get(f"blocks.{layer}.{site}.lora_E", delta.lora_E)))
        self._settled = True

    def fold(self, layer: int, site: str, weight: Tensor, bias: Tensor) -> tuple[Tensor, None]:
        return weight + self.blocks.at(layer, site).change_of_weight().to(weight), None

    def to_peft(self, backbone: Backbone) -> tuple[peft.Config, peft.Tensors]:
        """Write pruned triplets as zeros, so that no rank pattern is needed."""
        names, tensors = peft.module_names(backbone), {}
        for layer, site, delta in self.blocks.each():
            pruned = self.init_rank - len(delta.lora_E)
            for part in PARTS:
                pad = (0, pruned) if part == "lora_B" else (0, 0, 0, pruned)
                tensors[f"{names[layer, site]}.{part}"] = F.pad(getattr(delta, part).detach(), pad)
        return {
            "init_r": self.init_rank,
            "target_r": self.target_rank,
            "lora_alpha": self.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            "total_step": 1,  # peft requires it even after training
            "target_modules": peft.targets(tensors, depth=1),
            "fan_in_fan_out": peft.stored_transposed(backbone, "o"),
        }, tensors

    @classmethod
    def from_peft(
        cls, config: peft.Config, tensors: peft.Tensors, backbone: Backbone
    ) -> tuple[peft.Config, peft.Tensors]:
        """Read the triplets that peft's rank pattern kept; r0 stays in the denominator."""
        peft.refuse_options(config, PEFT_OPTIONS)
        init_rank = int(peft.number(config, "init_r", 1, backbone.dims.hidden_size))
        found, names = peft.by_place(tensors, PARTS, backbone), peft.module_names(backbone)
        ours: peft.Tensors = {}
        for layer in range(backbone.dims.num_layers):
            for site in backbone.dims.linears:
                wide, high = backbone.dims.in_out(site)
                parts = found.get((layer, site), {})
                rank = len(parts.get("lora_E", ()))  # a site without peft's module keeps none
                shapes = {"lora_A": (rank, wide), "lora_E": (rank, 1), "lora_B": (high, rank)}
                for part, shape in shapes.items():
                    name = f"{names[layer, site]}.{part}"
                    saved = parts.get(part, torch.zeros(shape))
                    ours[f"blocks.{layer}.{site}.{part}"] = peft.expect_shape(name, saved, shape)
        numbers = {
            "init_rank": init_rank,
            "target_rank": min(init_rank, int(peft.number(config, "target_r", 1))),
            "alpha": float(peft.number(config, "lora_alpha", 1e-9)),
            "dropout": 0.0,
        }
        return numbers, ours
