"""BitFit: additive biases on every projection (Ben Zaken et al. 2022; paper, Appendix F).

    y_j = x W_j (+ frozen bias) + z_j V_j        z_j in R^r, V_j in R^{r x out_j}

The original trains the biases a model has.  LLaMA has none, so each of a block's seven projections
gets one, written as a latent of width 8 times a learned projection: 8 * 32 * 42,496 = 10,878,976 on
LLaMA-2 7B, not counting latents.  GPT-2's and GPT-NeoX's own biases stay frozen, and q, k and v are three
projections there too (GPT-2 has no rotary embedding, so a bias on k cancels in the softmax: it is trained
and counted, but has no effect).  Start: z ~ N(0, 1), V = 0, so the bias is zero.

Symbols: r -> latent_dim.
"""

from functools import partial

from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.methods.arguments import Size
from iapt.methods.merge import Mergeable
from iapt.methods.per_site import PerSite
from iapt.methods.reparam import Reparameterised
from iapt.methods.stacked import Stackable


class BitFit(Mergeable, Stackable):
    """A trained bias on every projection.

    Args:
        dims: sizes of the backbone.
        latent_dim: r.
    """

    neutral = True

    def __init__(self, dims: Dims, latent_dim: Size = 8) -> None:
        super().__init__()
        self.blocks = PerSite(
            dims.num_layers,
            dims.sites,
            lambda site: Reparameterised(1, latent_dim, dims.in_out(site)[1]),
        )

    def attach(self, backbone: Backbone) -> None:
        for layer, site, bias in self.blocks.each():
            backbone.on_linear(layer, site, partial(self.shift, bias))

    def shift(self, bias: Reparameterised, x: Tensor, y: Tensor) -> Tensor:
        """Return y (B,T,out) plus the bias."""
        return y + bias().to(y.dtype)

    def merge_sites(self, backbone: Backbone) -> tuple[str, ...]:
        return backbone.dims.sites

    def fold(self, layer: int, site: str, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return weight, bias + self.blocks.at(layer, site)()[0].to(bias)
