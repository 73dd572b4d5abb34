"""LPT: late prompt tuning (Liu et al. 2022, "A late prompt could be better than many prompts").

One prompt per input, made from the stream that enters block k and prepended to it; from there on the
soft tokens are part of the stream like any others::

    p = ReLU(A^T h_k W_d) W_u    A: means over l_sp nearly equal segments of the instruction
    blocks k .. L-1 run on [p ; h_k]

(Averaging before or after W_d is the same: averages commute with affine maps.)

The blocks below k are the bare backbone and need no backward pass.  The original
(github.com/xyltt/LPT) has several generators, and pools all instruction tokens but the last, because it
uses an index as a length.  We use mean pooling over all of them (the only generator with 8.4M:
2 * 4096 * 1024 = 8,388,608 on LLaMA-2 7B, without the original's 5,120 biases), and k = L/2 as in its scripts.

Symbols: l_sp -> prompt_len, m -> bottleneck_dim, k -> layer.
"""

import math

from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.errors import ConfigError
from iapt.methods.arguments import Size
from iapt.methods.bottleneck import Bottleneck
from iapt.methods.pooling import segment_means
from iapt.methods.stacked import Stackable


class LPT(Stackable):
    """Late prompt tuning.

    Args:
        dims: sizes of the backbone.
        prompt_len: l_sp.
        bottleneck_dim: m.
        layer: k, the first block that sees the prompt; None is the middle one, L/2.
        bias: give both maps of the generator a bias, as the original code does.
    """

    instruction_aware = True
    decodes = False

    def __init__(
        self,
        dims: Dims,
        prompt_len: Size = 4,
        bottleneck_dim: Size = 1024,
        layer: int | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__()
        self.layer = dims.num_layers // 2 if layer is None else layer
        if not 0 <= self.layer < dims.num_layers:
            raise ConfigError(
                f"method.layer={layer}: the backbone's blocks are 0 to {dims.num_layers - 1}; null is the middle one."
            )
        self.soft_tokens = prompt_len
        self.generator = Bottleneck(dims.hidden_size, bottleneck_dim, nn.ReLU(), bias)
        for name, p in self.generator.named_parameters():  # torch's own rule for linear maps
            fan_in = dims.hidden_size if name.startswith("down") else bottleneck_dim
            nn.init.uniform_(p, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def soft_prompt(self, h: Tensor, mask: Tensor) -> Tensor:
        """Return soft tokens (B,P,D) from the stream h (B,T,D) and the instruction mask (B,T)."""
        return self.generator(segment_means(h, mask, self.soft_tokens))

    def attach(self, backbone: Backbone) -> None:
        backbone.soft_prompt(self.layer, self.soft_prompt, keep=True)
