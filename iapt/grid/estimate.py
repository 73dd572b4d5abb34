"""How long a run takes and how much memory and disk space it needs, from rows of the same device or a formula.

Rows of the same device, backbone and method are scaled by steps and examples.  Without such rows, time follows
from the run's floating-point operations and the speed of a matrix product on this machine, and memory from the
sizes of weights, activations and caches.  The formula may be off by several times; `measure.py` is better.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import Literal

import torch

from iapt.grid.workload import Workload
from iapt.inference.generate import tokens_kept
from iapt.plan import Plan
from iapt.provenance import device_name
from iapt.results.row import Row
from iapt.training.hparams import paper_batch_size

MIB = 2**20
LENGTH = 256  # assumed tokens of an example, if its prompts could not be read
ACHIEVED = 0.5  # share of a plain product's speed that a whole model reaches
PROCESS_MIB = 500  # Python and its libraries, which count as memory on a CPU
KEPT = 2.0  # a CPU process keeps what each phase frees, in pieces; real runs took 1.4 to 2.4 times the sum
ROW_BYTES = 400  # of a line of predictions.jsonl, without the output
TOKEN_BYTES = 5

Source = Literal["rows", "rows of another task", "formula", "measured"]


@dataclass(frozen=True)
class Estimate:
    """What a run will need.

    Attributes:
        seconds: wall time, if training is not stopped early.
        memory_mib: peak memory, counted as in a row.
        disk_mib: size of the adapter and the predictions, which are kept.
        checkpoint_mib: size of the checkpoint, which is removed when the run finishes.
        source: where time and memory come from.
    """

    seconds: float
    memory_mib: float
    disk_mib: float
    checkpoint_mib: float
    source: Source


def estimate(plan: Plan, work: Workload, rows: Sequence[Row] = ()) -> Estimate:
    """Estimate a planned run from finished runs of its kind among `rows`, or by a formula if there are none."""
    seconds, memory, source = _from_rows(plan, work, rows) or _by_formula(plan, work)
    adapter = 4 * plan.trainable / MIB
    output = ROW_BYTES + TOKEN_BYTES * plan.task.max_new_tokens
    return Estimate(
        seconds,
        memory,
        disk_mib=adapter + work.sizes["test"] * output / MIB,
        checkpoint_mib=4 * adapter,  # weights, best weights and two moments
        source=source,
    )


def _from_rows(
    plan: Plan, work: Workload, rows: Sequence[Row]
) -> tuple[float, float, Source] | None:
    if not rows:
        return None
    cell, device = plan.cell, device_name(plan.device)
    same = ("backbone", "method", "variant")
    alike = [
        row
        for row in rows
        if row.device == device
        and row.params.trained_at_first == plan.trainable
        and all(getattr(row.cell, key) == cell[key] for key in same)
    ]
    own = [row for row in alike if row.cell.task == cell["task"]]
    seconds = [s for row in own or alike if (s := _scaled(row, plan, work)) is not None]
    memory = [m for row in own or alike if (m := row.peak_memory_mib) is not None]
    if not seconds or not memory:
        return None
    return median(seconds), median(memory), "rows" if own else "rows of another task"


def _scaled(row: Row, plan: Plan, work: Workload) -> float | None:
    """Scale a row's time to the work of a plan; None if the row does not say enough."""
    took, had, points = row.seconds, row.data.sizes, len(row.dev.curve)
    batch = row.setting("hparams", "batch_size") or paper_batch_size(had.get("train", 0))
    known = (took.train, took.eval, took.test, took.total, row.steps)
    if None in known or not isinstance(batch, int) or not points:
        return None
    train, evals, test, total, steps = (float(value or 0) for value in known)
    if not (steps and had.get("dev") and had.get("test")):
        return None
    length = 1.0
    if row.cell.task != plan.cell["task"] and work.prompts and row.tokens_per_second:
        tokens = work.prompts.length + work.prompts.answer
        length = tokens / (row.tokens_per_second * train / (steps * batch))
    return (
        length * train * (work.steps * work.batch_size) / (steps * batch)
        + length * evals * (work.evaluations * work.sizes["dev"]) / (points * had["dev"])
        + length * test * work.sizes["test"] / had["test"]
        + max(0.0, total - train - evals - test)
    )


