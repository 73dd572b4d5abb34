"""Attention of a block, after its projections: q (B,H,S,K), k and v (B,G,C,K) -> (B,S,H*K).

G key/value heads serve H = G * (H/G) query heads.  Visibility is either a mask or the plain causal
rule, which needs none: with P leading columns that every row sees, P query rows of zeros in front make
the triangle fit, and the kernel skips everything above it.
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def causal(q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float, hidden: bool) -> Tensor:
    """Attend causally: each of S text columns sees the C - S columns before all text, itself and earlier text.

    Args:
        q: (B, H, S, K).
        k: (B, G, C, K).
        v: (B, G, C, K).
        scale: of the products.
        dropout: of the weights.
        hidden: the first text column sees only itself.
    """
    front, times = k.shape[2] - q.shape[2], q.shape[1] // k.shape[1]
    if front:
        q = F.pad(q, (0, 0, front, 0))
    out = F.scaled_dot_product_attention(
        q, k, v, is_causal=True, scale=scale, dropout_p=dropout, enable_gqa=times > 1
    )[:, :, front:]
    if hidden:
        first = v[:, :, front : front + 1]  # its weights are 1 on itself
        out = torch.cat([_for_heads(first, times), out[:, :, 1:]], dim=2)
    return merge_heads(out)


def masked(q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float, mask: Tensor) -> Tensor:
    """Attend under an additive mask (B, 1, S, C)."""
    times = q.shape[1] // k.shape[1]
    if q.is_cuda:  # its kernels that take a mask do not share key/value heads
        k, v, times = _for_heads(k, times), _for_heads(v, times), 1
    out = F.scaled_dot_product_attention(
        q, k, v, attn_mask=mask, scale=scale, dropout_p=dropout, enable_gqa=times > 1
    )
    return merge_heads(out)


def literal(q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float, mask: Tensor) -> Tensor:
    """Compute `masked` step by step, for attn=eager."""
    times = q.shape[1] // k.shape[1]
    weights = q @ _for_heads(k, times).transpose(-1, -2) * scale + mask
    weights = F.dropout(weights.softmax(-1, dtype=torch.float32), dropout)
    return merge_heads(weights.to(q.dtype) @ _for_heads(v, times))


def merge_heads(x: Tensor) -> Tensor:
    """(B, H, S, K) -> (B, S, H*K)."""
    return x.transpose(1, 2).flatten(2)


def _for_heads(x: Tensor, times: int) -> Tensor:
    """Give every query head its key/value head: (B, G, C, K) -> (B, G * times, C, K)."""
    if times == 1:
        return x
    return x[:, :, None].expand(-1, -1, times, -1, -1).flatten(1, 2)
