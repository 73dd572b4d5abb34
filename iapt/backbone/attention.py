"""A block's attention, after its projections: q (B,H,S,K), k and v (B,G,C,K) -> (B,S,H*K).

Each of the G key/value heads serves H/G query heads.  What a query sees is given by a mask or by the
plain causal rule, which needs none: if every query sees P leading columns, P rows of zeros in front
of q make the matrix square, and the kernel skips everything above its diagonal.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def causal(q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float, hidden: bool) -> Tensor:
    """Attend causally: each of the S queries sees the C - S leading columns, itself and earlier queries.

    Args:
        q: (B, H, S, K).
        k: (B, G, C, K).
        v: (B, G, C, K).
        scale: factor of the products q·k.
        dropout: probability of dropping an attention weight.
        hidden: hide everything from the first query but itself.
    """
    front, times = k.shape[2] - q.shape[2], q.shape[1] // k.shape[1]
    if front:
        q = F.pad(q, (0, 0, front, 0))
    out = F.scaled_dot_product_attention(
        q, k, v, is_causal=True, scale=scale, dropout_p=dropout, enable_gqa=times > 1
    )[:, :, front:]
    if hidden:
        first = v[:, :, front : front + 1]  # its weight on itself is 1
        out = torch.cat([_for_heads(first, times), out[:, :, 1:]], dim=2)
    return merge_heads(out)


def masked(q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float, mask: Tensor) -> Tensor:
    """Attend under an additive mask (B, 1, S, C)."""
    times = q.shape[1] // k.shape[1]
    if q.is_cuda:  # CUDA kernels that take a mask cannot share key/value heads
        k, v, times = _for_heads(k, times), _for_heads(v, times), 1
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=scale, dropout_p=dropout, enable_gqa=times > 1
    )
    return merge_heads(out)


def literal(q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float, mask: Tensor) -> Tensor:
    """Do what `masked` does, step by step, for attn=eager."""
    times = q.shape[1] // k.shape[1]
    weights = q @ _for_heads(k, times).transpose(-1, -2) * scale + mask
    weights = F.dropout(weights.softmax(-1, dtype=torch.float32), dropout)
    return merge_heads(weights.to(q.dtype) @ _for_heads(v, times))


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, S, K) -> (B, S, H*K)."""
    return x.transpose(1, 2).flatten(2)


def _for_heads(x: Tensor, times: int) -> Tensor:
    """Repeat each key/value head for its query heads: (B, G, C, K) -> (B, G * times, C, K)."""
    if times == 1:
        return x
    return x[:, :, None].expand(-1, -1, times, -1, -1).flatten(1, 2)
