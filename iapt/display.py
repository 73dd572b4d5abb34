"""What a run shows on the terminal."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from iapt.data.encode import Encoded
from iapt.data.preview import with_borders
from iapt.data.truncation import cut_line
from iapt.evaluation import TRAINING, Prompts
from iapt.plan import Plan
from iapt.results.remarks import remarks
from iapt.results.row import DevPoint, Row
from iapt.tasks.base import Split

PREVIEW = 40  # tokens shown at each end of a long instruction


def show_plan(plan: Plan, sizes: Mapping[Split, int]) -> None:
    """Print what will run, before anything heavy is loaded."""
    h, n = plan.hparams, sizes["train"]
    variant = f" ({plan.cell['variant']})" if plan.cell["variant"] else ""
    limits = "".join(f", limit.{k}={v}" for k, v in plan.config["limit"].items() if v is not None)
    share = 100 * plan.trainable / plan.backbone.dims.num_weights
    print(
        f"""
  task       {plan.task.name}: {sizes["train"]:,} train / {sizes["dev"]:,} dev / {sizes["test"]:,} test examples, data={plan.cell["data"]}{limits}
  backbone   {plan.backbone.name} ({plan.backbone.dims.num_layers} blocks of width {plan.backbone.dims.hidden_size}), frozen, on {plan.device}
  method     {plan.cell["method"]}{variant}: {plan.trainable:,} trained parameters (about {share:.2f} % of the backbone)
  hparams    {h.name}: {h.steps_for(n):,} steps of {h.batch_size_for(n)}, lr {h.lr:g}, seed {plan.cell["seed"]}, at most {plan.max_length} tokens
  run        {plan.run_id}
""",
        flush=True,
    )


def show_prompt(example: Encoded, tokenizer: Any) -> None:
    """Print one encoded example, with a middle dot between tokens and a double bar before the response."""
    text = with_borders(example, tokenizer, PREVIEW)
    print("  first training example (· between tokens, ‖ before the response):")
    print("    " + text.replace("\n", "\n    ") + "\n", flush=True)


def show_fit(prompts: Prompts, plan: Plan) -> None:
    """Print how much of each split was left out or cut because it does not fit; nothing if all of it fits."""
    for split, left_out in prompts.left_out.items():
        if left_out:
            total = len(prompts.examples[split]) + len(left_out)
            print(
                f"  {split}: {len(left_out):,} of {total:,} rows left out, because their responses do not fit in "
                f"{plan.max_length:,} tokens (first: {plan.place(left_out[0])})",
                flush=True,
            )
    for split, encoded in prompts.encoded.items():
        show_cuts(split, encoded, plan)


def show_cuts(what: str, encoded: Sequence[Encoded], plan: Plan) -> None:
    """Print how many prompts were cut, if any; prompts without a response leave room for the answer."""
    learnt = what in TRAINING
    longest = plan.max_length - (0 if learnt else plan.task.max_new_tokens)
    line = cut_line(encoded, longest, "prompts with responses" if learnt else "prompts")
    if line:
        print(f"  {what}: {line}", flush=True)


def show_result(row: Row, row_file: Path, folder: Path) -> None:
    """Print the score, a summary of the dev curve, and where the files are."""
    scores, dev, seconds = row.scores, row.dev, row.seconds
    noted = "".join(f"\n  note {remark}" for remark in remarks([row]))
    first = dev.curve[0] if dev.curve else DevPoint(step=0)
    print(
        f"""
  test {scores.metric} {scores.value:.1f} on {scores.n} examples ({scores.n_unparsed} outputs could not be parsed){noted}
  dev  loss {_number(dev.best_loss, 4)}, accuracy {_number(dev.best_accuracy, 1)} % at step {dev.best_step} of {row.steps}; before training {_number(first.loss, 4)}, {_number(first.accuracy, 1)} %; most common answer {_number(dev.majority_accuracy, 1)} %
  time {_number(seconds.total)} s in total: {_number(seconds.per_step, 2)} s per step, {_number(seconds.eval)} s evaluating, {_number(seconds.test)} s decoding; peak memory {_number(row.peak_memory_mib)} MiB
  row  {row_file}
  run  {folder}/ (config, dev curve, predictions, adapter)
""",
        flush=True,
    )


def _number(value: float | None, digits: int = 0) -> str:
    """Format a measurement, or a dash where the row has none (a loss that diverged)."""
    return "–" if value is None else f"{value:,.{digits}f}"
