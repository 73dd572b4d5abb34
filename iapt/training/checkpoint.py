"""A run's checkpoint, which survives a kill at any moment.

It is safetensors with JSON inside; nothing is pickled.  Writing is atomic, so a reader sees the old file
or the new one, never half of one.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from iapt import files
from iapt.errors import TrainingError


def write_tensors(path: Path, tensors: Mapping[str, Tensor], state: Mapping[str, Any]) -> None:
    """Write tensors and a JSON state to one safetensors file, atomically.

    Raises:
        StorageError: the file cannot be written.
    """
    files.write_tensors(path, tensors, {"state": json.dumps(state)})


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote.

    Raises:
        TrainingError: the file is not ours or is damaged; the message says what to do.
    """
    try:
        with safe_open(path, "pt") as f:
            metadata = f.metadata() or {}
        return load_file(path), json.loads(metadata["state"])
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise TrainingError(
            f"{path} cannot be read ({error}); delete it to restart this run."
        ) from error


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
