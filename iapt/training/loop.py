"""The training loop of Appendix F: evaluate, keep the best dev checkpoint, stop early, resume.

Everything a run's future depends on is in its checkpoint, so a run killed anywhere and started
again gives the same bits as one left alone.
"""

import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from iapt.backbone.base import Backbone
from iapt.data.batches import Sampler
from iapt.errors import TrainingError
from iapt.methods.base import Method, Progress
from iapt.training.checkpoint import (
    optimizer_tensors,
    read_tensors,
    restore_optimizer,
    write_tensors,
)
from iapt.training.hparams import HParams
from iapt.training.second_order import unrolled_arch_step
from iapt.training.step import Data, Optimizer, arch_step, evaluate, weight_step

HELD_OUT = 0.1  # share of the training set that feeds Θ with hparams.arch_data=train_split


class Logger(Protocol):
    """Where numbers go while training."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Record values of one step."""


@dataclass
class History:
    """The part of a run's state that is not tensors."""

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
    """One training run: the objects whose state a checkpoint holds.

    `held_out` is the share of the training set that feeds Θ with hparams.arch_data=train_split, `order`
    that of Θ's gradient.
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
        self.prepare()

    def prepare(self) -> None:
        """Samplers and optimizers for the parameters that the method has now; nothing done so far."""
        method, hparams, seed, train, outer = (
            self.method,
            self.hparams,
            self.seed,
            self.full_train,
            self.dev,
        )
        arch = method.arch_parameters()
        if arch and hparams.arch_data == "train_split":
            order = random.Random(f"{seed}/arch_data").sample(
                range(len(train.examples)), len(train.examples)
            )
            cut = max(1, int(self.held_out * len(order)))
            outer = Data(
                [train.examples[i] for i in sorted(order[:cut])],
                train.pad_token_id,
                train.eos_token_id,
            )
            train = Data(
                [train.examples[i] for i in sorted(order[cut:])],
                train.pad_token_id,
                train.eos_token_id,
            )
        self.train, self.outer = train, outer
        size = hparams.batch_size_for(len(train.examples))
        self.total_steps = hparams.steps_for(len(train.examples))
        self.sampler = Sampler(train.sizes, size, seed)
        self.outer_sampler = Sampler(outer.sizes, size, seed + 1)
        self.eval_every = min(hparams.eval_every, self.sampler.batches_per_epoch)
        ids = {id(p) for p in arch}
        named = list(method.named_parameters())
        self.weights = Optimizer(
            [(n, p) for n, p in named if id(p) not in ids], hparams.lr, hparams, self.total_steps
        )
        self.arch = (
            Optimizer(
                [(n, p) for n, p in named if id(p) in ids],
                hparams.arch_lr,
                hparams,
                -(-self.total_steps // hparams.arch_every),
            )
            if arch
            else None
        )
        self.history = History()
        self.best: dict[str, Tensor] = {}

    def one_step(self) -> float:
        """One optimizer step (and the Θ step before it); returns the training loss."""
        progress = Progress(self.history.step + 1, self.total_steps)
        self.backbone.train(True)
        self.method.train()
        batch = next(self.sampler)
        if self.arch and self.history.step % self.hparams.arch_every == 0:
            self.method.on_arch_step_start(progress)
            backbone, outer = self.backbone, (self.outer, next(self.outer_sampler))
            if self.order == 2:
                unrolled_arch_step(
                    backbone,
                    self.method,
                    outer,
                    (self.train, batch),
                    self.weights,
                    self.hparams.batch_tokens,
                )
            else:
                arch_step(backbone, self.method, *outer, self.hparams.batch_tokens)
            self.arch.apply()
            self.arch.zero()
        self.method.on_step_start(progress)
        loss = weight_step(self.backbone, self.method, self.train, batch, self.hparams.batch_tokens)
        self.weights.apply()
        self.method.on_step_end(progress)
        self.weights.zero()
        self.history.step += 1
        self.history.trained_tokens += sum(self.train.sizes[i] for i in batch)
        return loss

    def evaluate(self) -> dict[str, float]:
        """Measure the dev set, remember the best state, count patience."""
        h = self.history
        loss, accuracy = evaluate(
            self.backbone, self.method, self.dev, self.hparams.eval_batch_tokens
        )
        point = {"step": h.step, "loss": loss, "accuracy": accuracy}
        h.curve.append(point)
        if h.step > 0 and self.method.ready(Progress(h.step, self.total_steps)):
            if loss < h.best_loss:
                h.best_step, h.best_loss, h.best_accuracy, h.without_gain = (
                    h.step,
                    loss,
                    accuracy,
                    0,
                )
                self.best = {k: v.detach().clone() for k, v in self.method.state_dict().items()}
            else:
                h.without_gain += 1
        h.finished = h.step >= self.total_steps or h.without_gain >= self.hparams.patience
        return point

    def save(self, path: Path, identity: str) -> None:
        """Write the checkpoint."""
        tensors = {f"method.{k}": v for k, v in self.method.state_dict().items()}
        tensors |= {f"best.{k}": v for k, v in self.best.items()}
        tensors["rng.torch"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        state: dict[str, Any] = {"identity": identity, "history": asdict(self.history)}
        state["samplers"] = [self.sampler.position, self.outer_sampler.position]
        for name, optimizer in (("weights", self.weights), ("arch", self.arch)):
            if optimizer:
                more, rest = optimizer_tensors(f"adamw.{name}", optimizer.adamw)
                tensors |= more
                state[name] = rest | {"schedule": _plain(optimizer.schedule.state_dict())}
        write_tensors(path, tensors, state)

    def resume(self, path: Path, identity: str) -> None:
        """Continue from a checkpoint of the same run.

        Raises:
            TrainingError: it belongs to another configuration, or is damaged.
        """
        tensors, state = read_tensors(path)
        if state["identity"] != identity:
            raise TrainingError(
                f"{path} belongs to another configuration; delete it to start this run afresh."
            )

        def part(prefix: str) -> dict[str, Tensor]:
            return {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}

        self.method.adopt(part("method."))
        self.prepare()
        self.method.load_state_dict(part("method."))
        device = self.backbone.device
        self.best = {k: v.to(device) for k, v in part("best.").items()}
        for name, optimizer in (("weights", self.weights), ("arch", self.arch)):
            if optimizer:
                restore_optimizer(f"adamw.{name}", optimizer.adamw, tensors, state[name])
                optimizer.schedule.load_state_dict(state[name]["schedule"])
        self.sampler.position, self.outer_sampler.position = state["samplers"]
        self.history = History(**state["history"])
        torch.set_rng_state(tensors["rng.torch"])
        if "rng.cuda" in tensors and torch.cuda.is_available():
            torch.cuda.set_rng_state(tensors["rng.cuda"])


def train(
    run: Run,
    checkpoint: Path,
    identity: str,
    logger: Logger,
    say: Callable[[str], None] = print,
) -> History:
    """Train to the end, from the checkpoint if there is one; leaves the best weights in the method.

    A method that asks for a search gets it first; what was found lies beside the checkpoint.

    Args:
        run: what to train.
        checkpoint: file to resume from and to write to.
        identity: hash of the configuration; a checkpoint of another is refused.
        logger: gets losses, rates and dev measurements.
        say: prints one line.

    Returns:
        The history, with the dev curve and the best step.
    """
    if run.method.search is not None and not checkpoint.exists():
        before = checkpoint.with_name("search.safetensors")
        _search(run, before, identity, say)
        run.save(checkpoint, identity)
        before.unlink()
    _train(run, checkpoint, identity, logger, say, "training")
    found = run.method.structure()
    if found:
        checkpoint.with_name("structure.json").write_text(json.dumps(found, indent=2) + "\n")
    return run.history


class _Silent:
    """A search's numbers go to the terminal only: a logger's steps must not go back to 0 behind it."""

    def log(self, values: dict[str, float], step: int) -> None:
        pass


def _search(run: Run, checkpoint: Path, identity: str, say: Callable[[str], None]) -> None:
    """Bilevel steps until the method's structure is settled; `run` is then ready to train what is left."""
    plan = run.method.search
    assert plan is not None
    steps = max(2, round(plan.fraction * run.total_steps))
    hparams = replace(
        run.hparams,
        max_steps=steps,
        max_epochs=steps,
        batch_size=run.sampler.batch_size,
        patience=sys.maxsize,
        arch_lr=plan.arch_lr,
        arch_every=1,
        arch_data="train_split",
        clip=plan.clip or run.hparams.clip,
    )
    search = Run(
        run.backbone,
        run.method,
        run.full_train,
        run.dev,
        hparams,
        run.seed,
        plan.held_out,
        plan.order,
    )
    history = _train(search, checkpoint, identity, _Silent(), say, "searching")
    run.method.end_search()
    run.backbone.detach()
    run.method.attach(run.backbone)
    run.prepare()
    run.history.search_steps = history.step
    run.history.search_seconds = history.train_seconds + history.eval_seconds


