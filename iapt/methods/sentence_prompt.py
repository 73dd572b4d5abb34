"""The prompt generator of IDPG's own code (Wu et al. 2022; github.com/CSerxy/IDPG).

    p = GELU(x_n W_1 + b_1) W_2 + b_2^l, split into l_sp vectors     x_n: state of the instruction's last token

In the original, x_n is the state of RoBERTa's <s>.  W_1 and W_2 are hypercomplex maps (`phm.py`); every
block l that gets a prompt has its own bias b_2^l.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iapt.methods.phm import HypercomplexLinear


class SentencePrompt(nn.Module):
    """p = GELU(x_n W_1 + b_1) W_2 + b_2^l, from the state of the instruction's last token."""

    __call__: Callable[..., Tensor]

    def __init__(
        self,
        hidden_size: int,
        bottleneck_dim: int,
        prompt_len: int,
        order: int,
        dropout: float,
        num_layers: int,
    ) -> None:
        super().__init__()
        self.prompt_len, self.dropout = prompt_len, dropout
        self.down = HypercomplexLinear(hidden_size, bottleneck_dim, order)
        self.down_bias = nn.Parameter(torch.randn(bottleneck_dim) * 0.05)
        self.up = HypercomplexLinear(bottleneck_dim, prompt_len * hidden_size, order)
        self.up_bias = nn.Parameter(torch.rand(num_layers, prompt_len * hidden_size) - 0.5)

    def forward(self, x: Tensor, mask: Tensor, layer: int) -> Tensor:
        """Return soft tokens (B,P,D) from states x (B,T,D) under the instruction mask (B,T)."""
        last = mask.cumsum(1).argmax(1)  # (B,), the first column where the count is full
        x_n = x[torch.arange(len(x), device=x.device), last]
        if layer == 0:  # the original drops out the first prompt's input, and no later one
            x_n = F.dropout(x_n, self.dropout, self.training)
        z = F.gelu(self.down(x_n) + self.down_bias.to(x.dtype))
        p = self.up(F.dropout(z, self.dropout, self.training)) + self.up_bias[layer].to(x.dtype)
        return p.reshape(len(p), self.prompt_len, -1)
