"""Hugging Face's own blocks on an embedded sequence: what prompt methods are compared with."""

from collections.abc import Iterable

import torch
from torch import Tensor

from iapt.backbone.base import Backbone


def run_blocks(backbone: Backbone, h: Tensor, layers: Iterable[int]) -> Tensor:
    """Run blocks on unpadded h (B,S,D), causally, positions 0..S-1; no cache, none of our verbs."""
    size = h.shape[1]
    mask = torch.full((size, size), torch.finfo(h.dtype).min).triu(1)[None, None]
    body = backbone.family.body  # type: ignore[attr-defined]  # every family has one
    places = torch.arange(size)[None]
    for layer in layers:
        block = backbone.family.layers[layer]
        if backbone.dims.family == "gpt2":
            h = block(h, attention_mask=mask)
        else:
            h = block(h, attention_mask=mask, position_embeddings=body.rotary_emb(h, places))
    return h
