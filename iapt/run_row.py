"""The row of a finished run, built from its plan and everything that it measured."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

from iapt.backbone.load import Loaded
from iapt.data.truncation import cuts
from iapt.evaluation import Evaluation, Prompts
from iapt.methods.base import Method
from iapt.methods.counts import sizes
from iapt.methods.searched import structure
from iapt.plan import OUTSIDE, Plan
from iapt.provenance import device_name, git_state, peak_memory_mib, versions
from iapt.results import row
from iapt.tasks.base import SPLITS, Example
from iapt.training.state import History


def row_of(
    plan: Plan,
    prompts: Prompts,
    loaded: Loaded,
    method: Method,
    history: History,
    evaluation: Evaluation,
    *,
    num_beams: int,
    seconds_test: float,
    seconds_total: float,
) -> row.Row:
    """Build the row of a finished run.

    Args:
        plan: the plan of the run.
        prompts: the examples of each split with their tokens.
        loaded: the backbone.
        method: the trained method.
        history: the history of training.
        evaluation: the decoded and scored test split.
        num_beams: the beams that decoded the test split.
        seconds_test: time to decode and score the test split.
        seconds_total: time of the whole run.
    """
    truncated = {str(split): cuts(some) for split, some in prompts.encoded.items()}
    if evaluation.further:
        truncated["follow_ups"] = cuts(evaluation.further)
    return row.Row(
        status="finished",
        run_id=plan.run_id,
        cell=row.CellNames(**plan.cell),
        config={k: v for k, v in plan.config.items() if k not in OUTSIDE},
        config_hash=plan.config_hash,
        cell_hash=plan.cell_hash,
        setting_hash=plan.setting_hash,
        scores=row.TestScores(
            **asdict(evaluation.scores), items=evaluation.items, clusters=evaluation.clusters
        ),
        dev=row.Dev(
            best_step=history.best_step,
            best_loss=history.best_loss,
            best_accuracy=history.best_accuracy,
            curve=tuple(
                row.DevPoint(step=int(p["step"]), loss=p["loss"], accuracy=p["accuracy"])
                for p in history.curve
            ),
            majority_accuracy=_majority(prompts.examples["dev"]),
        ),
        params=row.Params(trained_at_first=plan.trainable, **asdict(sizes(method))),
        data=row.DataUsed(
            source=plan.cell["data"],
            fingerprint=plan.task.fingerprint(plan.source),
            sizes={split: len(prompts.examples[split]) for split in SPLITS},
            truncated=truncated,
            skipped={split: len(some) for split, some in prompts.left_out.items()},
            task_version=plan.task.version,
        ),
        decoding=row.Decoding(
            num_beams=num_beams,
            max_new_tokens=plan.task.max_new_tokens,
            batch_tokens=plan.hparams.eval_batch_tokens,
        ),
        backbone=row.BackboneUsed(
            name=plan.backbone.name,
            checkpoint=plan.backbone.checkpoint,
            revision=loaded.revision,
            fingerprint=loaded.fingerprint,
            dtype=loaded.dtype,
            attn=plan.backbone.attn,
            quantization=plan.backbone.quantization,
        ),
        versions=versions(*plan.backbone.libraries),
        git=row.Git(**git_state()),
        device=device_name(plan.device),
        seconds=row.Seconds(
            train=history.train_seconds,
            per_step=history.train_seconds / max(history.step, 1),
            eval=history.eval_seconds,
            test=seconds_test,
            total=seconds_total,
        ),
        tokens_per_second=history.trained_tokens / max(history.train_seconds, 1e-9),
        steps=history.step,
        search=row.Search(steps=history.search_steps, seconds=history.search_seconds),
        structure=_in_short(structure(method)),
        peak_memory_mib=peak_memory_mib(plan.device),
        created=datetime.now(timezone.utc),
    )


def _majority(examples: Sequence[Example]) -> float:
    """Return the accuracy, in percent, of always giving the most common response."""
    counts: dict[str, int] = {}
    for e in examples:
        counts[e.response] = counts.get(e.response, 0) + 1
    return 100 * max(counts.values()) / len(examples)


def _in_short(structure: dict[str, Any]) -> dict[str, Any]:
    """Return a structure without its lists and mappings; the run's structure.json has all of it."""
    return {k: v for k, v in structure.items() if not isinstance(v, dict | list | tuple)}
