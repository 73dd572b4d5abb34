"""The bottleneck map that all adapters use.

    f(x) = phi(x W_d + b_d) W_u + b_u       W_d in R^{d x m},  W_u in R^{m x d}

Biases are off by default: with them, no adapter baseline has the size printed in Table 1.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iapt.methods.stacked import linear


class Bottleneck(nn.Module):
    """Down-projection, non-linearity, up-projection; W_d Kaiming-uniform (a = sqrt 5), W_u and biases zero.

    A zero W_u makes the fresh map zero, so that adding it changes nothing at the start.

    Args:
        width: d, of input and output.
        bottleneck_dim: m.
        activation: phi, (..., m) -> (..., m).
        bias: whether b_d and b_u exist.
        dropout: on phi's output, in training.
    """

    __call__: Callable[..., Tensor]

    def __init__(
        self,
        width: int,
        bottleneck_dim: int,
        activation: nn.Module,
        bias: bool = False,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.down = nn.Parameter(torch.empty(bottleneck_dim, width))  # W_d transposed
        self.up = nn.Parameter(torch.empty(width, bottleneck_dim))  # W_u transposed
        self.down_bias = nn.Parameter(torch.empty(bottleneck_dim)) if bias else None
        self.up_bias = nn.Parameter(torch.empty(width)) if bias else None
        self.activation, self.dropout = activation, dropout
        self.reset()

    def reset(self) -> None:
        """Redraw W_d and zero the rest."""
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        nn.init.zeros_(self.up)
        for bias in (self.down_bias, self.up_bias):
            if bias is not None:
                nn.init.zeros_(bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x), (B,T,d) -> (B,T,d)."""
        low = self.activation(linear(x, self.down.to(x.dtype), _cast(self.down_bias, x)))
        low = F.dropout(low, self.dropout, self.training)
        return linear(low, self.up.to(x.dtype), _cast(self.up_bias, x))


def _cast(bias: Tensor | None, x: Tensor) -> Tensor | None:
    return None if bias is None else bias.to(x.dtype)
