"""Average pooling of an instruction's tokens into a fixed number of vectors.

Adaptive pooling divides the n tokens into P nearly equal segments and averages each.  LPT and the matched
form of IDPG make their soft tokens from it, and variant IAPT-1 uses it in place of attention.
"""

import torch
from torch import Tensor, nn


def segment_weights(mask: Tensor, segments: int) -> Tensor:
    """Return the weights of adaptive mean pooling over the marked tokens only.

    Args:
        mask: (B, T), true on the n tokens to pool, at any positions.
        segments: P; segment j covers tokens floor(jn/P) .. ceil((j+1)n/P) - 1, torch's rule.

    Returns:
        (B, T, P); every column sums to 1.
    """
    n = mask.sum(1)[:, None, None]  # (B, 1, 1)
    index = (mask.cumsum(1) - 1)[..., None]  # (B, T, 1): rank of a token among the marked ones
    j = torch.arange(segments, device=mask.device)
    start, stop = (j * n) // segments, ((j + 1) * n + segments - 1) // segments
    inside = mask[..., None] & (index >= start) & (index < stop)
    return inside / inside.sum(1, keepdim=True)


def segment_means(h: Tensor, mask: Tensor, segments: int) -> Tensor:
    """Return means (B,P,D) of h (B,T,D) over P segments of the tokens that mask (B,T) marks."""
    return segment_weights(mask, segments).to(h.dtype).transpose(1, 2) @ h


class MeanPooler(nn.Module):
    """Average pooling (variant IAPT-1): segment means, or one plain mean repeated."""

    def __init__(self, prompt_len: int, segments: bool) -> None:
        super().__init__()
        self.prompt_len, self.segments = prompt_len, segments

    def forward(self, h: Tensor, mask: Tensor, down: Tensor) -> Tensor:
        """Return weights (B,T,P) from the mask (B,T) alone; h (B,T,D) and down (D,M) are unused."""
        if self.segments:
            return segment_weights(mask, self.prompt_len)
        return segment_weights(mask, 1).expand(-1, -1, self.prompt_len)
