"""Parallel-Adapter: a bottleneck map beside the whole block (He et al. 2022).

    y = Block(h) + s * phi(x W_d) W_u        phi = ReLU, W_d in R^{d x m}, W_u in R^{m x d}, s = 4
    x = LN1(h), the block's own frozen norm  (`input="ln1"`), or x = h (`input="raw"`)

He et al. put it beside attention or feed-forward, where it reads that sublayer's input.  No public code
puts it beside "the whole block" (the paper's Appendix F), and a pre-norm block reads LN1.  Raw streams of
LLaMA models have a few huge channels at the first token, which s = 4 would multiply.  The initialisation
follows jxhe/unify-parameter-efficient-tuning: W_d Kaiming-uniform, W_u = 0; s = 4 is from its run scripts.

Symbols: m -> bottleneck_dim, s -> scale.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import Positive, Probability
from iapt.methods.arguments import Size, one_of
from iapt.methods.bottleneck import Bottleneck
from iapt.methods.stacked import Stackable

Input = Literal["ln1", "raw"]


class ParallelAdapter(Stackable):
    """One adapter beside every block.

    Args:
        dims: sizes of the backbone.
        bottleneck_dim: m.
        scale: s.
        input: the adapter's input, "ln1" or "raw".
        bias: give both maps biases.
        dropout: on the bottleneck, in training.
    """

    neutral = True

    def __init__(
        self,
        dims: Dims,
        bottleneck_dim: Size = 36,
        scale: Positive = 4.0,
        input: Input = "ln1",
        bias: bool = False,
        dropout: Probability = 0.0,
    ) -> None:
        super().__init__()
        one_of("input", input, Input)
        self.scale, self.input = scale, input
        self.blocks = nn.ModuleList(
            Bottleneck(dims.hidden_size, bottleneck_dim, self.activation(layer), bias, dropout)
            for layer in range(dims.num_layers)
        )

    def activation(self, layer: int) -> nn.Module:
        """Return the non-linearity of one block's adapter."""
        return nn.ReLU()

    def attach(self, backbone: Backbone) -> None:
        for layer, adapter in enumerate(self.blocks):
            norm = backbone.family.ln1(layer) if self.input == "ln1" else nn.Identity()
            backbone.on_block(layer, partial(self.beside, norm, adapter))

    def beside(
        self, norm: nn.Module, adapter: Callable[[Tensor], Tensor], h: Tensor, y: Tensor
    ) -> Tensor:
        """Return what a block with input h gives instead of y (both (B,T,d))."""
        return y + self.scale * adapter(norm(h))
