"""A run's checkpoint, which survives a kill at any moment.

It is sealed safetensors with JSON inside (`iapt/tensors.py`); nothing is pickled.  Writing is atomic, so a
reader sees the old file or the new one, never half of one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from iapt.errors import DataError, TrainingError
from iapt.tensors import read_sealed


def read_checkpoint(path: Path, identity: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a checkpoint that `iapt.tensors.write_sealed` wrote.

    Args:
        path: the file.
        identity: the value of "identity" in its state: whose checkpoint it must be.

    Raises:
        TrainingError: it is damaged, or another's; the message says what to do.
    """
    try:
        tensors, state = read_sealed(path)
    except DataError as error:
        raise unusable(str(error).rstrip(".")) from error
    if not isinstance(state, dict) or state.get("identity") != identity:
        raise unusable(f"{path} belongs to another configuration")
    return tensors, state


def unusable(fault: str) -> TrainingError:
    """Return the error for a checkpoint that cannot be continued from."""
    return TrainingError(f"{fault}; delete it to restart this run.")


def optimizer_tensors(
    prefix: str, optimizer: torch.optim.Optimizer
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Split an optimizer's state into tensors (named prefix.index.name) and the rest, as JSON values."""
    state = optimizer.state_dict()
    tensors = {
        f"{prefix}.{i}.{k}": v for i, entry in state["state"].items() for k, v in entry.items()
    }
    return tensors, {"param_groups": state["param_groups"]}


def restore_optimizer(
    prefix: str,
    optimizer: torch.optim.Optimizer,
    tensors: Mapping[str, Tensor],
    rest: Mapping[str, Any],
) -> None:
    """Undo `optimizer_tensors`."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        if name.startswith(prefix + "."):
            index, key = name[len(prefix) + 1 :].split(".", 1)
            state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": rest["param_groups"]})
