"""BitFit: additive biases on every projection (Ben Zaken et al. 2022; paper, Appendix F).

    y_j = x W_j (+ frozen bias) + z_j V_j        z_j in R^r, V_j in R^{r x out_j}

The original trains the biases a model has.  LLaMA has none, so each of a block's seven projections
gets one, written as a short latent times a projection ("a vector of size 8 ... projected"):
8 * 32 * 42,496 = 10,878,976 on LLaMA-2 7B, latents apart.  GPT-2's and GPT-NeoX's own biases stay frozen and
q, k and v are counted as three projections there too.  Start: z ~ N(0, 1), V = 0, so the bias is zero.

Symbols: r -> latent_dim.
"""

from functools import partial

from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.errors import ConfigError
from iapt.methods.merge import Mergeable
from iapt.methods.reparam import Reparameterised


class BitFit(Mergeable):
    """A trained bias on every projection.

    Args:
        dims: sizes of the backbone.
        latent_dim: r.
    """

    neutral = True

    def __init__(self, dims: Dims, latent_dim: int = 8) -> None:
        super().__init__()
        if latent_dim < 1:
            raise ConfigError(f"method.latent_dim={latent_dim}: must be a whole number >= 1.")
        self.blocks = nn.ModuleList(
            nn.ModuleDict(
                {
                    site: Reparameterised(1, latent_dim, dims.in_out(site)[1])
                    for site in dims.sites
                }
            )
            for _ in range(dims.num_layers)
        )

    def attach(self, backbone: Backbone) -> None:
        for layer, sites in enumerate(self.blocks):
            for site, bias in sites.items():  # type: ignore[operator]  # ModuleList yields Module
                backbone.on_linear(layer, site, partial(self.shift, bias))

    def shift(self, bias: Reparameterised, x: Tensor, y: Tensor) -> Tensor:
        """y (B,T,out) plus the bias."""
        return y + bias()[0].to(y.dtype)

    def merge_sites(self, backbone: Backbone) -> tuple[str, ...]:
        return backbone.dims.sites

    def fold(self, layer: int, site: str, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
        return weight, bias + self.blocks[layer][site]()[0].to(bias)  # type: ignore[index]

    def counted_parameters(self) -> int:
        """Without the latents z."""
        return sum(p.numel() for n, p in self.named_parameters() if not n.endswith("latent"))
