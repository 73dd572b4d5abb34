"""IDPG: instance-dependent prompt generation (Wu et al. 2022).

The frozen backbone first reads the instruction without a prompt; from its last hidden states a generator
makes l_sp soft tokens, which follow BOS in the input of the second pass.

    matched   p = GELU(A^T x W_d) W_u         x: the instruction's last states; A: segment means
    phm       p = GELU(x_n W_1 + b_1) W_2 + b_2, split into l_sp vectors   x_n: last token's last state

`matched` is the reading with 8.4M parameters (2 * 4096 * 1024 = 8,388,608 on LLaMA-2 7B), which the
original generator does not have.  `phm` is the original generator (github.com/CSerxy/IDPG, there on the
state of RoBERTa's <s>): W_1 and W_2 are hypercomplex maps (`phm.py`) of 1.32M weights at order 16;
`multi_layer` is its M-IDPG, which also adds GELU(x_n W_1 + b_1) W_2 + b_2^l, with x_n the stream's
last instruction token there, to the soft tokens entering every later block l.

Symbols: l_sp -> prompt_len, m -> bottleneck_dim, n of phm -> phm_order.
"""

from collections.abc import Hashable
from functools import partial
from typing import Literal

from torch import Tensor, nn

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import Probability
from iapt.errors import ConfigError
from iapt.methods.arguments import Size, one_of
from iapt.methods.bottleneck import Bottleneck
from iapt.methods.pooling import segment_means
from iapt.methods.sentence_prompt import SentencePrompt
from iapt.methods.stacked import Stackable

Generator = Literal["matched", "phm"]


class SegmentPrompt(Bottleneck):
    """p = GELU(A^T x W_d) W_u, from all hidden states of the instruction."""

    def __init__(self, hidden_size: int, bottleneck_dim: int, prompt_len: int) -> None:
        super().__init__(hidden_size, bottleneck_dim, nn.GELU())
        self.prompt_len = prompt_len
        for matrix in (self.down, self.up):
            nn.init.normal_(matrix, std=0.02)

    def forward(self, x: Tensor, mask: Tensor, layer: int) -> Tensor:  # type: ignore[override]
        """Return soft tokens (B,P,D) from states x (B,T,D) under the instruction mask (B,T)."""
        return super().forward(segment_means(x, mask, self.prompt_len))


class IDPG(Stackable):
    """Instance-dependent prompt generation.

    Args:
        dims: sizes of the backbone.
        prompt_len: l_sp.
        bottleneck_dim: m.
        generator: "matched" or "phm".
        phm_order: n of phm; must divide d, m and l_sp d.
        multi_layer: with phm, add to the soft tokens before every block, not only the first.
        dropout: with phm, in training, on the inputs of W_1 (for the first prompt) and W_2.
    """

    instruction_aware = True
    decodes = False

    def __init__(
        self,
        dims: Dims,
        prompt_len: Size = 4,
        bottleneck_dim: Size = 1024,
        generator: Generator = "matched",
        phm_order: Size = 16,
        multi_layer: bool = False,
        dropout: Probability = 0.1,
    ) -> None:
        super().__init__()
        one_of("generator", generator, Generator)
        if multi_layer and generator != "phm":
            raise ConfigError("method.multi_layer=true: needs method.generator=phm.")
        self.soft_tokens = prompt_len
        self.prompted_blocks = dims.num_layers if multi_layer else 1
        sizes = (dims.hidden_size, bottleneck_dim, prompt_len)
        self.generator: SegmentPrompt | SentencePrompt = (
            SegmentPrompt(*sizes)
            if generator == "matched"
            else SentencePrompt(*sizes, phm_order, dropout, self.prompted_blocks)
        )

    def form(self) -> Hashable:
        return super().form() if isinstance(self.generator, SegmentPrompt) else None

    def soft_prompt(self, backbone: Backbone, h: Tensor, mask: Tensor) -> Tensor:
        """Return the input's soft tokens (B,P,D) from embeddings h (B,T,D) and the instruction mask (B,T)."""
        width = int(mask.any(0).nonzero().max()) + 1  # the response is not read
        h, mask = h[:, :width], mask[:, :width]
        return self.generator(backbone.final_states(h, mask), mask, 0)

    def later_prompt(self, layer: int, h: Tensor, mask: Tensor) -> Tensor:
        """Return what block `layer` adds to its soft tokens, (B,P,D)."""
        return self.generator(h, mask, layer)

    def attach(self, backbone: Backbone) -> None:
        backbone.soft_prompt(0, partial(self.soft_prompt, backbone), keep=True, after_first=True)
        for layer in range(1, self.prompted_blocks):
            backbone.soft_prompt(layer, partial(self.later_prompt, layer), keep=True, add=True)
