"""What a run shows on the terminal."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from iapt.data.encode import Encoded
from iapt.plan import Plan
from iapt.tasks.base import Split

PREVIEW = 40  # tokens shown at each end of a long instruction


def show_plan(plan: Plan, sizes: Mapping[Split, int]) -> None:
    """What will run, before anything heavy is loaded."""
    h, n = plan.hparams, sizes["train"]
    variant = f" ({plan.cell['variant']})" if plan.cell["variant"] else ""
    limits = "".join(f", limit.{k}={v}" for k, v in plan.config["limit"].items() if v is not None)
    share = 100 * plan.trainable / _size(plan)
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
    """One encoded example, a middle dot at each token border, a double bar where the response starts."""
    pieces = [tokenizer.decode([t]) for t in example.instruction]
    if len(pieces) > 2 * PREVIEW:
        hidden = len(pieces) - 2 * PREVIEW
        pieces = [*pieces[:PREVIEW], f" [... {hidden} more tokens ...] ", *pieces[-PREVIEW:]]
    answer = [tokenizer.decode([t]) for t in example.response]
    text = "·".join(pieces) + " ‖ " + "·".join(answer)
    print("  first training example (· between tokens, ‖ before the response):")
    print("    " + text.replace("\n", "\n    ") + "\n", flush=True)


def show_result(row: Mapping[str, Any], row_file: Path, folder: Path) -> None:
    """Score, dev summary, and where everything was written."""
    scores, dev, seconds = row["scores"], row["dev"], row["seconds"]
    first = dev["curve"][0]
    cell = row["cell"]
    variant = f" variant={cell['variant']}" if cell["variant"] else ""
    print(
        f"""
  test {scores["metric"]} {scores["value"]:.1f} on {scores["n"]} examples ({scores["n_unparsed"]} outputs could not be parsed)
  dev  loss {dev["best_loss"]:.4f}, accuracy {dev["best_accuracy"]:.1f} % at step {dev["best_step"]} of {row["steps"]}; before training {first["loss"]:.4f}, {first["accuracy"]:.1f} %; commonest answer {dev["majority_accuracy"]:.1f} %
  time {seconds["total"]:.0f} s in all: {seconds["per_step"]:.2f} s a step, {seconds["eval"]:.0f} s evaluating, {seconds["test"]:.0f} s decoding; peak memory {row["peak_memory_mib"]:,.0f} MiB
  row  {row_file}
  run  {folder}/ (config, dev curve, predictions, adapter)

  This is one seed of hparams={cell["hparams"]}. All seeds: iapt-sweep task={cell["task"]} method={cell["method"]}{variant}
  The paper's setting (LLaMA-2 7B, released data; needs a GPU): iapt-train task={cell["task"]} method={cell["method"]}{variant} +experiment=paper
""",
        flush=True,
    )


def _size(plan: Plan) -> int:
    """Parameters of the backbone, near enough for a percentage."""
    d = plan.backbone.dims
    return (
        d.num_layers * sum(a * b for a, b in map(d.in_out, d.linears))
        + d.vocab_size * d.hidden_size
    )
