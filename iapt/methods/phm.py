"""Parameterised hypercomplex multiplication (Zhang et al. 2021), a linear map built from small matrices.

    y = x W,    W = sum_i A_i (x) S_i        i = 1..n;  A_i: n x n,  S_i: in/n x out/n

(x) is the Kronecker product.  W is never formed: the n pieces of x are multiplied by every S_i, and the
A_i mix the results.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from iapt.errors import ConfigError


class HypercomplexLinear(nn.Module):
    """A linear map of n^3 + in*out/n weights.

    Args:
        in_dim: width of x; a multiple of `order`.
        out_dim: width of y; a multiple of `order`.
        order: n.
        init_std: standard deviation of A and S.
    """

    __call__: Callable[..., Tensor]

    def __init__(self, in_dim: int, out_dim: int, order: int, init_std: float = 0.05) -> None:
        super().__init__()
        for width in (in_dim, out_dim):
            if order < 1 or width % order:
                raise ConfigError(
                    f"method.phm_order={order}: must be a whole number >= 1 that divides {width}."
                )
        self.order = order
        self.A = nn.Parameter(torch.randn(order, order, order) * init_std)
        self.S = nn.Parameter(torch.randn(order, in_dim // order, out_dim // order) * init_std)

    def forward(self, x: Tensor) -> Tensor:
        """Return x W, (..., in) -> (..., out)."""
        blocks = x.reshape(*x.shape[:-1], self.order, -1)  # (..., n, in/n)
        small = torch.einsum("...ap,ipq->...iaq", blocks, self.S.to(x.dtype))
        return torch.einsum("...iaq,iab->...bq", small, self.A.to(x.dtype)).flatten(-2)
