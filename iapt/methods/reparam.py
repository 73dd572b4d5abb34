"""A vector, or a few, as short latents times a learned projection (paper, Appendix F).

    o_i = z_i V      z in R^{n x r},  V in R^{r x out} shared by the n vectors, or one V_i each

BitFit and (IA)^3 write their bias and scaling vectors so (n = 1), P-tuning its soft tokens (one
V_i each) and P-tuning v2 its prefixes (V shared).  The product over-parameterises a plain vector,
so once trained it can be folded: `forward` is all that serving needs.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Reparameterised(nn.Module):
    """n vectors z V of width `out_dim`.

    Starting V at zero (the default) makes the vectors zero without stopping them: V gets its
    gradient through z.  With z at zero instead, a vector would move by about lr * std(V) a step.

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
        shape = (num_vectors, rank, out_dim) if own_projection else (rank, out_dim)
        self.latent = nn.Parameter(torch.randn(num_vectors, rank) * latent_std)  # z
        self.projection = nn.Parameter(  # V
            torch.randn(shape) * projection_std if projection_std else torch.zeros(shape)
        )

    def forward(self) -> Tensor:
        """Return the n vectors, (n, out)."""
        if self.projection.dim() == 3:
            return torch.einsum("nr,nro->no", self.latent, self.projection)
        return self.latent @ self.projection
