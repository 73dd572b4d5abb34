"""Tiny frozen backbones and batches that many tests share."""

from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.backbone.dims import FAMILIES, Dims
from iapt.backbone.load import family_of
from iapt.backbone.tiny import tiny_model
from iapt.data.encode import Encoded
from iapt.training.step import Data

BOS, EOS, PAD = 0, 1, 2
VOCAB = 61
NAMES = {"llama": "tiny_llama", "gpt2": "tiny_gpt2", "gpt_neox": "tiny_gpt_neox"}

# Instruction and response lengths of a batch whose rows differ in both.
LENGTHS = ((6, 3), (4, 5), (9, 2), (5, 4))

assert set(NAMES) == set(FAMILIES)


def tiny_dims(family: str) -> Dims:
    """Five blocks (no multiple of IAPT's groups of four), grouped-query attention on llama."""
    return Dims(
        family=family,
        num_layers=5,
        hidden_size=32,
        ffn_size=48,
        num_heads=4,
        num_kv_heads=2 if family == "llama" else 4,
        head_dim=8,
        vocab_size=VOCAB,
        max_positions=256,
    )


def new_backbone(
    family: str, attn: str = "sdpa", dtype: torch.dtype = torch.float32, seed: int = 0
) -> Backbone:
    model = tiny_model(tiny_dims(family), seed).to(dtype)
    model.config._attn_implementation = attn
    return Backbone(family_of(model))


@cache
def shared_backbone(
    family: str, attn: str = "sdpa", dtype: torch.dtype = torch.float32
) -> Backbone:
    """The same object on every call: detach before use, and leave its weights alone."""
    return new_backbone(family, attn, dtype)


def encoded(seed: int = 0, lengths: Sequence[tuple[int, int]] = LENGTHS) -> list[Encoded]:
    """Random token examples: BOS first in the instruction, EOS last in the response."""
    draw = torch.Generator().manual_seed(seed)

    def tokens(n: int) -> tuple[int, ...]:
        return tuple(torch.randint(3, VOCAB, (n,), generator=draw).tolist())

    return [Encoded((BOS, *tokens(n - 1)), (*tokens(m - 1), EOS)) for n, m in lengths]


def data(seed: int = 0, lengths: Sequence[tuple[int, int]] = LENGTHS) -> Data:
    return Data(encoded(seed, lengths), PAD, EOS)


def padded(rows: Sequence[Sequence[int]], side: str = "right") -> tuple[Tensor, Tensor]:
    """Ids and mask (B, T); pads are random tokens, since their content must not matter."""
    width = max(len(row) for row in rows)
    draw = torch.Generator().manual_seed(99)
    ids = torch.randint(3, VOCAB, (len(rows), width), generator=draw)
    mask = torch.zeros(len(rows), width, dtype=torch.bool)
    for i, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(width - len(row), width)
        ids[i, place], mask[i, place] = torch.tensor(row), True
    return ids, mask


def examples(n: int) -> list[Encoded]:
    """N examples of differing lengths."""
    return [text for seed in range(-(-n // len(LENGTHS))) for text in encoded(seed)][:n]


def whole(rows: Sequence[Encoded], side: str = "right") -> tuple[Tensor, Tensor, Tensor]:
    """Ids, mask and instruction mask (B, T) of whole sequences."""
    ids, mask = padded([t.instruction + t.response for t in rows], side)
    sizes = torch.tensor([len(t.instruction) for t in rows])
    return ids, mask, mask & (mask.cumsum(1) <= sizes[:, None])
