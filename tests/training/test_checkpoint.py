"""A checkpoint names whose it is, and an optimizer comes back from it as it was."""

import json
from pathlib import Path

import pytest
import torch

from iapt.errors import TrainingError
from iapt.tensors import write_sealed
from iapt.training.checkpoint import optimizer_tensors, read_checkpoint, restore_optimizer


def test_a_checkpoint_is_read_by_its_own_run_only(tmp_path: Path):
    file = tmp_path / "checkpoint.safetensors"
    write_sealed(file, {"a": torch.zeros(2)}, {"identity": "mine", "step": 3})
    tensors, state = read_checkpoint(file, "mine")
    assert (list(tensors), state["step"]) == (["a"], 3)
    with pytest.raises(TrainingError, match=r"another configuration; delete it to restart"):
        read_checkpoint(file, "another's")


def test_an_optimizer_goes_on_as_it_was():
    def optimizer() -> tuple[torch.nn.Parameter, torch.optim.AdamW]:
        p = torch.nn.Parameter(torch.ones(3))
        return p, torch.optim.AdamW([p], lr=0.1)

    def step(p: torch.nn.Parameter, adamw: torch.optim.AdamW, k: int) -> None:
        p.grad = torch.tensor([1.0, -2.0, 0.5]) * k
        adamw.step()

    p, adamw = optimizer()
    step(p, adamw, 1)
    tensors, rest = optimizer_tensors("adamw", adamw)
    rest = json.loads(json.dumps(rest))
    q, other = optimizer()
    q.data.copy_(p.data)
    restore_optimizer("adamw", other, {k: v.clone() for k, v in tensors.items()}, rest)
    step(p, adamw, 3)
    step(q, other, 3)
    assert torch.equal(p, q)
