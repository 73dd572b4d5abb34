"""Decoding of instructions over a backbone with a method attached, one prefill per example.

`generate` of transformers repeats every instruction for every beam before it reads it; here each is
read once (and soft-prompt generators run once), and its beams share what was read.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar

import torch
from torch import Tensor

from iapt.backbone import processes
from iapt.backbone.base import Backbone
from iapt.backbone.cache import FixedState, State
from iapt.data.batches import Budget
from iapt.errors import BackboneError
from iapt.inference.recorded import Recorded
from iapt.inference.search import Rules, Steps, search

Length = TypeVar("Length", int, float)  # of a row, or a mean


class Continuation:
    """A backbone that continues from a decoding state, one step of a search at a time."""

    def __init__(self, backbone: Backbone, state: State) -> None:
        self._backbone, self._state = backbone, state
        self.reorder, self.keep = state.reorder, state.keep

    def step(self, tokens: Tensor) -> Tensor:
        """Feed a token per beam; return next-token logits."""
        return self._backbone.step(tokens, self._state)


def decode_batch(
    backbone: Backbone,
    input_ids: Tensor,
    attention_mask: Tensor,
    *,
    num_beams: int,
    max_new_tokens: int,
    eos_token_id: int,
    pad_token_id: int,
    min_new_tokens: int | None = None,
    recorded: bool = False,
) -> Tensor:
    """Decode one padded batch.

    Args:
        backbone: with the method attached.
        input_ids: (B, T) instructions, padded on either side.
        attention_mask: (B, T).
        num_beams: 1 is greedy search.
        max_new_tokens: longest answer, end token included.
        eos_token_id: ends an answer.
        pad_token_id: fills the places after it.
        min_new_tokens: the end token is suppressed before this length (for timing).
        recorded: steps keep their shapes, and a GPU replays one that was recorded (`recorded.py`).

    Returns:
        (B, N) new tokens, N <= max_new_tokens.

    Raises:
        BackboneError: the longest answer would need more positions than there are.
    """
    positions = int(attention_mask.sum(1).max()) + max_new_tokens - 1  # the last token is not fed
    if positions > backbone.dims.max_positions:
        raise BackboneError(
            f"an instruction and max_new_tokens={max_new_tokens} need {positions} positions, but the backbone has "
            f"{backbone.dims.max_positions}; cut the instruction or lower task.max_new_tokens."
        )
    rules = Rules(num_beams, max_new_tokens, eos_token_id, pad_token_id, min_new_tokens or 0)
    with torch.no_grad():
        logits, state = backbone.prefill(
            input_ids,
            attention_mask,
            beams=num_beams,
            room=max(1, max_new_tokens - 1),
            fixed=recorded,
        )
        model: Steps = Continuation(backbone, state)
        if isinstance(state, FixedState):
            model = Recorded(backbone, state)
        return search(logits, model, rules)


def tokens_kept(instruction: Length, max_new_tokens: int, num_beams: int) -> Length:
    """Return the most tokens that a row keeps: its instruction once, and an answer per beam."""
    return instruction + max_new_tokens * num_beams


def decode(
    backbone: Backbone,
    instructions: Sequence[Sequence[int]],
    tokenizer: Any,
    *,
    num_beams: int,
    max_new_tokens: int,
    batch_tokens: int,
    on_batch: Callable[[int], None] | None = None,
    serving: Callable[[Sequence[int]], AbstractContextManager[object]] | None = None,
) -> list[str]:
    """Decode instructions (token ids, no padding) into texts, in the order given.

    Instructions are grouped by length so that one batch keeps at most `batch_tokens` tokens, the answers of
    all beams included; the grouping changes the texts only through rounding.  The processes of a run
    share the groups, and each returns all texts.

    Args:
        backbone: with the method attached.
        instructions: token ids of each instruction.
        tokenizer: turns tokens into text and knows the end and pad tokens.
        num_beams: beams of the search.
        max_new_tokens: longest answer.
        batch_tokens: budget of a batch.
        on_batch: called with the number of instructions done after each batch (progress bars).
        serving: a context for the batch of these instructions (whose rows they are).
    """
    backbone.train(False)
    device = backbone.device
    texts: dict[int, str] = {}
    sizes = [tokens_kept(len(ids), max_new_tokens, num_beams) for ids in instructions]

    def run(group: list[int]) -> None:
        width = max(len(instructions[i]) for i in group)
        ids = torch.full((len(group), width), tokenizer.pad_token_id)
        mask = torch.zeros(len(group), width, dtype=torch.bool)
        for row, i in enumerate(group):
            n = len(instructions[i])
            ids[row, :n], mask[row, :n] = torch.tensor(instructions[i]), True
        with serving(group) if serving else nullcontext():
            new = decode_batch(
                backbone,
                ids.to(device),
                mask.to(device),
                num_beams=num_beams,
                max_new_tokens=max_new_tokens,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        for i, text in zip(
            group, tokenizer.batch_decode(new, skip_special_tokens=True), strict=True
        ):
            texts[i] = text
        if on_batch:
            on_batch(len(group))

    own = processes.share(sorted(range(len(sizes)), key=sizes.__getitem__))
    Budget(batch_tokens).each(own, sizes, run)
    done, texts = len(texts), processes.merged(texts)
    if on_batch and len(texts) > done:
        on_batch(len(texts) - done)
    return [texts[i] for i in range(len(instructions))]
