"""One run in several processes started by torchrun: each has the whole model and a share of every batch.

    gradient = sum over processes of the gradient of (loss of the share / tokens of the whole batch)

Up to rounding, this is the gradient of a single process with the whole batch.  The weights stay the same
in every process, because each takes the same optimizer step.  The first process leads: it alone prints,
writes, and decides whether there is anything to do (`start`); the others wait for its decision (`order`).

Processes exchange only tensors and JSON, because torch's collectives for objects use pickle.
"""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from iapt.errors import ConfigError, TrainingError

T = TypeVar("T")
_begun = False  # whether the first process has told the others to start
PATIENCE = timedelta(hours=12)  # for a slow process: if one fails, torchrun ends the others


def count() -> int:
    """Return the number of processes of this run."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the number of this process, counted from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def first() -> bool:
    """Return whether this process leads; a single process does."""
    return rank() == 0


@contextmanager
def joined() -> Iterator[None]:
    """Join the other processes if torchrun started several; all but the first print only errors.

    Raises:
        ConfigError: only some of torchrun's variables are set.
        TrainingError: the others cannot be reached.
    """
    several = os.environ.get("WORLD_SIZE", "1")
    if several == "1":
        yield
        return
    missing = [
        v for v in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if v not in os.environ
    ]
    if missing:
        raise ConfigError(
            f"WORLD_SIZE={several} without {', '.join(missing)}: start several processes with torchrun "
            "--nproc-per-node=N, or unset WORLD_SIZE."
        )
    nccl = torch.cuda.is_available() and dist.is_nccl_available()
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if nccl else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise TrainingError(
            f"the {several} processes of this run cannot connect: {error}"
        ) from error
    global _begun
    _begun = False
    with open(os.devnull, "w") as nowhere, nullcontext() if first() else redirect_stdout(nowhere):
        try:
            yield
        finally:
            if first() and not _begun:
                _broadcast({"said": None})
    dist.destroy_process_group()  # not after an error: the others may never get here


def start(said: Mapping[str, Any]) -> None:
    """Tell the other processes that the run begins, and what they must agree with."""
    global _begun
    _begun = True
    if count() > 1:
        _broadcast({"said": dict(said)})


def order() -> dict[str, Any] | None:
    """Wait for the first process; return what it passes to `start`, or None if it ends without starting."""
    said: dict[str, Any] | None = _broadcast(None)["said"]
    return said


def wait() -> None:
    """Wait until all processes get here."""
    summed(0.0)


def share(items: Sequence[T]) -> list[T]:
    """Return this process's part of a list: every n-th item, so that a sorted list is shared evenly."""
    return list(items[rank() :: count()])


@contextmanager
def own_draws(device: torch.device) -> Iterator[None]:
    """Draw different random numbers in each process (dropout), and leave their generators equal afterwards.

    If nothing is drawn, the generators do not change, just as in a run with one process.
    """
    if count() == 1:
        yield
        return
    cuda = device.type == "cuda"

    def generators() -> list[Tensor]:
        return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if cuda else [])]

    with torch.random.fork_rng([device] if cuda else []):
        torch.manual_seed(int(torch.randint(2**62, ())) + rank())
        before = generators()
        yield
        drew = not all(map(torch.equal, before, generators()))
    if summed(drew)[0]:
        torch.rand(())  # so that the next batch draws different numbers


def sum_gradients(parameters: Sequence[nn.Parameter], loss: float) -> float:
    """Sum `.grad` and a loss over all processes; a parameter without a gradient in any of them keeps none."""
    if count() == 1:
        return loss
    flat = torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
    )
    there = [float(p.grad is not None) for p in parameters]
    _collective(dist.all_reduce, flat)
    loss, *there = summed(loss, *there)
    parts = flat.split([p.numel() for p in parameters])
    for p, part, some in zip(parameters, parts, there, strict=True):
        p.grad = part.view_as(p).to(p.dtype) if some else None
    return loss


def summed(*values: float) -> list[float]:
    """Sum numbers over all processes."""
    if count() == 1:
        return list(values)
    total = torch.tensor(values, dtype=torch.float64)
    _collective(dist.all_reduce, total)
    return total.tolist()


def merged(own: Mapping[int, str]) -> dict[int, str]:
    """Return the texts of all processes by their places."""
    if count() == 1:
        return dict(own)
    data = _bytes(list(own.items()))
    sizes = [int(n) for n in summed(*(len(data) * (i == rank()) for i in range(count())))]
    row = torch.zeros(max(sizes), dtype=torch.uint8)
    row[: len(data)] = data
    rows = [torch.empty_like(row) for _ in sizes]
    _collective(dist.all_gather, rows, row)
    return {
        place: text
        for got, size in zip(rows, sizes, strict=True)
        for place, text in json.loads(bytes(got[:size].tolist()))
    }


def check_same(tensors: Mapping[str, Tensor]) -> None:
    """Check that all processes hold the same tensors.

    Raises:
        TrainingError: they do not, because a method changes its tensors by values that differ between
            processes.
    """
    if count() == 1:
        return
    sums = torch.stack([t.detach().double().sum().cpu() for t in tensors.values()])
    firsts = sums.clone()
    _collective(dist.broadcast, firsts, 0)
    apart = [
        name for name, a, b in zip(tensors, sums, firsts, strict=True) if not torch.equal(a, b)
    ]
    faults = int(summed(len(apart))[0])
    if faults:
        raise TrainingError(
            f"the processes no longer hold the same weights{f' (such as {apart[0]})' if apart else ''}. A method "
            "may draw or keep values in its forward passes that differ between them; train it in one process."
        )


def _bytes(value: object) -> Tensor:
    return torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)


def _broadcast(value: Any) -> Any:
    """Send the first process's JSON value to all."""
    data = _bytes(value)
    size = torch.tensor(len(data))
    _collective(dist.broadcast, size, 0)
    data = data if first() else torch.empty(int(size), dtype=torch.uint8)
    _collective(dist.broadcast, data, 0)
    return json.loads(bytes(data.tolist()))


def _collective(call: Any, *arguments: Any) -> None:
    try:
        call(*arguments)
    except RuntimeError as error:
        print(f"process {rank()} of {count()}: {error}", file=sys.stderr)
        raise TrainingError(
            "another process of this run has ended; its own message says why. The same command resumes the run."
        ) from error
