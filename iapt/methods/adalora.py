"""AdaLoRA: low-rank updates in SVD form under a global rank budget (Zhang et al. 2023).

    y = x W + alpha / (r0 + 1e-5) * ((dropout(x) P) * lambda) Q      P in R^{in x r0}, Q in R^{r0 x out}
    P, Q ~ N(0, 0.02^2), lambda = 0; same projections as LoRA

*Penalty*, training loss only: gamma * mean over all P, Q of ||gram - I||_F.

*Importance* of every scalar w with gradient g, at each step t < T - t_f:

    I = |w g|;  A <- b1 A + (1 - b1) I;  U <- b2 U + (1 - b2) |I - A|;  s(w) = A U        b1 = b2 = 0.85
    S_i = s(lambda_i) + mean_j s(P_ji) + mean_j s(Q_ij)          of a triplet (P_i, lambda_i, Q_i)

*Budget*, with N matrices, b0 = r0 N, bT = r_T N:

    b(t) = b0 for t <= t_i;  floor(bT + (b0 - bT) (1 - (t - t_i) / (T - t_f - t_i))^3);  bT from T - t_f on

*Mask*: every `Delta` steps and at T - t_f, lambda_i <- 0 for the b0 - b(t) least important triplets of
the whole model; masked ones keep getting gradients and may come back, until the pattern is frozen at
T - t_f and applied after every step.  r0 stays in the denominator.

Checkpoints from before T - t_f are over budget and never the best (`ready`).  A saved adapter holds
the kept triplets only.  Exactly b0 - b(t) triplets are masked also where importances are equal.
Source: QingruZhang/AdaLoRA and peft, whose names and shapes (`lora_A`, `lora_E`, `lora_B`) are kept.

Symbols: r0 -> init_rank, r_T -> target_rank, gamma -> orthogonality, t_i, t_f -> warmup, final (shares of T).
"""

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.errors import ConfigError
from iapt.methods.base import Method, Progress
from iapt.methods.merge import Mergeable
from iapt.methods.per_site import PerSite

PARTS = ("lora_A", "lora_E", "lora_B")
INIT_STD = 0.02
MASKINGS, LONGEST_GAP = 500, 100  # Delta: about 500 maskings in a run, at most 100 steps apart


