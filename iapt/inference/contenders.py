"""What `iapt-bench` times: our decoding, and other libraries doing the same work."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.inference.efficiency import Turn
from iapt.inference.generate import decode_batch
from iapt.inference.peers import peft_lora
from iapt.methods.base import Method
from iapt.methods.merge import Mergeable, merge, unmerge

PEER_GENERATE = "transformers generate"
PEER_PEFT = "transformers generate, peft LoRA"


def decoding(
    backbone: Backbone,
    methods: Mapping[str, Callable[[], Method]],
    ids: Tensor,
    eos_token_id: int,
    pad_token_id: int,
    num_beams: int,
    *,
    merged: bool = False,
    recorded: bool = False,
) -> dict[str, Callable[[], Turn]]:
    """Return functions that decode a number of tokens: ours bare and with each method, and two peers.

    Args:
        backbone: frozen; left detached.
        methods: name -> a function that makes the method, called once and outside the timed part.
        ids: (1, T) the instruction.
        eos_token_id: suppressed, so that all generate the same number of tokens.
        pad_token_id: padding.
        num_beams: beam size.
        merged: also time every method that can be merged, merged.
        recorded: our steps keep their shapes, and a GPU replays them as a CUDA graph.
    """
    mask = torch.ones_like(ids)

    def ours(new: int) -> None:
        decode_batch(
            backbone,
            ids,
            mask,
            num_beams=num_beams,
            max_new_tokens=new,
            min_new_tokens=new,
            eos_token_id=eos_token_id,
            pad_token_id=pad_token_id,
            recorded=recorded,
        )

    def settle() -> None:
        """Read a few tokens, so that what is made once per change of weights (packing) is not timed."""
        with torch.no_grad():
            backbone.prefill(ids[:, :4], beams=num_beams)

    @contextmanager
    def bare() -> Iterator[Callable[[int], object]]:
        backbone.detach()
        settle()
        yield ours

    def attached(method: Method) -> Callable[[], Turn]:
        @contextmanager
        def turn() -> Iterator[Callable[[int], object]]:
            backbone.detach()
            method.attach(backbone)
            settle()
            yield ours
            backbone.detach()

        return turn

    def folded(method: Method) -> Callable[[], Turn]:
        @contextmanager
        def turn() -> Iterator[Callable[[int], object]]:
            merge(method, backbone)
            settle()
            try:
                yield ours
            finally:
                unmerge(method, backbone)
                backbone.detach()

        return turn

    made = {name: make().to(backbone.device).eval() for name, make in methods.items()}
    found: dict[str, Callable[[], Turn]] = {"bare": bare}
    for name, method in made.items():
        if merged and isinstance(method, Mergeable) and not backbone.quantized:
            found[f"{name}, merged"] = folded(method)
        found[name] = attached(method)

    @torch.no_grad()
    def generate(model: torch.nn.Module, new: int) -> None:
        model.generate(  # type: ignore[operator]
            input_ids=ids, attention_mask=mask, do_sample=False, pad_token_id=pad_token_id,
            num_beams=num_beams, max_new_tokens=new, min_new_tokens=new,
        )  # fmt: skip

    @contextmanager
    def peer() -> Iterator[Callable[[int], object]]:
        backbone.detach()
        yield lambda new: generate(backbone.model, new)

    @contextmanager
    def peft() -> Iterator[Callable[[int], object]]:
        with peft_lora(backbone) as model:
            model.eval()
            yield lambda new: generate(model, new)

    return {**found, PEER_GENERATE: peer, PEER_PEFT: peft}
