"""A process of a run in two: trains every method for some steps, and leaves what came of it as JSON."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from iapt.backbone import processes
from iapt.backbone.dims import Dims
from iapt.cli.overrides import groups
from iapt.entries import build_method
from iapt.inference.generate import decode
from iapt.methods.base import Method
from iapt.methods.searched import structure
from tests.composed import composed
from tests.methods import short_runs
from tests.tiny import EOS, PAD, encoded

# What a method's own entry does not switch on.
MORE: dict[str, tuple[str, ...]] = {
    "one example": ("method=lora", "hparams.batch_size=1"),  # the second process has nothing to do
    "weight decay": ("method=lora", "hparams.weight_decay=0.1"),
    "gradient through a step": ("method=ssp", "method.order=2"),
    "robust": ("method=adapter_drop", "method.robust=true"),
}
CASES = {name: (f"method={name}",) for name in groups()["method"]} | MORE
DRAWS = {"dropout": ("method=lora", "method.dropout=0.3")}  # other masks in each process


class Words:
    """A tokenizer whose words are numbers."""

    eos_token_id, pad_token_id = EOS, PAD

    def batch_decode(self, rows: torch.Tensor, skip_special_tokens: bool) -> list[str]:
        return [" ".join(map(str, row)) for row in rows.tolist()]


def outcome(folder: Path, *words: str) -> dict[str, Any]:
    """Train, then decode; everything that one process and two must have in common."""
    config = composed(*words)
    folder.mkdir(parents=True, exist_ok=True)

    def build(dims: Dims) -> Method:
        return build_method(config["method"], dims)

    given = {
        k: config["hparams"][k]
        for w in words
        if w.startswith("hparams")
        for k in [w[8:].split("=")[0]]
    }
    short_runs.HPARAMS = replace(ORIGINAL, lr=1e-3, max_steps=6, eval_every=3, **given)
    backbone, method, history = short_runs.short_run(build, folder)
    numbers = {"num_beams": 2, "max_new_tokens": 4, "batch_tokens": 40}
    texts = decode(backbone, [e.instruction for e in encoded(3)], Words(), **numbers)
    random = torch.rand(2).tolist()
    return {
        "curve": history.curve,
        "structure": structure(method),
        "texts": texts,
        "random": random,
    }


ORIGINAL = short_runs.HPARAMS


def outcomes(folder: Path, cases: dict[str, tuple[str, ...]] = CASES) -> dict[str, Any]:
    return {name: outcome(folder / name, *words) for name, words in cases.items()}


def disagreeing() -> str:
    """What happens if the processes hold other tensors."""
    check: Callable[..., None] = processes.check_same
    check({"a": torch.ones(2)})
    try:
        check({"a": torch.ones(2), "noise": torch.full((3,), float(processes.rank()))})
    except processes.TrainingError as error:
        return str(error)
    return ""


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    with processes.joined():
        if processes.first():
            processes.start({"folder": str(folder)})
        else:
            assert processes.order() == {"folder": str(folder)}
        found = {"count": processes.count(), "outcomes": outcomes(folder)}
        found["dropout"] = outcomes(folder, DRAWS)["dropout"]
        found["disagreeing"] = disagreeing()
        name = f"{processes.rank()}.json"
        (folder / name).write_text(json.dumps(found))
        print("said by", processes.rank())
