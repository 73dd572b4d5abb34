"""The learnable rational activation of the paper's Eq. 3 (Padé activation unit, Molina et al. 2019).

    R(x) = (a_0 + a_1 x + ... + a_m x^m) / (1 + |b_1 x + ... + b_n x^n|)

We read the paper's double bars around a scalar as an absolute value.  Coefficients start at a
least-squares fit of GELU on [-3, 3] (degrees 6 and 5; largest error 1.2e-4 there); outside, the
function grows quadratically: 0.09 above GELU at 5, 2 above it at 10.
"""

import torch
from torch import Tensor, nn

GELU_NUMERATOR = (2.7958415e-05, 0.5, 0.3985032, 0.16223388, 0.063995945, 0.018301699, 0.0020992084)
GELU_DENOMINATOR = (0.0, 0.32446776, 0.0, 0.036603397, 0.0)


def _horner(x: Tensor, coefficients: Tensor) -> Tensor:
    result = torch.zeros_like(x)
    for c in coefficients.flip(-1).unbind(-1):  # a number, or one for each row of x (B, ...)
        result = result * x + (c.view(-1, *[1] * (x.dim() - 1)) if c.dim() else c)
    return result


class Rational(nn.Module):
    """R(x) with its twelve coefficients in one parameter: seven of the numerator, five of the denominator."""

    def __init__(self) -> None:
        super().__init__()
        self.coefficients = nn.Parameter(torch.tensor(GELU_NUMERATOR + GELU_DENOMINATOR))

    def forward(self, x: Tensor) -> Tensor:
        """Apply R elementwise in fp32 (x^6 overflows fp16 beyond |x| = 6.3); keeps shape and dtype."""
        wide = x.float()
        coefficients = self.coefficients.float()
        a, b = coefficients.split([len(GELU_NUMERATOR), len(GELU_DENOMINATOR)], dim=-1)
        denominator = 1 + (wide * _horner(wide, b)).abs()
        return (_horner(wide, a) / denominator).to(x.dtype)
