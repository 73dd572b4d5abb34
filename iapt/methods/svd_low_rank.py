"""A low-rank update in SVD form whose singular values can be masked (Zhang et al. 2023).

    Delta(x) = alpha / (r0 + 1e-5) * ((dropout(x) P) * lambda) Q      P in R^{in x r0}, Q in R^{r0 x out}
    P, Q ~ N(0, 0.02^2), lambda = 0

*Importance* of every scalar w with gradient g, smoothed over steps:

    I = |w g|;  A <- b1 A + (1 - b1) I;  U <- b2 U + (1 - b2) |I - A|;  s(w) = A U
    S_i = s(lambda_i) + mean_j s(P_ji) + mean_j s(Q_ij)          of a triplet (P_i, lambda_i, Q_i)

Names and shapes follow peft: `lora_A` is P transposed, `lora_E` lambda, `lora_B` Q transposed.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iapt.methods.stacked import add_linear, linear

PARTS = ("lora_A", "lora_E", "lora_B")
INIT_STD = 0.02


class SVDLowRank(nn.Module):
    """Delta(x) = alpha / (r0 + 1e-5) * ((dropout(x) P) * lambda) Q, with smoothed importances."""

    kept: Tensor

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
        low = linear(x, (self.lora_A * self.lora_E).to(x.dtype))
        return add_linear(y, low, self.lora_B.to(x.dtype), self.scaling)

    def change_of_weight(self) -> Tensor:
        """Return the change of the frozen weight, (in, out)."""
        return (self.lora_B @ (self.lora_A * self.lora_E)).T * self.scaling

    def smooth_importance(self, beta1: float, beta2: float) -> None:
        """Update A and U from the gradients of the last step."""
        for part in PARTS:
            w = getattr(self, part)
            if w.grad is None:
                continue
            A, U = getattr(self, f"sensitivity_{part}"), getattr(self, f"uncertainty_{part}")
            now = (w * w.grad).abs()
            A.mul_(beta1).add_(now, alpha=1 - beta1)
            U.mul_(beta2).add_((now - A).abs(), alpha=1 - beta2)

    def scores(self) -> Tensor:
        """Return S of the r0 triplets, (r0,)."""
        A, E, B = (
            getattr(self, f"sensitivity_{p}") * getattr(self, f"uncertainty_{p}") for p in PARTS
        )
        found: Tensor = E[:, 0] + A.mean(1) + B.mean(0)
        return found

    def gram_penalties(self) -> tuple[Tensor, Tensor]:
        """Return ||P^T P - I||_F and ||Q Q^T - I||_F."""
        eye = torch.eye(len(self.lora_A), device=self.lora_A.device, dtype=self.lora_A.dtype)
        A, B = self.lora_A, self.lora_B
        return torch.linalg.norm(A @ A.T - eye), torch.linalg.norm(B.T @ B - eye)

    def kept_triplets(self) -> dict[str, Tensor]:
        """Return P, lambda and Q of the triplets that are not masked."""
        kept = slice(None) if self.kept.is_meta else self.kept  # on meta nothing is pruned
        return {
            "lora_A": self.lora_A[kept],
            "lora_E": self.lora_E[kept],
            "lora_B": self.lora_B[:, kept],
        }

    def shrink(self, rank: int) -> None:
        """Resize to exactly `rank` triplets, all kept, and drop what only pruning needs."""
        for part in PARTS:
            rows = getattr(self, part).detach()
            short = rows[:, :rank] if part == "lora_B" else rows[:rank]
            setattr(self, part, nn.Parameter(short.clone()))
        for name, _ in list(self.named_buffers()):
            delattr(self, name)
        everything = torch.ones(rank, dtype=torch.bool, device=self.lora_A.device)
        self.register_buffer("kept", everything, persistent=False)
