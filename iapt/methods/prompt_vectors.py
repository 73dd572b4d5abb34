"""What P-tuning and P-tuning v2 share: constant vectors, trained through latents, served plain.

While trained, o = z V with latents z and a projection V (`reparam.py`).  A saved adapter holds the n
vectors o themselves: z and V are only a way to train them.
"""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from iapt.methods.reparam import Reparameterised
from iapt.methods.searched import Reshaped

PLAIN = "vectors.plain"


class PlainVectors(nn.Module):
    """n vectors that are their own parameters, (n, out)."""

    __call__: Callable[..., Tensor]

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.plain = nn.Parameter(values)

    def forward(self) -> Tensor:
        """Return the n vectors, (n, out)."""
        return self.plain


class PromptVectors(Reshaped):
    """A method whose parameters are `prompt_len` vectors and nothing else.

    Args:
        prompt_len: n.
        latent_dim: r; None trains the vectors themselves.
        out_dim: width of a vector.
        std: standard deviation the vectors start with: z ~ N(0, 1), V ~ N(0, std^2 / r).
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
            self.vectors = Reparameterised(
                prompt_len,
                latent_dim,
                out_dim,
                projection_std=std / math.sqrt(latent_dim),
                own_projection=own_projection,
            )

    def serving_state(self) -> dict[str, Tensor]:
        return {PLAIN: self.vectors().detach()}

    def adopt(self, tensors: Mapping[str, Tensor]) -> None:
        if PLAIN in tensors and isinstance(self.vectors, Reparameterised):
            self.vectors = PlainVectors(torch.zeros_like(self.vectors().detach()))

    @property
    def weights(self) -> nn.Parameter:
        """What carries the vectors' scale: V, or the vectors where they are plain."""
        v = self.vectors
        return v.plain if isinstance(v, PlainVectors) else v.projection
