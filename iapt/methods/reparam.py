"""One or more vectors as short latents times a learned projection (Appendix F).

    o_i = z_i V      z in R^{n x r},  V in R^{r x out} shared by the n vectors, or one V_i each

This is the form of the bias and scaling vectors of BitFit and (IA)^3 (n = 1), of P-tuning's soft tokens
(one V_i each) and of P-tuning v2's prefixes (V shared).  The product over-parameterises a plain vector,
so it can be multiplied out after training: serving needs only `forward`.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Reparameterised(nn.Module):
    """n vectors z V of width `out_dim`.

    V = 0 at the start (the default) makes the vectors zero but trainable: V gets its gradient through z.
    With z = 0 instead, a vector would move by about lr * std(V) per step.

    Args:
        num_vectors: n.
        rank: r, width of the latents.
        out_dim: width of the vectors.
        latent_std: z ~ N(0, latent_std^2).
        projection_std: V ~ N(0, projection_std^2); 0 makes every vector start at zero.
        own_projection: one V per vector instead of a shared one.
    """

    __call__: Callable[..., Tensor]

    def __init__(
        self,
        num_vectors: int,
        rank: int,
        out_dim: int,
        *,
        latent_std: float = 1.0,
        projection_std: float = 0.0,
        own_projection: bool = False,
    ) -> None:
        super().__init__()
        self.own_projection = own_projection
        shape = (num_vectors, rank, out_dim) if own_projection else (rank, out_dim)
        self.latent = nn.Parameter(torch.randn(num_vectors, rank) * latent_std)  # z
        self.projection = nn.Parameter(  # V
            torch.randn(shape) * projection_std if projection_std else torch.zeros(shape)
        )

    def forward(self) -> Tensor:
        """Return the n vectors, (n, out)."""
        if self.own_projection:
            return torch.einsum("...nr,...nro->...no", self.latent, self.projection)
        return self.latent @ self.projection