class SVDLowRank(nn.Module):
    """Delta(x) = alpha / (r0 + 1e-5) * ((dropout(x) P) * lambda) Q, with smoothed importances."""

    def __init__(self, in_dim: int, out_dim: int, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.lora_A = nn.Parameter(torch.randn(rank, in_dim) * INIT_STD)  # P transposed
        self.lora_E = nn.Parameter(torch.zeros(rank, 1))  # lambda
        self.lora_B = nn.Parameter(torch.randn(out_dim, rank) * INIT_STD)  # Q transposed
        self.register_buffer("kept", torch.ones(rank, dtype=torch.bool))
        for part in PARTS:
            for buffer in ("sensitivity", "uncertainty"):  # A and U
                self.register_buffer(f"{buffer}_{part}", torch.zeros_like(getattr(self, part)))
        self.scaling, self.dropout = alpha / (rank + 1e-5), dropout

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return y + Delta(x) for x (B,T,in) and y (B,T,out)."""
        x = F.dropout(x, self.dropout, self.training)
        low = F.linear(x, (self.lora_A * self.lora_E).to(x.dtype))
        return y + F.linear(low, self.lora_B.to(x.dtype)) * self.scaling

    def in_plus_out(self) -> int:
        """Parameters per rank, lambda apart."""
        return self.lora_A.shape[1] + self.lora_B.shape[0]

    def change_of_weight(self) -> Tensor:
        """What Delta adds to the frozen weight, (in, out)."""
        return (self.lora_B @ (self.lora_A * self.lora_E)).T * self.scaling

    def smooth_importance(self, beta1: float, beta2: float) -> None:
        """Update A and U from the gradients of the step just taken."""
        for part in PARTS:
            w = getattr(self, part)
            if w.grad is None:
                continue
            A, U = getattr(self, f"sensitivity_{part}"), getattr(self, f"uncertainty_{part}")
            now = (w * w.grad).abs()
            A.mul_(beta1).add_(now, alpha=1 - beta1)
            U.mul_(beta2).add_((now - A).abs(), alpha=1 - beta2)

    def scores(self) -> Tensor:
        """S of the r0 triplets, (r0,)."""
        s = {
            p: getattr(self, f"sensitivity_{p}") * getattr(self, f"uncertainty_{p}") for p in PARTS
        }
        return s["lora_E"][:, 0] + s["lora_A"].mean(1) + s["lora_B"].mean(0)

    def gram_penalties(self) -> tuple[Tensor, Tensor]:
        """||P^T P - I||_F and ||Q Q^T - I||_F."""
        eye = torch.eye(len(self.lora_A), device=self.lora_A.device, dtype=self.lora_A.dtype)
        A, B = self.lora_A, self.lora_B
        return torch.linalg.norm(A @ A.T - eye), torch.linalg.norm(B.T @ B - eye)


class AdaLoRA(Mergeable):
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

    def __init__(
        self,
        dims: Dims,
        init_rank: int = 8,
        target_rank: int = 4,
        alpha: float = 16.0,
        dropout: float = 0.0,
        orthogonality: float = 0.1,
        warmup: float = 0.12,
        final: float = 0.5,
        beta1: float = 0.85,
        beta2: float = 0.85,
    ) -> None:
        super().__init__()
        if not 1 <= target_rank <= init_rank:
            raise ConfigError(
                f"method.target_rank={target_rank}: must be from 1 to method.init_rank={init_rank}."
            )
        for field, value in (("dropout", dropout), ("beta1", beta1), ("beta2", beta2)):
            if not 0 <= value < 1:
                raise ConfigError(f"method.{field}={value}: must be in [0, 1).")
        if not (warmup >= 0 and final >= 0 and warmup + final < 1):
            raise ConfigError(
                f"method.warmup={warmup}, method.final={final}: shares of the steps, together below 1."
            )
        self.init_rank, self.target_rank, self.orthogonality = init_rank, target_rank, orthogonality
        self.warmup, self.final, self.beta1, self.beta2 = warmup, final, beta1, beta2
        self._settled = False  # ranks are those of a saved adapter, not to be pruned further
        self.blocks = PerSite(
            dims.num_layers,
            dims.linears,
            lambda site: SVDLowRank(*dims.in_out(site), init_rank, alpha, dropout),
        )

    def attach(self, backbone: Backbone) -> None:
        for layer, site, delta in self.blocks.each():
            backbone.on_linear(layer, site, delta)

    # ---------------------------------------------------------------- training

    def penalty(self) -> Tensor | None:
        if not self.orthogonality:
            return None
        norms = [norm for *_, delta in self.blocks.each() for norm in delta.gram_penalties()]
        return self.orthogonality * torch.stack(norms).mean()

    def last_allocation(self, total_steps: int) -> int:
        """T - t_f, the step at which the pattern is frozen."""
        return total_steps - int(self.final * total_steps)

    def budget(self, progress: Progress) -> int:
        """b(t), triplets in the whole model."""
        matrices = sum(1 for _ in self.blocks.each())
        first, last = self.init_rank * matrices, self.target_rank * matrices
        start, stop = (
            int(self.warmup * progress.total_steps),
            self.last_allocation(progress.total_steps),
        )
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
        stop = self.last_allocation(progress.total_steps)
        if progress.step < stop:
            for *_, delta in self.blocks.each():
                delta.smooth_importance(self.beta1, self.beta2)
        gap = min(LONGEST_GAP, max(1, progress.total_steps // MASKINGS))
        pruning = progress.step > int(self.warmup * progress.total_steps)
        if progress.step == stop or (pruning and progress.step < stop and progress.step % gap == 0):
            self._allocate(self.budget(progress))
        if progress.step >= stop:
            self._mask()

    def _allocate(self, budget: int) -> None:
        """Keep the `budget` most important triplets of the whole model, zero the others' lambda."""
        deltas = [delta for *_, delta in self.blocks.each()]
        scores = torch.cat([delta.scores() for delta in deltas])
        kept = torch.zeros_like(scores, dtype=torch.bool)
        kept[scores.argsort(descending=True, stable=True)[:budget]] = True
        for delta, part in zip(deltas, kept.split([len(d.kept) for d in deltas]), strict=True):
            delta.kept.copy_(part)
        self._mask()

    @torch.no_grad()
    def _mask(self) -> None:
        for *_, delta in self.blocks.each():
            delta.lora_E.masked_fill_(~delta.kept[:, None], 0.0)

    def ready(self, progress: Progress) -> bool:
        return self._settled or progress.step >= self.last_allocation(progress.total_steps)

    # ---------------------------------------------------------------- afterwards

    def serving_state(self) -> dict[str, Tensor]:
        state = {}
        for layer, site, delta in self.blocks.each():
            # Without values (meta device) nothing has been pruned yet.
            kept = slice(None) if delta.kept.is_meta else delta.kept
            state[f"blocks.{layer}.{site}.lora_A"] = delta.lora_A[kept]
            state[f"blocks.{layer}.{site}.lora_E"] = delta.lora_E[kept]
            state[f"blocks.{layer}.{site}.lora_B"] = delta.lora_B[:, kept]
        return state

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        if any(name.endswith(".kept") for name in tensors):  # a checkpoint of training: full size
            return
        for layer, site, delta in self.blocks.each():
            rank = len(tensors.get(f"blocks.{layer}.{site}.lora_E", delta.lora_E))
            for part in PARTS:
                rows = getattr(delta, part)
                short = rows[:, :rank] if part == "lora_B" else rows[:rank]
                setattr(delta, part, nn.Parameter(short.detach().clone()))
            for name in [name for name, _ in delta.named_buffers()]:
                delattr(delta, name)
            everything = torch.ones(rank, dtype=torch.bool, device=delta.lora_A.device)
            delta.register_buffer("kept", everything, persistent=False)
        self._settled = True

    def structure(self) -> dict[str, Any]:
        ranks = {
            f"{layer}.{site}": int((delta.lora_E != 0).sum())
            for layer, site, delta in self.blocks.each()
        }
        return {"ranks": ranks, "total_rank": sum(ranks.values())}

    def fold(self, layer: int, site: str, weight: Tensor, bias: Tensor) -> tuple[Tensor, None]:
        return weight + self.blocks.at(layer, site).change_of_weight().to(weight), None

    def counted_parameters(self) -> int:
        """P and Q at the target rank, without lambda; what is really kept depends on where ranks stay."""
        return self.target_rank * sum(delta.in_plus_out() for *_, delta in self.blocks.each())

    def reading(self) -> str:
        of = self.blocks.reading(f"rank {self.target_rank}", "in + out", SVDLowRank.in_plus_out)
        return f"{of}; from rank {self.init_rank}, one lambda per rank; which maps keep ranks is learnt"

    def active_at_decode(self) -> int:
        """What is kept: a masked lambda lets nothing through."""
        return sum(t.numel() for t in self.serving_state().values())

    def endings(self) -> list[Method]:
        """All the budget in the narrowest maps, and all of it in the widest."""
        if self._settled:
            return [self]
        narrow_first = sorted(self.blocks.each(), key=lambda each: each[2].in_plus_out())
        found: list[Method] = []
        for order in (narrow_first, narrow_first[::-1]):
            left, tensors = self.target_rank * len(order), {}
            for layer, site, delta in order:
                rank = min(left, self.init_rank)
                tensors[f"blocks.{layer}.{site}.lora_E"] = delta.lora_E[:rank]
                left -= rank
            ending = copy.deepcopy(self)
            ending.adopt(tensors)
            found.append(ending)
        return found
