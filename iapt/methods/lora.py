"""LoRA: low-rank adaptation of frozen projections (Hu et al. 2021).

    y = x W + (alpha / rank) * dropout(x) A B       A in R^{in x r} Kaiming-uniform, B in R^{r x out} zero

on all seven projections of every block, which is what 10.0M parameters on LLaMA-2 7B mean
(4 * 32 * 78,080 = 9,994,240).  Where q, k and v are one module (GPT-2, GPT-NeoX) they share one A,
as in the peft library.  Names and shapes of `lora_A` (r x in) and `lora_B` (out x r) follow peft.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.methods.arguments import Positive, Probability, Rank, rank_within
from iapt.methods.merge import Mergeable
from iapt.methods.peft_format import PeftCompatible, lora_config, module_name
from iapt.methods.per_site import PerSite


class LowRank(nn.Module):
    """Delta(x) = (alpha / r) * dropout(x) A^T B^T."""

    def __init__(self, in_dim: int, out_dim: int, rank: int, alpha: float, dropout: float) -> None:
        super().__init__()
        self.lora_A = nn.Parameter(torch.empty(rank, in_dim))
        self.lora_B = nn.Parameter(torch.zeros(out_dim, rank))
        self.scaling, self.dropout = alpha / rank, dropout
        nn.init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Return y + Delta(x) for x (B,T,in) and y (B,T,out)."""
        return y + self.delta(x)

    def delta(self, x: Tensor) -> Tensor:
        """Return Delta(x), (B,T,in) -> (B,T,out)."""
        x = F.dropout(x, self.dropout, self.training)
        low = F.linear(x, self.lora_A.to(x.dtype))
        return F.linear(low, self.lora_B.to(x.dtype)) * self.scaling

    def change_of_weight(self) -> Tensor:
        """What Delta adds to the frozen weight, (in, out)."""
        return (self.lora_B @ self.lora_A).T * self.scaling


class LoRA(Mergeable, PeftCompatible):
    """Low-rank adaptation.

    Args:
        dims: sizes of the backbone.
        rank: r.
        alpha: numerator of the scaling alpha / r.
        dropout: on the input of A, in training.
    """

    neutral = True

    def __init__(
        self, dims: Dims, rank: Rank = 4, alpha: Positive = 8.0, dropout: Probability = 0.0
    ) -> None:
        super().__init__()
        rank_within(dims, "rank", rank)
        self.rank, self.alpha = rank, alpha
        self.blocks = PerSite(
            dims.num_layers,
            dims.linears,
            lambda site: LowRank(*dims.in_out(site), rank, alpha, dropout),
        )

    def attach(self, backbone: Backbone) -> None:
        for layer, site, delta in self.blocks.each():
            backbone.on_linear(layer, site, delta)

    def fold(self, layer: int, site: str, weight: Tensor, bias: Tensor) -> tuple[Tensor, None]:
        return weight + self.blocks.at(layer, site).change_of_weight().to(weight), None

    def to_peft(self, backbone: Backbone) -> tuple[dict[str, Any], dict[str, Tensor]]:
        tensors = {}
        for layer, site, delta in self.blocks.each():
            name = module_name(backbone, layer, site)
            tensors[f"{name}.lora_A.weight"] = delta.lora_A
            tensors[f"{name}.lora_B.weight"] = delta.lora_B
        return lora_config(backbone, tensors, self.rank, self.alpha), tensors