def _train(
    run: Run,
    checkpoint: Path,
    identity: str,
    logger: Logger,
    say: Callable[[str], None],
    doing: str,
) -> History:
    if checkpoint.exists():
        run.resume(checkpoint, identity)
        say(f"Resuming at step {run.history.step} of {run.total_steps} from {checkpoint}.")
    bar = tqdm(
        total=run.total_steps,
        initial=run.history.step,
        desc=doing,
        unit="step",
        dynamic_ncols=True,
    )

    def measure() -> None:
        started = time.perf_counter()
        bar.set_postfix_str("evaluating on dev ...")
        point = run.evaluate()
        run.history.eval_seconds += time.perf_counter() - started
        found = {f"method/{name}": value for name, value in run.method.measurements().items()}
        logger.log(
            {"dev/loss": point["loss"], "dev/accuracy": point["accuracy"], **found},
            run.history.step,
        )
        best = "  (best so far)" if run.history.best_step == run.history.step else ""
        bar.write(
            f"  step {run.history.step:>5}   dev loss {point['loss']:.4f}   "
            f"dev accuracy {point['accuracy']:5.1f} %{best}"
        )

    with bar:
        if not run.history.curve:
            measure()
        while not run.history.finished:
            started = time.perf_counter()
            loss = run.one_step()
            run.history.train_seconds += time.perf_counter() - started
            h = run.history
            rate = float(run.weights.schedule.get_last_lr()[0])
            logger.log({"train/loss": loss, "train/lr": rate}, h.step)
            bar.update(1)
            bar.set_postfix_str(f"loss {loss:.3f}")
            if h.step % run.eval_every == 0 or h.step == run.total_steps:
                measure()
            if h.step % run.hparams.checkpoint_every == 0 or h.finished:
                run.save(checkpoint, identity)
    if not run.best:
        raise TrainingError("no evaluation gave a finite dev loss; lower hparams.lr.")
    run.method.load_state_dict(run.best)
    return run.history


def _plain(state: dict[str, Any]) -> dict[str, Any]:
    """A scheduler's state without its (unserialisable) function."""
    return {k: v for k, v in state.items() if k != "lr_lambdas"} | {
        "lr_lambdas": [None] * len(state["base_lrs"])
    }
