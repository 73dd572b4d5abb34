"""What `iapt-bench` times: our decoding and training, and other libraries doing the same work."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor

from iapt.backbone.base import Backbone
from iapt.inference.efficiency import Turn, timed
from iapt.inference.generate import decode_batch
from iapt.inference.peers import peft_lora, trainer_seconds
from iapt.methods.base import Method
from iapt.methods.merge import Mergeable, merge, unmerge
from iapt.methods.searched import Searched, pending_search
from iapt.training.hparams import HParams
from iapt.training.state import Run
from iapt.training.step import Data

PEER_GENERATE = "transformers generate"
PEER_PEFT = "transformers generate, peft LoRA"
PEER_TRAINER = "transformers Trainer, peft LoRA"
NEVER = 10**9


def decoding(
    backbone: Backbone,
    methods: Mapping[str, Callable[[], Method]],
    ids: Tensor,
    eos_token_id: int,
    pad_token_id: int,
    num_beams: int,
    *,
    merged: bool = False,
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
        if merged and isinstance(method, Mergeable):
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


def training(
    backbone: Backbone,
    methods: Mapping[str, tuple[Callable[[], Method], HParams]],
    data: Data,
    batch_size: int,
    steps: int,
) -> dict[str, Callable[[], float]]:
    """Return functions that run optimizer steps on the same rows and return seconds per step.

    A method with architecture parameters appears twice: with steps of its weights only, and with a step
    of those parameters before each.  A method that searches is timed after its search.

    Args:
        backbone: frozen; left detached.
        methods: name -> (a function that makes it, its hyperparameters).
        data: `batch_size * steps` training examples.
        batch_size: examples per optimizer step.
        steps: timed steps, which follow one untimed step.
    """

    def ours(make: Callable[[], Method], hparams: HParams, arch_every: int) -> float:
        method = make().to(backbone.device)
        if isinstance(method, Searched):
            method.end_search()
        backbone.detach()
        method.attach(backbone)
        numbers = replace(
            hparams, batch_size=batch_size, max_steps=steps + 1, max_epochs=2, arch_every=arch_every
        )
        run = Run(backbone, method, data, data, numbers, 0)
        run.one_step()
        seconds, _ = timed(lambda: [run.one_step() for _ in range(steps)], backbone.device)
        backbone.detach()
        return seconds / steps

    def peer() -> float:
        order: list[Sequence[int]] = [
            [i % len(data.examples) for i in range(k * batch_size, (k + 1) * batch_size)]
            for k in range(steps + 1)
        ]
        return trainer_seconds(backbone, [data.batch(indices) for indices in order])

    found: dict[str, Callable[[], float]] = {}
    for name, (make, hparams) in methods.items():
        found[name] = lambda make=make, hparams=hparams: ours(make, hparams, NEVER)  # type: ignore[misc]
        one = make()
        if one.arch_parameters() and not pending_search(one):
            found[f"{name}, and a Θ step each"] = lambda make=make, hparams=hparams: ours(  # type: ignore[misc]
                make, hparams, 1
            )
    found[PEER_TRAINER] = peer
    return found
