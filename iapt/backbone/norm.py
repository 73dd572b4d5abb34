"""RMS norm, x / rms(x) * weight over the last dimension, with a frozen weight.

As in Hugging Face's models, it is computed in float32 whatever the stream's dtype.  Composed of torch's
operations it takes five elementwise passes forward and five backward; this version takes fewer.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

FUSED = (torch.float32, torch.bfloat16)


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """Normalise x (..., D) with weight (D,)."""
    if x.dtype != weight.dtype or x.dtype not in FUSED or weight.requires_grad:
        exact = x.float()
        normed = exact * torch.rsqrt(exact.square().mean(-1, keepdim=True) + eps)
        return weight * normed.to(x.dtype)
    # In a decoding step, a function of autograd's costs more than the norm.
    if not torch.is_grad_enabled():
        return _normed(x, weight, eps)[0]
    out: Tensor = _RMSNorm.apply(x, weight, eps)  # type: ignore[no-untyped-call]
    return out


def _normed(x: Tensor, weight: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the normalised x, and 1 / rms(x) (..., 1) in float32."""
    exact = x.float()
    square = torch.linalg.vecdot(exact, exact).div_(x.shape[-1])
    r = square.add_(eps).rsqrt_()[..., None]
    return (exact * r).to(x.dtype).mul_(weight), r


class _RMSNorm(torch.autograd.Function):
    """With r = 1 / rms(x) and g' = g * weight: dx = r (g' - x r² mean(g' x)), in float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        out, r = _normed(x, weight, eps)
        ctx.save_for_backward(x, weight, r)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None, None]:
        x, weight, r = ctx.saved_tensors
        g, exact = (g * weight).float(), x.float()
        mean = torch.linalg.vecdot(g, exact)[..., None].div_(x.shape[-1])
        dx = torch.addcmul(g, exact, mean.mul_(r).mul_(r), value=-1).mul_(r)
        return dx.to(x.dtype), None, None
