"""Houlsby-Adapter: two small residual maps in every block (Houlsby et al. 2019).

    A(y) = y + phi(y W_d + b_d) W_u + b_u        phi = GELU, W_d in R^{d x m}, W_u in R^{m x d}

    LLaMA, GPT-2:  u = h + A1(Attn(LN1 h));   out = u + A2(FFN(LN2 u))
    GPT-NeoX:      out = h + A1(Attn(LN1 h)) + A2(FFN(LN2 h))

y is a sublayer's output, before it is added to the stream.  Original code: google-research/
adapter-bert, which also trains norms and head; the sizes in Table 1 leave no room for either, or
for biases (off by default).  Both matrices start truncated-normal with a standard deviation of 0.01,
so a fresh adapter is close to the identity, but not equal to it.

Symbols: m -> bottleneck_dim.
"""

from functools import partial

from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import Positive
from iapt.methods.arguments import Size
from iapt.methods.bottleneck import Bottleneck
from iapt.methods.stacked import Stackable

PARTS = ("attn", "ffn")


class SequentialAdapter(Bottleneck):
    """A(y) = y + f(y), after a sublayer."""

    def __init__(self, width: int, bottleneck_dim: int, init_std: float, bias: bool) -> None:
        super().__init__(width, bottleneck_dim, nn.GELU(), bias)
        for matrix in (self.down, self.up):
            nn.init.trunc_normal_(matrix, std=init_std, a=-2 * init_std, b=2 * init_std)

    def forward(self, y: Tensor) -> Tensor:
        """Return A(y), (B,T,d) -> (B,T,d)."""
        return y + super().forward(y)


class Houlsby(Stackable):
    """Adapters after the attention and the feed-forward sublayer of every block.

    Args:
        dims: sizes of the backbone.
        bottleneck_dim: m.
        init_std: standard deviation of both matrices.
        bias: give both maps biases (b_d, b_u).
    """

    def __init__(
        self, dims: Dims, bottleneck_dim: Size = 18, init_std: Positive = 1e-2, bias: bool = False
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleDict(
            {
                f"{layer}": nn.ModuleDict(
                    {
                        part: SequentialAdapter(dims.hidden_size, bottleneck_dim, init_std, bias)
                        for part in PARTS
                    }
                )
                for layer in self.layers(dims)
            }
        )

    def layers(self, dims: Dims) -> range:
        """Return the blocks that have adapters."""
        return range(dims.num_layers)

    def attach(self, backbone: Backbone) -> None:
        for layer, adapters in self.blocks.items():
            for part in PARTS:
                fn = partial(self.adapt, int(layer), adapters[part])  # type: ignore[index]
                backbone.on_sublayer(int(layer), part, fn)

    def adapt(self, layer: int, adapter: SequentialAdapter, x: Tensor, y: Tensor) -> Tensor:
        """Return what a sublayer with input x adds to the stream instead of y (both (B,T,d))."""
        return adapter(y)
