"""The constant vectors of P-tuning and P-tuning v2, trained through latents and saved as they are.

In training, o = z V with latents z and a projection V (`reparam.py`).  A saved adapter contains the n
vectors o themselves: z and V are only a way to train them.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from iapt.backbone.dims import Dims
from iapt.configuration.checking import named
from iapt.errors import AdapterError
from iapt.methods import peft_format as peft
from iapt.methods.reparam import Reparameterised
from iapt.methods.saved import some
from iapt.methods.searched import Reshaped

PLAIN = "vectors.plain"
PEFT_VECTORS = "prompt_embeddings"
PEFT_OPTIONS = (  # sizes, and peft's ways to make the vectors
    *("num_virtual_tokens", "num_layers", "num_attention_heads", "token_dim"),
    *("num_transformer_submodules", "prefix_projection"),
    *("encoder_hidden_size", "encoder_dropout", "encoder_num_layers"),
    *("encoder_reparameterization_type", "prompt_tuning_init", "prompt_tuning_init_text"),
    *("tokenizer_name_or_path", "tokenizer_kwargs"),
)


class PlainVectors(nn.Module):
    """n vectors that are their own parameters, (n, out)."""

    __call__: Callable[..., Tensor]

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.plain = nn.Parameter(values)

    def forward(self) -> Tensor:
        """Return the n vectors, (n, out)."""
        return self.plain


class PromptVectors(Reshaped, peft.PeftCompatible):
    """A method whose parameters are `prompt_len` vectors and nothing else.

    Args:
        prompt_len: n.
        latent_dim: r; None trains the vectors themselves.
        out_dim: width of a vector.
        std: initial standard deviation of the vectors: z ~ N(0, 1), V ~ N(0, std^2 / r).
        own_projection: one V per vector instead of a shared one.
    """

    decodes = False
    vectors: Reparameterised | PlainVectors

    def __init__(
        self,
        prompt_len: int,
        latent_dim: int | None,
        out_dim: int,
        std: float,
        own_projection: bool,
    ) -> None:
        super().__init__()
        self.soft_tokens = prompt_len
        if latent_dim is None:
            self.vectors = PlainVectors(torch.randn(prompt_len, out_dim) * std)
        else:
            std /= math.sqrt(latent_dim)
            self.vectors = Reparameterised(
                prompt_len, latent_dim, out_dim, projection_std=std, own_projection=own_projection
            )

    def serving_state(self) -> dict[str, Tensor]:
        return {PLAIN: self.vectors().detach()}

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        if PLAIN in tensors and isinstance(self.vectors, Reparameterised):
            self.vectors = PlainVectors(torch.zeros_like(self.vectors().detach()))

    @property
    def weights(self) -> nn.Parameter:
        """The parameter with the vectors' scale: V, or the plain vectors themselves."""
        v = self.vectors
        return v.plain if isinstance(v, PlainVectors) else v.projection

    @classmethod
    def check_peft(cls, dims: Dims) -> None:
        if dims.family == "gpt2":
            raise AdapterError(
                "prompts and prefixes on GPT-2 have no counterpart in peft: peft's shift the text's learned "
                "positions, ours do not."
            )

    def finished(self, dims: Dims, heads: int, width: int) -> tuple[peft.Config, peft.Tensors]:
        """Return the vectors as peft has them: `heads` parts of together `width` numbers."""
        return {
            "num_virtual_tokens": self.soft_tokens,
            "num_layers": dims.num_layers,
            "num_attention_heads": heads,
            "token_dim": width,
            "num_transformer_submodules": 1,
        }, {PEFT_VECTORS: self.vectors()}

    @classmethod
    def from_finished(
        cls, config: peft.Config, tensors: peft.Tensors, dims: Dims, width: int
    ) -> tuple[peft.Config, peft.Tensors]:
        """Return values and tensors for finished vectors (n, width), whatever network of peft's made them.

        Raises:
            AdapterError: an option changes more than the vectors, or the shape differs.
        """
        cls.check_peft(dims)
        peft.refuse_options(config, PEFT_OPTIONS)
        n = int(peft.number(config, "num_virtual_tokens", 1))
        if tensors.keys() != {PEFT_VECTORS}:
            raise AdapterError(
                f"{config['peft_type']}: the file must contain only {PEFT_VECTORS}; it contains "
                f"{some(list(map(named, sorted(tensors)))) or 'nothing'}."
            )
        vectors = peft.expect_shape(PEFT_VECTORS, tensors[PEFT_VECTORS], (n, width))
        return {"prompt_len": n, "latent_dim": None}, {PLAIN: vectors}
