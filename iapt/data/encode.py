"""From examples to token ids, and from token ids to padded batches.

    [BOS] instruction-tokens | response-tokens EOS

At the boundary `|`, training starts to count loss and decoding starts to generate; the two sides are
tokenised separately, so the same tokens precede an answer in training and in decoding.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from iapt.data.template import Rendered

IGNORE = -100


@dataclass(frozen=True)
class Encoded:
    """One example as tokens.

    Attributes:
        instruction: BOS and the instruction's tokens; empty if the example does not fit.
        response: the response's tokens and EOS.
        truncated: the number of instruction tokens removed to fit.
    """

    instruction: tuple[int, ...]
    response: tuple[int, ...]
    truncated: int = 0

    @property
    def fits(self) -> bool:
        """Whether the response leaves room for the templates and a part of every field."""
        return bool(self.instruction)

    def __len__(self) -> int:
        return len(self.instruction) + len(self.response)


@dataclass(frozen=True)
class Batch:
    """Right-padded rows, all (B, T).

    Attributes:
        input_ids: tokens.
        attention_mask: true on real tokens.
        instruction_mask: true on the instruction's tokens (never response or pad).
        labels: response tokens at their own positions, -100 elsewhere.
    """

    input_ids: Tensor
    attention_mask: Tensor
    instruction_mask: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> "Batch":
        """Return the batch on another device."""
        return Batch(*(t.to(device) for t in vars(self).values()))


def encode(item: Rendered, tokenizer: Any, max_length: int, bos: bool) -> Encoded:
    """Tokenise one example.

    If it is longer than `max_length`, its longest field loses tokens from the middle; if several fields are
    long, they are cut to the same length.  Both templates and both ends of every field remain, and the
    response is never cut.  (LongBench, Bai et al. 2023, also cuts the middle.)

    Args:
        item: the rendered texts.
        tokenizer: a transformers (fast) tokenizer.
        max_length: the most tokens of instruction, response and EOS together.
        bos: prepend the tokenizer's BOS token.

    Returns:
        The tokens; `fits` is false if the example cannot be cut enough.
    """
    front = (tokenizer.bos_token_id,) if bos else ()
    body = tokenizer(item.instruction, add_special_tokens=False)
    ids = tuple(body.input_ids)
    answer = (*tokenizer(item.response, add_special_tokens=False).input_ids, tokenizer.eos_token_id)
    cut = len(front) + len(ids) + len(answer) - max_length
    if cut <= 0:
        return Encoded(front + ids, answer)
    kept = _without_middles(body.encodings[0].offsets, item.fields, cut)
    if not kept:
        return Encoded((), answer, len(front) + len(ids))
    return Encoded(front + tuple(ids[i] for i in kept), answer, len(ids) - len(kept))


def _without_middles(
    offsets: Sequence[tuple[int, int]], fields: Sequence[tuple[int, int]], cut: int
) -> list[int]:
    """Return the indices of the tokens left without at least `cut` in the fields; none if the fields are too short."""
    inside = [
        [i for i, (begin, end) in enumerate(offsets) if start <= begin and end <= stop]
        for start, stop in fields
    ]
    sizes = [len(tokens) for tokens in inside]
    longest = range(max(sizes, default=0) + 1)
    level = bisect_right(longest, sum(sizes) - cut, key=lambda n: sum(min(s, n) for s in sizes)) - 1
    if level < 1:
        return []
    head = level - level // 2
    lost = {i for tokens in inside for i in tokens[head : max(head, len(tokens) - level // 2)]}
    return [i for i in range(len(offsets)) if i not in lost]


def collate(examples: Sequence[Encoded], pad_token_id: int) -> Batch:
    """Pad examples on the right into one batch."""
    width = max(len(e) for e in examples)
    ids = torch.full((len(examples), width), pad_token_id)
    labels = torch.full((len(examples), width), IGNORE)
    attention = torch.zeros(len(examples), width, dtype=torch.bool)
    instruction = torch.zeros_like(attention)
    for row, e in enumerate(examples):
        n, total = len(e.instruction), len(e)
        ids[row, :total] = torch.tensor(e.instruction + e.response)
        labels[row, n:total] = ids[row, n:total]
        attention[row, :total] = True
        instruction[row, :n] = True
    return Batch(ids, attention, instruction, labels)
