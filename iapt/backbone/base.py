"""A frozen decoder, run block by block, that methods extend through five verbs.

    on_linear    (x, y) -> y            at a projection: reparametrise, shift, rescale
    on_sublayer  (x, y) -> y            at "attn" or "ffn", before the residual addition
    on_block     (h_in, h_out) -> h     beside the whole block
    soft_prompt  (h, mask) -> (B, P, D) soft tokens made from the stream entering a block
    kv_prefix    () -> K, V             constant key/value prefix of a block

and `detach`, which undoes them all exactly.  Two facts shape this file.

*A soft token whose output is thrown away is a key/value pair.*  It acts on its block only through
its key and its value, so "concatenate, run the block, drop" (paper, footnote 2) equals adding
``k_proj(norm(p)), v_proj(norm(p))`` to the block's attention.  Tokens that live on through later
blocks (`keep=True`) are really concatenated.

*Rows are right-padded internally.*  They may arrive padded on either side; real tokens are moved to
the front, so that positions are 0..n-1 and "after the first token" is the same column in all rows.

No module stores anything between calls, because two forward passes may precede two backward passes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from iapt.backbone.attention import causal, literal, masked
from iapt.backbone.cache import FixedState, State
from iapt.backbone.dims import PARTS, Dims
from iapt.backbone.family import Family, Rotary, Site
from iapt.backbone.quantized import is_quantized
from iapt.backbone.stream import Prefix, Stream
from iapt.errors import BackboneError
from iapt.tensors import dtype_name

PairFn = Callable[[Tensor, Tensor], Tensor]
PromptFn = Callable[[Tensor, Tensor], Tensor]
PrefixFn = Callable[[], tuple[Tensor, Tensor]]
# The mask, the rotary tables, which soft columns each row has, and the prefix these are for.
Ready = tuple[Tensor | None, Rotary, Tensor | None, Prefix | None]


@dataclass(frozen=True)
class SoftPrompt:
    """The arguments of one call of `Backbone.soft_prompt`."""

    fn: PromptFn
    keep: bool
    after_first: bool
    hide_from_first: bool
    add: bool


class Backbone:
    """A frozen causal language model with five places for a method to act."""

    def __init__(self, family: Family) -> None:
        self.family = family
        self.model = family.model
        self.dims: Dims = family.dims()
        self.checkpointing = False
        self._off = 0
        self.detach()
        self.model.requires_grad_(False)
        self.model.eval()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.model.parameters()).device

    @property
    def dtype_name(self) -> str:
        """Name of the weights' dtype, such as "float32"."""
        return dtype_name(self.model.dtype)

    @property
    def quantized(self) -> bool:
        """Whether the linear maps are stored in 8 or 4 bits, so that they cannot be changed."""
        return is_quantized(self.model)

    # ---------------------------------------------------------------- verbs

    def on_linear(self, layer: int, site: str, fn: PairFn) -> None:
        """Replace the output of a projection: fn(x (B,T,in), y (B,T,out)) -> (B,T,out).

        Raises:
            BackboneError: here as in the other verbs, there is no such place; the message lists those that exist.
        """
        self.dims.check_place(layer, site, self.dims.outputs)
        self._act_at(self.family.site(layer, site), fn)

    def on_sublayer(self, layer: int, part: str, fn: PairFn) -> None:
        """Replace what "attn" or "ffn" adds to the stream: fn(normed input, output) -> (B,T,D)."""
        self.dims.check_place(layer, part, PARTS)
        self._act_at(Site(self.family.sublayer(layer, part)), fn)

    def _act_at(self, place: Site, fn: PairFn) -> None:
        self._actions.setdefault(place.module, []).append((place, fn))

    def on_block(self, layer: int, fn: PairFn) -> None:
        """Replace a block's output: fn(h_in (B,T,D), h_out (B,T,D)) -> (B,T,D)."""
        self.dims.check_place(layer)
        self._block_fns[layer].append(fn)

    def soft_prompt(
        self,
        layer: int,
        fn: PromptFn,
        *,
        keep: bool = False,
        after_first: bool = False,
        hide_from_first: bool = False,
        add: bool = False,
    ) -> None:
        """Put P soft tokens in front of the text at a block.

        Args:
            layer: 0-based block; `fn` sees the stream that enters it.
            fn: (text stream (B,T,D), instruction mask (B,T)) -> soft tokens (B,P,D).  Called once
                per full sequence (training, prefill), never while decoding.
            keep: keep the soft tokens in the stream for all later blocks; otherwise only this block
                sees them.
            after_first: with `keep`, insert them after the first real token (BOS), not before it.
            hide_from_first: without `keep`, hide them from the first real token.  Decoders use it
                as an attention sink, which seeing the prompt would disturb.
            add: with `keep`, add what `fn` returns to the soft tokens already in the stream,
                instead of inserting new ones.

        Raises:
            BackboneError: without `keep`, this block already has such a prompt or a prefix.
        """
        self.dims.check_place(layer)
        if not keep:
            self._refuse_second(layer)
        self._prompts[layer].append(SoftPrompt(fn, keep, after_first, hide_from_first, add))

    def kv_prefix(self, layer: int, fn: PrefixFn) -> None:
        """Give a block constant keys and values: fn() -> two tensors (H_kv, P, K), not rotated.

        Raises:
            BackboneError: this block already has a prefix, or a soft prompt without `keep`.
        """
        self.dims.check_place(layer)
        self._refuse_second(layer)
        self._prefixes[layer] = fn

    def _refuse_second(self, layer: int) -> None:
        if self._prefixes[layer] or any(not prompt.keep for prompt in self._prompts[layer]):
            raise BackboneError(
                f"block {layer} already has a prompt or a prefix; attach one such method at a time."
            )

    def detach(self) -> None:
        """Undo every verb: afterwards the backbone is exactly the bare model."""
        self._actions: dict[nn.Module, list[tuple[Site, PairFn]]] = {}
        layers = range(self.dims.num_layers)
        self._block_fns: list[list[PairFn]] = [[] for _ in layers]
        self._prompts: list[list[SoftPrompt]] = [[] for _ in layers]
        self._prefixes: list[PrefixFn | None] = [None for _ in layers]

    def idle(self) -> bool:
        """Return whether no verb has been called."""
        front = any(self._prompts) or any(fn is not None for fn in self._prefixes)
        return not (self._actions or any(self._block_fns) or front)

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """Run the bare model inside this context; contexts may be nested."""
        self._off += 1
        try:
            yield
        finally:
            self._off -= 1

    @property
    def is_disabled(self) -> bool:
        """Whether this is inside `disabled`."""
        return self._off > 0

    # ---------------------------------------------------------------- running

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        instruction_mask: Tensor | None = None,
        *,
        select: Tensor | None = None,
    ) -> Tensor:
        """Return the logits of whole sequences (training, scoring).

        Args:
            input_ids: (B, T) tokens, padded on either side.
            attention_mask: (B, T), 1 on real tokens; all are real by default.
            instruction_mask: (B, T), true on the instruction's tokens, the only ones that soft-prompt
                generators may see (never the response); every real token by default.
            select: (B, T) bool, the positions to apply the language-model head to; all by default.

        Returns:
            (B, T, V), or (N, V) for the N selected positions in row-major order.

        Raises:
            BackboneError: a row or its instruction is empty, or a row exceeds the backbone's positions.
        """
        mask, order = _to_the_front(input_ids, attention_mask)
        instruction = mask if instruction_mask is None else instruction_mask.gather(1, order).bool()
        text = self._run(input_ids.gather(1, order), mask, instruction & mask, None)
        text = text.gather(1, order.argsort(1)[..., None].expand_as(text))
        return self.family.head(text if select is None else text[select])

    def prefill(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        *,
        beams: int = 1,
        room: int = 16,
        fixed: bool = False,
    ) -> tuple[Tensor, State]:
        """Read whole instructions, each once.

        Args:
            input_ids: (B, T), padded on either side.
            attention_mask: (B, T), 1 on real tokens; all are real by default.
            beams: how many continuations of each row to decode side by side.
            room: how many generated tokens to allocate columns for; doubled when it is used up.
            fixed: keep the shapes of all steps the same (`FixedState`), so `room` never grows.

        Returns:
            Next-token logits (B, V) and the decoding state.
        """
        mask, order = _to_the_front(input_ids, attention_mask)
        state = (FixedState if fixed else State)(mask, mask.sum(1), beams, room)
        text = self._run(input_ids.gather(1, order), mask, mask, state)
        last = text[torch.arange(len(text), device=text.device), state.lengths - 1]
        return self.family.head(last), state

    def step(self, tokens: Tensor, state: State) -> Tensor:
        """Feed one token per beam (B * beams,) and advance `state`; return next-token logits (B * beams, V)."""
        h = self.family.embed(
            tokens[:, None], state.lengths.repeat_interleave(state.beams)[:, None]
        )
        state.advance()
        tables: dict[tuple[int, int], Rotary] = {}
        for layer in range(self.dims.num_layers):
            key = (state.widths[layer], id(state.soft[layer]))
            if key not in tables:  # blocks with the same columns share one table
                tables[key] = self.family.rotary(h, state.positions(layer))

            def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float) -> Tensor:
                return state.attend(layer, q, k, v, scale)  # noqa: B023  # called immediately

            out = self.family.block(layer, h, tables[key], attend, self._act)
            h = self._beside(layer, h, out)
        state.lengths.add_(1)
        return self.family.head(self.family.final_norm(h[:, 0]))

    def final_states(self, h: Tensor, mask: Tensor) -> Tensor:
        """Run the bare model without gradients: right-padded embeddings (B,T,D) -> final-norm states (B,T,D)."""
        with torch.no_grad(), self.disabled():
            return self._blocks(h, mask, mask, None)

    def train(self, mode: bool = True) -> None:
        """Switch the backbone's own dropout on or off (weights stay frozen)."""
        self.model.train(mode)

    # ---------------------------------------------------------------- inside

    def _run(self, ids: Tensor, mask: Tensor, instruction: Tensor, state: State | None) -> Tensor:
        if not bool(mask.any(1).all()):
            raise BackboneError(
                "a row of the batch has no real token; attention_mask needs at least one 1 per row."
            )
        if any(self._prompts) and not self._off and not bool(instruction.any(1).all()):
            raise BackboneError(
                "a row of the batch has an empty instruction; soft prompts are made from instructions."
            )
        longest = int(mask.sum(1).max())
        if longest > self.dims.max_positions:
            raise BackboneError(
                f"a sequence of {longest} tokens exceeds the backbone's {self.dims.max_positions} positions; "
                "lower hparams.max_length."
            )
        positions = torch.arange(ids.shape[1], device=ids.device).clamp(
            max=self.dims.max_positions - 1
        )[None]
        h = self.family.embed(ids, positions)
        return self._blocks(h, mask, instruction, state)

    def _blocks(self, h: Tensor, mask: Tensor, instruction: Tensor, state: State | None) -> Tensor:
        """Run all blocks over right-padded rows, then the final norm at the text positions."""
        self.family.linear.refresh()
        ready: dict[tuple[int, ...], Ready] = {}

        def block(layer: int, h: Tensor, stream: Stream) -> Tensor:
            prefix = self._prefix(layer, stream.text(h), instruction)
            own = (prefix.size, id(prefix.present), id(prefix.hidden)) if prefix else ()
            key = (stream.kept, *own)
            if key not in ready:
                plain = stream.plainly_causal(prefix) and not self._eager
                mask = None if plain else stream.attention(h, prefix)
                rotary = self.family.rotary(h, stream.positions(prefix))
                soft = None if state is None else stream.soft_columns(prefix)
                ready[key] = mask, rotary, soft, prefix  # kept alive, so that its ids stay unique
            mask, rotary, soft, _ = ready[key]

            def attend(q: Tensor, k: Tensor, v: Tensor, scale: float, dropout: float) -> Tensor:
                if prefix:
                    k = torch.cat([prefix.keys, k], dim=2)
                    v = torch.cat([prefix.values, v], dim=2)
                if state is not None:
                    state.store(k, v, soft)
                if mask is None:
                    return causal(q, k, v, scale, dropout, bool(prefix and prefix.hidden))
                return (literal if self._eager else masked)(q, k, v, scale, dropout, mask)

            return self._beside(layer, h, self.family.block(layer, h, rotary, attend, self._act))

        stream = Stream.of_text(mask)
        for layer in range(self.dims.num_layers):
            h, stream = self._grow(layer, h, stream, instruction)
            if self.checkpointing and state is None and torch.is_grad_enabled():
                h = checkpoint(block, layer, h, stream, use_reentrant=False)
            else:
                h = block(layer, h, stream)
        return self.family.final_norm(stream.text(h))

    def _grow(
        self, layer: int, h: Tensor, stream: Stream, instruction: Tensor
    ) -> tuple[Tensor, Stream]:
        """Insert a block's kept soft tokens into the stream, or add to those already there."""
        for prompt in [] if self._off else self._prompts[layer]:
            if not prompt.keep:
                continue
            soft = prompt.fn(stream.text(h), instruction).to(h.dtype)
            if prompt.add:
                h = torch.cat([h[:, : stream.kept] + soft, stream.text(h)], dim=1)
            elif stream.kept:
                raise BackboneError(
                    "two methods keep soft tokens in the stream; attach one at a time."
                )
            else:
                h, stream = stream.insert(h, soft, int(prompt.after_first))
        return h, stream

    def _prefix(self, layer: int, text: Tensor, instruction: Tensor) -> Prefix | None:
        """Return what only this block sees in front of the text."""
        if self._off:
            return None
        fixed = self._prefixes[layer]
        if fixed is not None:
            return Prefix(*(t.to(text.dtype).expand(len(text), *t.shape[-3:]) for t in fixed()))
        for prompt in self._prompts[layer]:
            if not prompt.keep:
                soft = prompt.fn(text, instruction).to(text.dtype)  # (B, P, D)
                where = torch.arange(soft.shape[1], device=soft.device)[None]
                rotary = self.family.rotary(soft, where)
                normed = self.family.ln1(layer)(soft)
                pair = self.family.keys_values(layer, normed, rotary, self._act)
                return Prefix(*pair, hidden=prompt.hide_from_first)
        return None

    @property
    def _eager(self) -> bool:
        return str(self.model.config._attn_implementation) == "eager"

    def _act(self, module: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        """Apply the methods' functions to a module's output."""
        for place, fn in () if self._off else self._actions.get(module, ()):
            y = place.put(y, fn(x, place.take(y)).to(y.dtype))
        return y

    def _beside(self, layer: int, h: Tensor, out: Tensor) -> Tensor:
        for fn in [] if self._off else self._block_fns[layer]:
            out = fn(h, out).to(out.dtype)
        return out


def _to_the_front(input_ids: Tensor, attention_mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the mask with real tokens moved to the front, and the column order that moves them, both (B, T)."""
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    order = torch.sort((~mask.bool()).to(torch.int8), dim=1, stable=True).indices
    return mask.bool().gather(1, order), order
