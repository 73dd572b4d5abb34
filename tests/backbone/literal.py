"""The engine written the long way: Hugging Face's own block modules, forward hooks, explicit masks.

Keys and values are concatenated and copied for every step, and the search is `generate`'s.  Slow, and
nothing to misread: what the engine computes must equal this.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import DynamicCache, GenerationConfig, GenerationMixin
from transformers.modeling_outputs import CausalLMOutputWithPast

from iapt.backbone.base import Backbone
from iapt.backbone.stream import Prefix, Stream, additive
from tests.tiny import PAD


class FixedPrefix:
    """The cache of one block call: prepends given keys and values, stores nothing."""

    def __init__(self, keys: Tensor, values: Tensor) -> None:
        self.keys, self.values = keys, values

    def update(self, keys: Tensor, values: Tensor, *args: Any) -> tuple[Tensor, Tensor]:
        return torch.cat([self.keys, keys], dim=-2), torch.cat([self.values, values], dim=-2)


@dataclass
class State:
    """Per row: a cache, real tokens, lengths; per block: soft columns in front."""

    cache: DynamicCache
    mask: Tensor
    lengths: Tensor
    soft: list[int] = field(default_factory=list)

    def reorder_cache(self, rows: Tensor) -> None:
        self.cache.reorder_cache(rows)
        self.mask, self.lengths = self.mask[rows], self.lengths[rows]


class Literal:
    """A backbone, with what is attached to it, run the long way."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone, self.family, self.model = backbone, backbone.family, backbone.model

    def forward(self, ids: Tensor, mask: Tensor, instruction: Tensor) -> Tensor:
        """Logits (B, T, V) of right-padded rows."""
        with self._hooked():
            positions = torch.arange(ids.shape[1])[None]
            return self.model.lm_head(
                self._blocks(self.family.embed(ids, positions), mask, instruction, None)
            )

    def prefill(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, State]:
        """Next-token logits (B, V) of right-padded instructions, and the state."""
        state = State(DynamicCache(), mask, mask.sum(1))
        with self._hooked():
            h = self.family.embed(ids, torch.arange(ids.shape[1])[None])
            text = self._blocks(h, mask, mask, state)
        return self.model.lm_head(text[torch.arange(len(text)), state.lengths - 1]), state

    def step(self, tokens: Tensor, state: State) -> Tensor:
        """Feed one token per row; next-token logits (B, V)."""
        h = self.family.embed(tokens[:, None], state.lengths[:, None])
        state.mask = torch.cat([state.mask, torch.ones_like(state.mask[:, :1])], dim=1)
        with self._hooked():
            for layer in range(self.backbone.dims.num_layers):
                soft = state.soft[layer]
                seen = torch.cat([state.mask.new_ones(len(h), soft), state.mask], dim=1)
                rotary = self.family.rotary(h, (state.lengths + soft)[:, None])
                out = self._block(
                    layer, h, additive(seen[:, None, None], h.dtype), rotary, state.cache
                )
                h = self.backbone._beside(layer, h, out)
        state.lengths = state.lengths + 1
        return self.model.lm_head(self.family.final_norm(h[:, 0]))

    def generate(self, ids: Tensor, mask: Tensor, beams: int, new: int, eos: int) -> Tensor:
        """New tokens (B, N) of right-padded instructions, by `generate` of transformers."""
        config = GenerationConfig(
            num_beams=beams,
            max_new_tokens=new,
            do_sample=False,
            eos_token_id=eos,
            pad_token_id=PAD,
        )
        first = torch.full((len(ids), 1), eos)  # stands for the whole instruction
        with torch.no_grad():
            out = Generating(self, ids, mask, beams).generate(  # type: ignore[operator]
                first, generation_config=config, attention_mask=torch.ones_like(first)
            )
        return out[:, 1:]

    def _blocks(self, h: Tensor, mask: Tensor, instruction: Tensor, state: State | None) -> Tensor:
        stream = Stream.of_text(mask)
        for layer in range(self.backbone.dims.num_layers):
            h, stream = self.backbone._grow(layer, h, stream, instruction)
            prefix = self.backbone._prefix(layer, stream.text(h), instruction)
            allowed = stream.attention(h, prefix)
            rotary = self.family.rotary(h, stream.positions(prefix))
            cache = self._cache(prefix, layer, state)
            if state is not None:
                state.soft.append(stream.kept + (prefix.size if prefix else 0))
            h = self.backbone._beside(layer, h, self._block(layer, h, allowed, rotary, cache))
        return self.family.final_norm(stream.text(h))

    @staticmethod
    def _cache(prefix: Prefix | None, layer: int, state: State | None) -> Any:
        if state is None:
            return FixedPrefix(prefix.keys, prefix.values) if prefix else None
        if prefix:
            state.cache.update(prefix.keys, prefix.values, layer)
        return state.cache

    def _block(self, layer: int, h: Tensor, mask: Tensor, rotary: Any, cache: Any) -> Tensor:
        block = self.family.layers[layer]
        name = "layer_past" if self.backbone.dims.family == "gpt_neox" else "past_key_values"
        tables = {} if rotary is None else {"position_embeddings": rotary}
        return block(h, attention_mask=mask, **{name: cache}, **tables)

    @contextmanager
    def _hooked(self) -> Iterator[None]:
        """Inside, what methods do at a module is done by hooks of the module."""

        def hook(module: nn.Module, args: Any, kwargs: Any, out: Any) -> Any:
            x = args[0] if args else kwargs["hidden_states"]
            if isinstance(out, tuple):
                return (self.backbone._act(module, x, out[0]), *out[1:])
            return self.backbone._act(module, x, out)

        handles = [
            module.register_forward_hook(hook, with_kwargs=True)
            for module in self.backbone._actions
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()


class Generating(nn.Module, GenerationMixin):
    """Presents a batch of instructions to `generate` as if each were a single token."""

    main_input_name = "input_ids"
    _is_stateful = False

    def __init__(self, literal: Literal, ids: Tensor, mask: Tensor, beams: int) -> None:
        super().__init__()
        self.config, self.generation_config = literal.model.config, GenerationConfig()
        self._literal, self._ids, self._mask, self._beams = literal, ids, mask, beams

    device = torch.device("cpu")
    dtype = torch.float32

    def can_generate(self) -> bool:
        return True

    def forward(
        self,
        input_ids: Tensor,
        past_key_values: State | None = None,
        attention_mask: Any = None,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        state = past_key_values
        if state is None:
            logits, state = self._literal.prefill(self._ids, self._mask)
            rows = torch.arange(len(logits)).repeat_interleave(self._beams)
            state.reorder_cache(rows)
            logits = logits[rows]
        else:
            logits = self._literal.step(input_ids[:, -1], state)
        return CausalLMOutputWithPast(logits=logits[:, None], past_key_values=state)

    def prepare_inputs_for_generation(self, input_ids: Tensor, **kwargs: Any) -> dict[str, Any]:
        return {"input_ids": input_ids, "past_key_values": kwargs.get("past_key_values")}

    def _prepare_cache_for_generation(self, *args: Any, **kwargs: Any) -> None: ...

    def _optimize_model_for_decode(self) -> AbstractContextManager[None]:
        return nullcontext()


class Uncached(Generating):
    """Reads everything anew for each token, through the engine's own forward pass."""

    def forward(
        self, input_ids: Tensor, attention_mask: Any = None, **kwargs: Any
    ) -> CausalLMOutputWithPast:
        times = len(input_ids) // len(self._ids)
        prompt, mask = (t.repeat_interleave(times, 0) for t in (self._ids, self._mask))
        new = input_ids[:, 1:]
        logits = self._literal.backbone(
            torch.cat([prompt, new], 1),
            torch.cat([mask, torch.ones_like(new, dtype=torch.bool)], 1),
            torch.cat([mask, torch.zeros_like(new, dtype=torch.bool)], 1),
        )
        return CausalLMOutputWithPast(logits=logits[:, -1:])
