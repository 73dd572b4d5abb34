"""Short training runs on a tiny backbone."""

from pathlib import Path
from typing import Any

import torch

from iapt.backbone.base import Backbone
from iapt.methods.base import Method
from iapt.methods.iapt import IAPT
from iapt.training.hparams import HParams
from iapt.training.state import Run
from iapt.training.step import Data
from tests.tiny import EOS, PAD, encoded, shared_backbone

TRAIN = [(4 + i % 3, 2 + i % 2) for i in range(14)]
DEV = [(5, 2), (4, 3), (6, 2), (5, 3)]


class Quiet:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.lines.append((step, values))


def splits() -> tuple[Data, Data]:
    return Data(encoded(1, TRAIN), PAD, EOS), Data(encoded(2, DEV), PAD, EOS)


def small_iapt(backbone: Backbone) -> IAPT:
    return IAPT(backbone.dims, bottleneck_dim=8, init_std=0.2)


def new_run(method: Any = small_iapt, seed: int = 0, **numbers: Any) -> Run:
    """A run of `method(backbone)` over 14 examples, 4 a step, from the bits that the seed gives."""
    backbone = shared_backbone("llama")
    backbone.detach()
    backbone.checkpointing = False
    torch.manual_seed(seed)
    built: Method = method(backbone)
    built.attach(backbone)
    train, dev = splits()
    values = {"lr": 1e-2, "arch_lr": 1e-2, "batch_size": 4, "max_steps": 8, "eval_every": 2}
    return Run(backbone, built, train, dev, HParams("short", **(values | numbers)), seed)


def bits(method: Method) -> dict[str, bytes]:
    """Every tensor of a method, to compare bit for bit."""
    return {k: v.detach().numpy().tobytes() for k, v in method.state_dict().items()}


def checkpoint(folder: Path) -> Path:
    return folder / "checkpoint.safetensors"
