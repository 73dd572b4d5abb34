"""What `iapt-bench what=train` times: optimizer steps of our methods, and of Trainer over peft, on the same rows."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch

from iapt.backbone.base import Backbone
from iapt.data.batches import Sampler
from iapt.inference.efficiency import seconds_of
from iapt.inference.peers import losses_of_both, trainer_seconds
from iapt.inference.products import products_of_rows
from iapt.methods.base import Method
from iapt.methods.peft_format import PeftCompatible
from iapt.methods.searched import Searched, pending_search
from iapt.training.hparams import HParams
from iapt.training.state import Run
from iapt.training.step import Data, response, weight_parameters

PEER_RANDOM = "Trainer, peft LoRA, random batches"
PEER_GROUPED = "Trainer, peft LoRA, batches of similar length"
THETA = ", Θ step"
NEVER = 10**9
SEED = 0


@dataclass(frozen=True)
class Learner:
    """Something that takes optimizer steps.

    Attributes:
        seconds: takes the steps that visit every row once, after an untimed one on two short rows, and returns
            their seconds.
        products: returns the operations of the matrix products of these steps, padding apart; None for a peer.
    """

    seconds: Callable[[], float]
    products: Callable[[], int] | None = None


Made = tuple[Callable[[], Method], HParams]


def learners(
    backbone: Backbone, methods: Mapping[str, Made], data: Data, batch_size: int
) -> dict[str, Learner]:
    """Return our methods by name, with a method's Θ steps as a separate entry.

    A method that searches is timed after its search.

    Args:
        backbone: frozen; left detached.
        methods: name -> (a function that makes it, its hyperparameters).
        data: the rows, which all learners visit.
        batch_size: rows of an optimizer step.
    """
    found: dict[str, Learner] = {}
    for name, (make, hparams) in methods.items():
        found[name] = _ours(backbone, make, hparams, data, batch_size, theta=False)
        one = make()
        if one.arch_parameters() and not pending_search(one):
            found[name + THETA] = _ours(backbone, make, hparams, data, batch_size, theta=True)
    return found


def peers(backbone: Backbone, data: Data, batch_size: int, *, grouped: bool) -> Learner:
    """Return transformers' Trainer over a peft LoRA.

    Args:
        backbone: whose weights it uses.
        data: the rows.
        batch_size: rows of an optimizer step; a batch is padded to its longest row.
        grouped: rows of similar length share a batch, as in our own steps; otherwise, batches are random.
    """
    if grouped:
        sampler = Sampler(data.sizes, batch_size, SEED)
        order = list(islice(sampler, sampler.batches_per_epoch))
    else:
        rows = random.Random(SEED).sample(range(len(data.examples)), len(data.examples))
        order = [rows[i : i + batch_size] for i in range(0, len(rows), batch_size)]

    def seconds() -> float:
        return trainer_seconds(backbone, [data.batch(i) for i in (_short(data), *order)])

    return Learner(seconds)


def same_losses(
    backbone: Backbone, methods: Mapping[str, Made], data: Data, rows: int = 4
) -> dict[str, tuple[float, float]]:
    """Return the losses (ours, peft's) of the same rows and parameters, for the methods that peft has."""
    some = Data(data.examples[:rows], data.pad_token_id, data.eos_token_id)
    made = {name: make().to(backbone.device) for name, (make, _) in methods.items()}
    return {
        name: losses_of_both(backbone, method, some)
        for name, method in made.items()
        if isinstance(method, PeftCompatible)
    }


def _ours(
    backbone: Backbone,
    make: Callable[[], Method],
    hparams: HParams,
    data: Data,
    batch_size: int,
    *,
    theta: bool,
) -> Learner:
    steps = -(-len(data.examples) // batch_size)
    numbers = replace(
        hparams, batch_size=batch_size, max_steps=steps, arch_every=NEVER, arch_data="dev"
    )

    def attached() -> Run:
        method = make().to(backbone.device)
        if isinstance(method, Searched):
            method.end_search()
        backbone.detach()
        method.attach(backbone)
        return Run(backbone, method, data, data, numbers, SEED)

    def one_pass(run: Run, rows: Sequence[int]) -> None:
        """Go forward and backward without taking a step."""
        trained = run.method.arch_parameters() if theta else weight_parameters(run.method)
        run.backbone.train(True)
        run.method.train()
        out = response(backbone, data.batch(rows).to(backbone.device), data.eos_token_id)
        torch.autograd.grad(out.loss, trained, allow_unused=True)

    def seconds() -> float:
        run = attached()
        one_pass(run, _short(data))
        step = run.step_arch if theta else run.step_weights
        batches = list(islice(run.sampler, steps))
        taken = seconds_of(lambda: [step(batch) for batch in batches], backbone.device)
        backbone.detach()
        return taken

    def products() -> int:
        run = attached()
        found = products_of_rows(data, lambda rows: one_pass(run, rows))
        backbone.detach()
        return found

    return Learner(seconds, products)


def _short(data: Data) -> list[int]:
    """Return the two shortest rows."""
    return sorted(range(len(data.examples)), key=data.sizes.__getitem__)[:2]
