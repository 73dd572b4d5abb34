"""A method from outside the package: a learnt gain on what attention adds to the residual stream."""

from functools import partial

import torch
from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.methods.base import Method


class HeadGain(Method):
    """y (1 + g), one g for each feature of each block."""

    def __init__(self, dims: Dims, start: float = 0.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((dims.num_layers, dims.hidden_size), start))

    def attach(self, backbone: Backbone) -> None:
        """Scale the output of the attention part of every block."""
        for layer in range(backbone.dims.num_layers):
            backbone.on_sublayer(layer, "attn", partial(self.scale, layer))

    def scale(self, layer: int, x: Tensor, y: Tensor) -> Tensor:
        """Return y (B,T,D) times one plus the block's gain (D,)."""
        return y * (1 + self.gain[layer].to(y.dtype))