def _by_formula(plan: Plan, work: Workload) -> tuple[float, float, Source]:
    dims, hparams = plan.backbone.dims, plan.hparams
    length = work.prompts.length if work.prompts else min(LENGTH, plan.max_length)
    beams = hparams.num_beams or plan.task.num_beams
    # A token takes 2 operations per weight in each direction, because no weight gets a gradient.
    learnt = (4 + 2 * hparams.gradient_checkpointing) * plan.passes * work.steps * work.batch_size
    answer = work.prompts.answer if work.prompts else plan.task.max_new_tokens
    evaluated = 2 * work.evaluations * work.sizes["dev"]
    decoded = 2 * work.sizes["test"] * (length + beams * answer)
    operations = dims.num_weights * ((length + answer) * (learnt + evaluated) + decoded)
    dtype = plan.backbone.torch_dtype(plan.device)
    seconds = operations / (ACHIEVED * product_speed(plan.device, dtype))
    return seconds, _memory(plan, work, length, answer, beams) / MIB, "formula"


def _memory(plan: Plan, work: Workload, length: float, answer: float, beams: int) -> float:
    """Return the bytes of weights, states and caches; `length` and `answer` are tokens of an example."""
    dims, hparams = plan.backbone.dims, plan.hparams
    size = plan.backbone.torch_dtype(plan.device).itemsize
    weights = plan.backbone.bytes_of_weights(plan.device)
    tokens = min(hparams.batch_tokens, round(work.batch_size * length))
    # A frozen map keeps no input for its backward pass; norms, attention and activations keep theirs.
    inner = dims.ffn_size * (3 if dims.gated else 2)
    layers = 1 if hparams.gradient_checkpointing else dims.num_layers
    states = size * (6 * dims.hidden_size + inner)
    trained = tokens * layers * states
    rows = min(work.sizes["dev"], hparams.eval_batch_tokens / length)
    # Of the response's tokens, and their log-softmax in float32.
    logits = 2 * 4 * dims.vocab_size * answer
    evaluated = rows * (length * states + logits)
    column = dims.num_layers * 2 * dims.num_kv_heads * dims.head_dim * size
    columns = tokens_kept(length, plan.task.max_new_tokens, beams)
    cached = min(hparams.eval_batch_tokens, work.sizes["test"] * columns) * column
    needed = weights + 16 * plan.trainable
    if plan.device.type == "cpu":  # decoding packs a copy of the weights
        quantized = plan.backbone.quantization is not None  # then only the head is packed
        needed += dims.vocab_size * dims.hidden_size * size if quantized else weights
        needed += KEPT * (trained + evaluated + cached) + PROCESS_MIB * MIB
    else:
        needed += max(trained, evaluated, cached)
    return needed


@cache
def product_speed(device: torch.device, dtype: torch.dtype) -> float:
    """Return the floating-point operations per second of a matrix product, timed for about a second.

    On a busy CPU, only a short product on one thread can run undisturbed: it must end before other processes
    get their turn, and must not wait for another thread.
    """
    cuda, threads = device.type == "cuda", torch.get_num_threads()
    n, times = (8192, 20) if cuda else (512, 80)
    a = torch.ones(n, n, device=device, dtype=dtype)

    def timed() -> float:
        started = time.perf_counter()
        a @ a
        if cuda:
            torch.cuda.synchronize(device)
        return time.perf_counter() - started

    torch.set_num_threads(1)
    try:
        speed = 2 * n**3 / min(timed() for _ in range(times))
    finally:
        torch.set_num_threads(threads)
    return speed if cuda else speed * threads
