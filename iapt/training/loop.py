"""The training loop of Appendix F: evaluate, keep the best dev checkpoint, stop early, resume.

A method that searches for its structure does so first.
"""

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from iapt.backbone import processes
from iapt.configuration.plugins import blamed
from iapt.errors import TrainingError
from iapt.files import write_json
from iapt.interruption import Interrupted, deferred
from iapt.methods.base import Measured, Method
from iapt.methods.searched import Search, Searched, structure
from iapt.progress import progress
from iapt.training.state import History, Run


class Logger(Protocol):
    """Receives the numbers of training."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Record values of one step."""


def train(run: Run, checkpoint: Path, identity: str, logger: Logger) -> History:
    """Train to the end, from the checkpoint if there is one; leaves the best weights in the method.

    A method that searches does so first; the structure found is written beside the checkpoint.

    Args:
        run: what to train.
        checkpoint: file to resume from and to write to.
        identity: hash of the configuration; a checkpoint with another is refused.
        logger: receives losses, learning rates and dev measurements.

    Returns:
        The history, with the dev curve and the best step.

    Raises:
        TrainingError: a loss is not finite, or the checkpoint is not this run's.
        Interrupted: a signal arrived; the checkpoint includes the step that was running.
    """
    method = run.method
    if isinstance(method, Searched) and method.search and not checkpoint.exists():
        before = checkpoint.with_name("search.safetensors")
        _search(run, method, method.search, before, identity)
        run.save(checkpoint, identity)
        if processes.first():
            before.unlink(missing_ok=True)
    _train(run, checkpoint, identity, logger, "training")
    found = structure(method)
    if found and processes.first():
        write_json(checkpoint.with_name("structure.json"), found)
    return run.history


class Silent:
    """Logs nothing: for a search, whose steps would look like the run's, and for all processes but the first."""

    def log(self, values: dict[str, float], step: int) -> None:
        """Forget the values."""


def _search(run: Run, method: Searched, plan: Search, checkpoint: Path, identity: str) -> None:
    """Run bilevel steps until the structure is settled; `run` is then ready to train it."""
    steps = max(2, round(plan.fraction * run.total_steps))
    hparams = replace(
        run.hparams,
        max_steps=steps,
        max_epochs=steps,
        batch_size=run.sampler.batch_size,
        patience=steps + 1,  # so it never ends early
        arch_lr=plan.arch_lr,
        arch_every=1,
        arch_data="train_split",
        clip=plan.clip or run.hparams.clip,
    )
    data = (run.full_train, run.dev)
    search = Run(run.backbone, method, *data, hparams, run.seed, plan.held_out, plan.order)
    history = _train(search, checkpoint, f"{identity} (search)", Silent(), "searching")
    method.end_search()
    run.backbone.detach()
    method.attach(run.backbone)
    run.prepare()
    run.history.search_steps = history.step
    run.history.search_seconds = history.train_seconds + history.eval_seconds


def _measured(method: Method) -> dict[str, float]:
    """Return a method's own measurements for a logger.

    Raises:
        TrainingError: they are not numbers by name.
    """
    if not isinstance(method, Measured):
        return {}
    try:
        return {f"method/{name}": float(value) for name, value in method.measurements().items()}
    except Exception as error:
        raise TrainingError(
            f"{type(method).__name__}: measurements must return numbers by name; it raised "
            f"{blamed(error, type(method))}."
        ) from error


def _train(run: Run, checkpoint: Path, identity: str, logger: Logger, doing: str) -> History:
    if checkpoint.exists():
        run.resume(checkpoint, identity)
        print(f"Resuming at step {run.history.step} of {run.total_steps} from {checkpoint}.")
    bar = progress(doing, "step", run.total_steps, run.history.step, hidden=not processes.first())

    def measure() -> None:
        started = time.perf_counter()
        bar.set_postfix_str("evaluating on dev ...")
        point = run.evaluate(signalled)
        if point is None:
            return
        run.history.eval_seconds += time.perf_counter() - started
        values = {"dev/loss": point["loss"], "dev/accuracy": point["accuracy"]}
        logger.log(values | _measured(run.method), run.history.step)
        bar.set_postfix_str(f"dev loss {point['loss']:.3f}")
        best = "  (best so far)" if run.history.best_step == run.history.step else ""
        bar.write(
            f"  step {run.history.step:>5}   dev loss {point['loss']:.4f}   "
            f"dev accuracy {point['accuracy']:5.1f} %{best}"
        )

    def step() -> None:
        started = time.perf_counter()
        rate = float(run.weights.schedule.get_last_lr()[0])  # of this step; afterwards, of the next
        loss = run.one_step()
        run.history.train_seconds += time.perf_counter() - started
        logger.log({"train/loss": loss, "train/lr": rate}, run.history.step)
        bar.update(1)
        bar.set_postfix_str(f"loss {loss:.3f}")

    with bar, deferred() as deferral:

        def signalled() -> bool:
            return deferral.signal is not None

        while not run.history.finished:
            if processes.summed(signalled())[0]:  # a signal to any of them ends all
                run.save(checkpoint, identity)
                raise Interrupted(deferral.signal or signal.SIGTERM)
            (measure if run.is_due else step)()
            h = run.history
            if h.finished or (
                h.step % run.hparams.checkpoint_every == 0 < h.step and not run.is_due
            ):
                run.save(checkpoint, identity)
    if not run.best:
        raise TrainingError("no evaluation gave a finite dev loss; lower hparams.lr.")
    run.method.load_state_dict(run.best)
    return run.history
