"""P-tuning v2: trained keys and values in front of every block's attention (Liu et al. 2022).

    block l attends to [K_l ; RoPE(k)], [V_l ; v]      K_l = z U_l,  V_l = z W_l

    z in R^{n x r}, one for all blocks;  U_l, W_l in R^{r x H_kv K}, no biases, no tanh

The original has Embedding(n, 2 L d), or an MLP over Embedding(n, d) (github.com/THUDM/P-tuning-v2);
Appendix F says only "64 tokens".  Latents of width 36, as for P-tuning, are the reading with 9.4M:
36 * 2 * 32 * 4096 = 9,437,184 on LLaMA-2 7B (and 2,304 latents).  Prefix keys are not rotated: they
enter as cached keys, and the text's positions start after them.

Symbols: n -> prompt_len, r -> latent_dim.
"""

from functools import partial

from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import Dims
from iapt.configuration.checking import Positive
from iapt.methods.arguments import Size
from iapt.methods.peft_format import Config, Tensors
from iapt.methods.prompt_vectors import PlainVectors, PromptVectors
from iapt.methods.stacked import Stackable


class PTuningV2(PromptVectors, Stackable):
    """Key/value prefixes in every block.

    Args:
        dims: sizes of the backbone.
        prompt_len: n.
        latent_dim: r; None trains the prefixes themselves (prefix tuning without an MLP).
        init_std: initial standard deviation of the prefixes' entries.
    """

    peft_types = ("PREFIX_TUNING",)

    def __init__(
        self,
        dims: Dims,
        prompt_len: Size = 64,
        latent_dim: Size | None = 36,
        init_std: Positive = 0.02,
    ) -> None:
        width = 2 * dims.num_kv_heads * dims.head_dim  # one block's keys and values
        all_blocks = dims.num_layers * width
        super().__init__(prompt_len, latent_dim, all_blocks, init_std, own_projection=False)
        self._width, self._heads = width, (dims.num_kv_heads, dims.head_dim)

    def keys_values(self, layer: int) -> tuple[Tensor, Tensor]:
        """Return keys and values (H_kv, P, K) of one block, from its columns of the projection."""
        columns = slice(layer * self._width, (layer + 1) * self._width)
        vectors = self.vectors
        part = self.weights[..., columns]
        flat = part if isinstance(vectors, PlainVectors) else vectors.latent @ part  # (P, 2 H_kv K)
        split = flat.unflatten(-1, (2, *self._heads))  # (P, 2, H_kv, K)
        keys, values = split.movedim(-4, -2).unbind(-4)
        return keys, values

    def attach(self, backbone: Backbone) -> None:
        for layer in range(backbone.dims.num_layers):
            backbone.kv_prefix(layer, partial(self.keys_values, layer))

    def to_peft(self, backbone: Backbone) -> tuple[Config, Tensors]:
        heads, size = backbone.dims.num_kv_heads, backbone.dims.head_dim
        config, tensors = self.finished(backbone.dims, heads, heads * size)
        return config | {"prefix_projection": False}, tensors

    @classmethod
    def from_peft(
        cls, config: Config, tensors: Tensors, backbone: Backbone
    ) -> tuple[Config, Tensors]:
        dims = backbone.dims
        width = 2 * dims.num_layers * dims.num_kv_heads * dims.head_dim
        return cls.from_finished(config, tensors, dims, width)
