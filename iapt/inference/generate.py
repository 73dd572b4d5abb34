"""Beam search over a backbone with a method attached, one prefill per example.

The search itself is `transformers`' own (beam scores, end-of-sequence rules, length penalty), so
texts equal `generate`'s token for token.  What is ours is below it: `generate` repeats every
instruction for every beam before reading it; here each instruction is read once (and soft-prompt
generators run once) and its cache is repeated, which makes prefill `num_beams` times cheaper.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from iapt.backbone.base import Backbone
from iapt.backbone.stream import State
from iapt.data.batches import by_length
from iapt.errors import BackboneError


class Decoder(nn.Module, GenerationMixin):
    """Presents one padded batch of instructions to `generate` as if it had a single token each.

    `generate` sees only the last token of every instruction; the first forward call reads the whole
    instructions through `Backbone.prefill` and repeats logits and cache for the beams.
    """

    main_input_name = "input_ids"
    _is_stateful = False

    def __init__(
        self, backbone: Backbone, input_ids: Tensor, attention_mask: Tensor, num_beams: int
    ) -> None:
        super().__init__()
        self.config = backbone.model.config
        self.generation_config = GenerationConfig()
        self._backbone, self._ids, self._mask, self._beams = (
            backbone,
            input_ids,
            attention_mask,
            num_beams,
        )

    @property
    def device(self) -> torch.device:
        """Where the batch lies."""
        return self._ids.device

    @property
    def dtype(self) -> torch.dtype:
        """The backbone's dtype."""
        return self._backbone.model.dtype

    def can_generate(self) -> bool:
        """Always."""
        return True

    def forward(
        self,
        input_ids: Tensor,
        past_key_values: State | None = None,
        attention_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """One decoding step, (B*beams, 1) tokens -> logits (B*beams, 1, V)."""
        if past_key_values is None:
            logits, state = self._backbone.prefill(self._ids, self._mask)
            state.repeat(self._beams)
            logits = logits.repeat_interleave(self._beams, dim=0)
        else:
            state = past_key_values
            logits = self._backbone.step(input_ids[:, -1], state)
        return CausalLMOutputWithPast(logits=logits[:, None], past_key_values=state)

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        """Keep the state; everything else about the prompt is known already."""
        return {"input_ids": input_ids, "past_key_values": kwargs.get("past_key_values")}

    def _prepare_cache_for_generation(self, *args: Any, **kwargs: Any) -> None:
        """No cache is made here: prefill makes it."""

    def _optimize_model_for_decode(self) -> AbstractContextManager[None]:
        """Nothing to switch: greedy search would look for a mixture of experts."""
        return nullcontext()


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
) -> Tensor:
    """Decode one padded batch.

    Args:
        backbone: with the method attached.
        input_ids: (B, T) instructions, padded on either side.
        attention_mask: (B, T).
        num_beams: 1 is greedy search.
        max_new_tokens: longest answer, end token included.
        eos_token_id: ends an answer.
        pad_token_id: fills behind it.
        min_new_tokens: suppresses the end token before (for timing).

    Returns:
        (B, N) new tokens, N <= max_new_tokens.

    Raises:
        BackboneError: the longest answer would need more positions than there are.
    """
    positions = int(attention_mask.sum(1).max()) + max_new_tokens - 1  # the last token is not fed
    if positions > backbone.dims.max_positions:
        raise BackboneError(
            f"an instruction and max_new_tokens={max_new_tokens} need {positions} positions, the backbone has "
            f"{backbone.dims.max_positions}; cut the instruction or lower task.max_new_tokens."
        )
    decoder = Decoder(backbone, input_ids, attention_mask, num_beams)
    lengths = {} if min_new_tokens is None else {"min_new_tokens": min_new_tokens}
    config = GenerationConfig(
        num_beams=num_beams,
        max_new_tokens=max_new_tokens,
        do_sample=False,
        eos_token_id=eos_token_id,
        pad_token_id=pad_token_id,
        **lengths,
    )
    first = torch.full(
        (len(input_ids), 1), eos_token_id, device=input_ids.device
    )  # stands for the whole instruction
    with torch.no_grad():
        out = decoder.generate(  # type: ignore[operator]  # nn.Module hides the mixin's method
            first, generation_config=config, attention_mask=torch.ones_like(first)
        )
    return out[:, 1:]


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

    Instructions are grouped by length so that one batch, beams and answers included, holds at most
    `batch_tokens` tokens; the grouping changes nothing in the texts but rounding.

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
    texts = [""] * len(instructions)
    sizes = [(len(ids) + max_new_tokens) * num_beams for ids in instructions]
    for group in by_length(sizes, batch_tokens):
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
    return texts
