"""From an instruction's hidden states to soft tokens: pool over its tokens, squeeze, expand.

    A = weights over the instruction's tokens       T x P, columns sum to 1
    p = f(A^T h D) E                                D: d x m, E: m x d

IAPT, LPT and the matched form of IDPG are this with different poolers and activations f.
A^T (h D) = (A^T h) D, and a bias on D passes through A because its columns sum to 1; so P pooled
vectors are projected down instead of n tokens.
"""

import math

import torch
from torch import Tensor, nn


def segment_weights(mask: Tensor, segments: int) -> Tensor:
    """Weights of adaptive mean pooling over the marked tokens only.

    Args:
        mask: (B, T), true on the n tokens to be pooled, wherever they stand.
        segments: P; segment j covers tokens floor(jn/P) .. ceil((j+1)n/P) - 1, torch's rule.

    Returns:
        (B, T, P); every column sums to 1.
    """
    n = mask.sum(1)[:, None, None]  # (B, 1, 1)
    index = (mask.cumsum(1) - 1)[..., None]  # (B, T, 1): rank of a token among the marked ones
    j = torch.arange(segments, device=mask.device)
    start, stop = (j * n) // segments, ((j + 1) * n + segments - 1) // segments
    inside = mask[..., None] & (index >= start) & (index < stop)
    return inside / inside.sum(1, keepdim=True)


class MeanPooler(nn.Module):
    """Average pooling: segment means, or one plain mean repeated."""

    def __init__(self, prompt_len: int, segments: bool = True) -> None:
        super().__init__()
        self.prompt_len, self.segments = prompt_len, segments

    def forward(self, h: Tensor, mask: Tensor, down: Tensor) -> Tensor:
        """Weights (B,T,P) from the mask (B,T); h (B,T,D) and down (D,M) are not looked at."""
        if self.segments:
            return segment_weights(mask, self.prompt_len)
        return segment_weights(mask, 1).expand(-1, -1, self.prompt_len)


class PromptGenerator(nn.Module):
    """p = f(A^T h D + b) E + c, the bottleneck between pooled states and soft tokens.

    Args:
        hidden_size: d.
        bottleneck_dim: m.
        init_std: of D and E; None is torch's own rule for linear maps, U(-1/sqrt(in), 1/sqrt(in)).
        tied: E = D^T.
        bias: add b and c (then drawn by torch's rule as well).
    """

    def __init__(
        self,
        hidden_size: int,
        bottleneck_dim: int,
        init_std: float | None,
        tied: bool = False,
        bias: bool = False,
    ) -> None:
        super().__init__()

        def matrix(fan_in: int, *shape: int) -> nn.Parameter:
            if init_std is not None and len(shape) == 2:
                return nn.Parameter(torch.randn(shape) * init_std)
            return nn.Parameter(torch.empty(shape).uniform_(-1, 1) / math.sqrt(fan_in))

        d, m = hidden_size, bottleneck_dim
        self.down = matrix(d, d, m)
        self.up = None if tied else matrix(m, m, d)
        self.down_bias = matrix(d, m) if bias else None
        self.up_bias = matrix(m, d) if bias else None

    def forward(self, h: Tensor, mask: Tensor, pooler: nn.Module, activation: nn.Module) -> Tensor:
        """Soft tokens p (B,P,D) from h (B,T,D) and the instruction mask (B,T)."""
        A = pooler(h, mask, self.down)  # (B, T, P)
        pooled = A.to(h.dtype).transpose(1, 2) @ h  # A^T h, (B, P, D)
        s = pooled @ self.down.to(h.dtype)  # (B, P, M)
        if self.down_bias is not None:
            s = s + self.down_bias.to(h.dtype)
        up = self.down.T if self.up is None else self.up
        p = activation(s) @ up.to(h.dtype)
        return p if self.up_bias is None else p + self.up_bias.to(h.dtype)
