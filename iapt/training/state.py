"""The state of a training run: one step, evaluation, saving and resuming.

A checkpoint has everything that determines the rest of a run, so a run that is killed at any point and
restarted gives the same bits as an uninterrupted one.
"""

import random
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from iapt.backbone import processes
from iapt.backbone.base import Backbone
from iapt.data.batches import PADDING_ON_CPU, Budget, Sampler
from iapt.methods.base import Method, Progress, trained
from iapt.methods.searched import Searched, Structured, adopt
from iapt.tensors import write_sealed
from iapt.training import checkpoint
from iapt.training.hparams import HParams
from iapt.training.second_order import unrolled_arch_step
from iapt.training.step import Data, Optimizer, arch_step, evaluate, weight_step

HELD_OUT = 0.1  # share of the training set that feeds Θ with hparams.arch_data=train_split


@dataclass
class History:
    """The part of a run's state without tensors."""

    step: int = 0
    best_step: int = -1
    best_loss: float = float("inf")
    best_accuracy: float = 0.0
    without_gain: int = 0
    finished: bool = False
    curve: list[dict[str, float]] = field(default_factory=list)
    train_seconds: float = 0.0
    eval_seconds: float = 0.0
    trained_tokens: int = 0
    search_steps: int = 0
    search_seconds: float = 0.0


