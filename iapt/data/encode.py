"""Examples to token ids, and token ids to padded batches.

    [BOS] instruction-tokens | response-tokens EOS

At the border `|`, training starts to count loss and decoding starts to generate; the two sides are
tokenised separately, so the same tokens precede an answer in training and in decoding.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

IGNORE = -100


@dataclass(frozen=True)
class Encoded:
    """One example as tokens.

    Attributes:
        instruction: BOS and the instruction's tokens.
        response: the response's tokens and EOS.
        truncated: the number of instruction tokens removed to fit.
    """

    instruction: tuple[int, ...]
    response: tuple[int, ...]
    truncated: int = 0

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
        return Batch(
            *(
                t.to(device)
                for t in (self.input_ids, self.attention_mask, self.instruction_mask, self.labels)
            )
        )


def encode(instruction: str, response: str, tokenizer: Any, max_length: int, bos: bool) -> Encoded:
    """Tokenise one example.

    An instruction too long for `max_length` loses tokens after BOS, so that the template's end and the
    question before it remain; a response is never truncated.

    Args:
        instruction: the rendered instruction, system template included.
        response: the text to learn.
        tokenizer: a transformers tokenizer.
        max_length: the most tokens of instruction, response and EOS together.
        bos: prepend the tokenizer's BOS token.

    Raises:
        ValueError: the response alone leaves no room for any instruction.
    """
    front = (tokenizer.bos_token_id,) if bos else ()
    body = tuple(tokenizer(instruction, add_special_tokens=False).input_ids)
    answer = (*tokenizer(response, add_special_tokens=False).input_ids, tokenizer.eos_token_id)
    room = max_length - len(front) - len(answer)
    if room < 1:
        raise ValueError(
            f"a response of {len(answer)} tokens leaves no room for its instruction in {max_length}."
        )
    cut = max(0, len(body) - room)
    return Encoded(front + body[cut:], answer, cut)


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
