"""How long a run takes, measured on a few of its steps: on this machine, with its backbone and prompts.

Two optimizer steps, a pass of evaluation and a few tokens of decoding are timed and scaled to the run by tokens
and examples.  On a GPU they have their real size; on a CPU, whose speed depends little on the size, they are
cut to about TOKENS tokens.
"""

import time
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from iapt.backbone.base import Backbone
from iapt.backbone.config import BackboneConfig
from iapt.backbone.load import load_backbone, load_tokenizer, missing
from iapt.data.encode import Encoded, collate
from iapt.data.tokens import Tokens
from iapt.entries import Once
from iapt.errors import ConfigError
from iapt.grid.workload import Prompts, Workload, sample_to_learn
from iapt.inference.efficiency import seconds_of
from iapt.inference.generate import decode_batch, tokens_kept
from iapt.plan import Plan
from iapt.training.state import Run
from iapt.training.step import Data, evaluate

TOKENS = 1024  # of a measured pass on a CPU
STEPS = 2
NEW_TOKENS = 8


def check_measurable(plans: Iterable[Plan]) -> None:
    """Refuse to measure runs whose backbone or data are not on this machine.

    Raises:
        ConfigError: naming what is missing.
    """
    faults = dict[str, None]()
    for plan in plans:
        if lacking := missing(plan.backbone):
            faults[f"backbone={plan.backbone.name}: {lacking}"] = None
        if not plan.at_hand():
            named = f"task={plan.cell['task']}"
            faults[f"{named}: its data are not on this machine (iapt-data fetch {named})"] = None
    if faults:
        raise ConfigError("\n".join(f"estimate=measure: {fault}" for fault in faults))


class Measurements:
    """Measures runs; a backbone that several share is loaded once."""

    def __init__(self) -> None:
        self._once = Once()

    def __call__(self, plan: Plan, work: Workload) -> float:
        """Return how many seconds a planned run takes if nothing stops it early.

        Args:
            plan: the plan, which must pass `check_measurable`.
            work: its amount of work, for which its prompts were read.
        """
        load = partial(_loaded, plan.backbone, plan.device)
        backbone, tokenizer, loading = self._once(load, plan.backbone, plan.device)
        assert work.prompts is not None, "the data are at hand"
        backbone.checkpointing = plan.hparams.gradient_checkpointing
        method = plan.method().to(plan.device)
        method.attach(backbone)
        tokens = Tokens(tokenizer, plan.backbone.template, plan.backbone.bos, plan.max_length)
        try:
            run = _short_run(plan, work, work.prompts, backbone, method, tokens)
            return (
                loading
                + _training(run, plan, work, work.prompts)
                + _evaluating(run, plan, work, work.prompts)
                + _decoding(run, plan, work, work.prompts, tokenizer)
            )
        finally:
            backbone.detach()


def _loaded(config: BackboneConfig, device: torch.device) -> tuple[Backbone, Any, float]:
    """Return a backbone, its tokenizer, and the seconds that it took to load."""
    started = time.perf_counter()
    backbone = load_backbone(config, device).backbone
    return backbone, load_tokenizer(config), time.perf_counter() - started


def _short_run(
    plan: Plan, work: Workload, prompts: Prompts, backbone: Backbone, method: Any, tokens: Tokens
) -> Run:
    """Return a run over a few examples, in steps of the real size, or on a CPU of a size that is soon done."""
    rows = _rows(plan, prompts, prompts.length + prompts.answer)
    batch = min(work.batch_size, rows or work.batch_size)
    hparams = replace(
        plan.hparams,
        batch_size=batch,
        max_steps=work.steps,
        max_epochs=work.steps,
        arch_every=work.steps + STEPS,  # Θ moves only before the first step, which is not timed
        arch_data="dev",
    )
    passes = plan.hparams.eval_batch_tokens / (prompts.length + prompts.answer)
    count = max(batch, rows or round(passes))
    pad, end = tokens.tokenizer.pad_token_id, tokens.tokenizer.eos_token_id
    train = Data(sample_to_learn(plan, "train", tokens, batch * (1 + STEPS)), pad, end)
    dev = Data(sample_to_learn(plan, "dev", tokens, count), pad, end)
    return Run(backbone, method, train, dev, hparams, plan.cell["seed"])


def _rows(plan: Plan, prompts: Prompts, length: float) -> int:
    """Return how many rows a measured pass has on a CPU; on a GPU return 0, for the real number."""
    return 0 if plan.device.type == "cuda" else max(1, round(TOKENS / length))


def _training(run: Run, plan: Plan, work: Workload, prompts: Prompts) -> float:
    run.one_step()
    before = run.history.trained_tokens
    seconds = seconds_of(lambda: [run.one_step() for _ in range(STEPS)], plan.device)
    per_token = seconds / (run.history.trained_tokens - before)
    tokens = work.steps * work.batch_size * (prompts.length + prompts.answer)
    return per_token * tokens * plan.passes


def _evaluating(run: Run, plan: Plan, work: Workload, prompts: Prompts) -> float:
    seconds = seconds_of(
        lambda: evaluate(run.backbone, run.method, run.dev, run.eval_budget), plan.device
    )
    tokens = work.evaluations * work.sizes["dev"] * (prompts.length + prompts.answer)
    return seconds / sum(run.dev.sizes) * tokens


def _decoding(run: Run, plan: Plan, work: Workload, prompts: Prompts, tokenizer: Any) -> float:
    beams, most = plan.hparams.num_beams or plan.task.num_beams, plan.task.max_new_tokens
    fitting = int(plan.hparams.eval_batch_tokens / tokens_kept(prompts.length, most, beams))
    rows = max(1, min(fitting, len(run.dev.examples), work.sizes["test"]))
    instructions = [e.instruction for e in run.dev.examples[:rows]]
    room = plan.max_length - most + 1  # the length to which prompts are cut
    batch = collate([Encoded(i[:room], ()) for i in instructions], tokenizer.pad_token_id)
    ids, mask = batch.input_ids.to(plan.device), batch.attention_mask.to(plan.device)
    run.backbone.train(False)
    run.method.eval()

    def decode(new: int) -> None:
        decode_batch(
            run.backbone,
            ids,
            mask,
            num_beams=beams,
            max_new_tokens=new,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            min_new_tokens=new,
        )

    decode(2)
    more = min(NEW_TOKENS, most)
    reading = seconds_of(partial(decode, 1), plan.device)
    both = seconds_of(partial(decode, more), plan.device)
    step = max(0.0, both - reading) / max(1, more - 1)
    return (reading + step * (prompts.answer - 1)) * work.sizes["test"] / rows