class Run:
    """One training run: the objects whose state a checkpoint saves.

    `held_out` is the share of the training set that feeds Θ with hparams.arch_data=train_split, `order` the
    order of Θ's gradient.
    """

    def __init__(
        self,
        backbone: Backbone,
        method: Method,
        train: Data,
        dev: Data,
        hparams: HParams,
        seed: int,
        held_out: float = HELD_OUT,
        order: int = 1,
    ) -> None:
        self.backbone, self.method, self.hparams, self.dev = backbone, method, hparams, dev
        self.full_train, self.seed, self.held_out, self.order = train, seed, held_out, order
        padding = PADDING_ON_CPU if backbone.device.type == "cpu" else None
        self.budget = Budget(hparams.batch_tokens, "hparams.batch_tokens", padding)
        self.eval_budget = Budget(hparams.eval_batch_tokens, "hparams.eval_batch_tokens")
        self.prepare()

    def prepare(self) -> None:
        """Make samplers and optimizers for the method's current parameters, and start at step 0."""
        method, hparams, seed = self.method, self.hparams, self.seed
        train, outer = self.full_train, self.dev
        arch = method.arch_parameters()
        if arch and hparams.arch_data == "train_split":
            train, outer = _split(train, self.held_out, seed)
        self.train, self.outer = train, outer
        size = hparams.batch_size_for(len(train.examples))
        self.total_steps = hparams.steps_for(len(train.examples))
        self.sampler = Sampler(train.sizes, size, seed)
        self.outer_sampler = Sampler(outer.sizes, size, seed + 1)
        self.eval_every = min(hparams.eval_every, self.sampler.batches_per_epoch)
        ids = {id(p) for p in arch}
        parts: tuple[list[tuple[str, nn.Parameter]], ...] = ([], [])
        for name, p in trained(method).items():
            parts[id(p) in ids].append((name, p))
        self.weights = Optimizer(parts[0], hparams.lr, hparams, self.total_steps)
        steps = -(-self.total_steps // hparams.arch_every)
        undecayed = replace(hparams, weight_decay=0.0)  # Θ is never pulled to 0, where R(s) is 0
        self.arch = Optimizer(parts[1], hparams.arch_lr, undecayed, steps) if arch else None
        self.history = History()
        self.best: dict[str, Tensor] = {}

    def one_step(self) -> float:
        """Run one optimizer step (and the Θ step before it); returns the training loss."""
        self.backbone.train(True)
        self.method.train()
        batch = next(self.sampler)
        if self.arch and self.history.step % self.hparams.arch_every == 0:
            self.step_arch(batch)
        return self.step_weights(batch)

    def step_arch(self, batch: list[int]) -> None:
        """Step Θ on the next batch of the outer data; `batch` is the one that the weights step on afterwards."""
        assert self.arch
        if isinstance(self.method, Searched):
            self.method.on_arch_step_start(self._progress)
        outer = self.outer, next(self.outer_sampler)
        if self.order == 2:
            inner = self.train, batch
            unrolled_arch_step(self.backbone, self.method, outer, inner, self.weights, self.budget)
        else:
            arch_step(self.backbone, self.method, *outer, self.budget)
        self.arch.apply()
        self.arch.zero()

    def step_weights(self, batch: list[int]) -> float:
        """Step Ω on a batch; returns its loss."""
        progress = self._progress
        self.method.on_step_start(progress)
        loss = weight_step(self.backbone, self.method, self.train, batch, self.budget)
        self.weights.apply()
        self.method.on_step_end(progress)
        self.weights.zero()
        self.history.step += 1
        self.history.trained_tokens += sum(self.train.sizes[i] for i in batch)
        return loss

    @property
    def _progress(self) -> Progress:
        return Progress(self.history.step + 1, self.total_steps)

    @property
    def is_due(self) -> bool:
        """Whether the current step still needs its evaluation."""
        h = self.history
        measured = bool(h.curve) and h.curve[-1]["step"] == h.step
        return not measured and (h.step % self.eval_every == 0 or h.step == self.total_steps)

    def evaluate(self, stopped: Callable[[], bool] = lambda: False) -> dict[str, float] | None:
        """Evaluate on dev, keep the best state, count patience; if `stopped`, changes nothing and returns None."""
        h = self.history
        processes.check_same(self.method.state_dict())
        found = evaluate(self.backbone, self.method, self.dev, self.eval_budget, stopped)
        if found is None:
            return None
        loss, accuracy = found
        point = {"step": h.step, "loss": loss, "accuracy": accuracy}
        h.curve.append(point)
        now, method = Progress(h.step, self.total_steps), self.method
        if h.step > 0 and (not isinstance(method, Structured) or method.ready(now)):
            if loss < h.best_loss:
                h.best_step, h.best_loss, h.best_accuracy = h.step, loss, accuracy
                h.without_gain = 0
                self.best = {k: v.detach().clone() for k, v in method.state_dict().items()}
            else:
                h.without_gain += 1
        h.finished = h.step >= self.total_steps or h.without_gain >= self.hparams.patience
        return point

    def save(self, path: Path, identity: str) -> None:
        """Write the checkpoint, from the first process only: all would write the same."""
        if not processes.first():
            return
        tensors = {f"method.{k}": v for k, v in self.method.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        tensors["rng.torch"] = torch.get_rng_state()
        if self.backbone.device.type == "cuda":
            tensors["rng.cuda"] = torch.cuda.get_rng_state(self.backbone.device)
        state: dict[str, Any] = {"identity": identity, "history": asdict(self.history)}
        state["samplers"] = [self.sampler.position, self.outer_sampler.position]
        for name, optimizer in (("weights", self.weights), ("arch", self.arch)):
            if optimizer:
                more, rest = checkpoint.optimizer_tensors(f"adamw.{name}", optimizer.adamw)
                tensors |= more
                schedule = optimizer.schedule.state_dict()  # whose functions have no JSON form
                nothing = [None] * len(schedule["base_lrs"])
                state[name] = rest | {"schedule": schedule | {"lr_lambdas": nothing}}
        write_sealed(path, tensors, state)

    def resume(self, path: Path, identity: str) -> None:
        """Continue from a checkpoint of the same run.

        Raises:
            TrainingError: the file belongs to another configuration, or is damaged.
        """
        tensors, state = checkpoint.read_checkpoint(path, identity)
        try:
            self._restore(tensors, state)
        # What another version of iapt sealed may lack a name or have another shape.
        except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            fault = f"{path} does not fit this run ({type(error).__name__})"
            raise checkpoint.unusable(fault) from error

    def _restore(self, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
        def part(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        adopt(self.method, part("method."))
        self.prepare()
        self.method.load_state_dict(part("method."))
        device = self.backbone.device
        self.best = {k: v.to(device) for k, v in part("best.").items()}
        for name, optimizer in (("weights", self.weights), ("arch", self.arch)):
            if optimizer:
                saved = state[name]
                checkpoint.restore_optimizer(f"adamw.{name}", optimizer.adamw, tensors, saved)
                optimizer.schedule.load_state_dict(state[name]["schedule"])
        self.sampler.position, self.outer_sampler.position = state["samplers"]
        self.history = History(**state["history"])
        torch.set_rng_state(tensors["rng.torch"])
        if "rng.cuda" in tensors and device.type == "cuda":
            torch.cuda.set_rng_state(tensors["rng.cuda"], device)


def _split(data: Data, share: float, seed: int) -> tuple[Data, Data]:
    """Split off a random share of the examples; returns (the rest, the share), both in order."""
    count = len(data.examples)
    order = random.Random(f"{seed}/arch_data").sample(range(count), count)
    cut = max(1, int(share * count))
    rest, apart = (
        Data([data.examples[i] for i in sorted(part)], data.pad_token_id, data.eos_token_id)
        for part in (order[cut:], order[:cut])
    )
    return rest, apart
